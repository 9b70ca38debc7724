"""Key operations as the API takes them: keys in base64, failures in the texts of Nomad.

Nomad hands a key on to Serf's key manager, which asks every member, and answers with its error
(public API: `KeyringOperationRequest` in Nomad's `command/agent/agent_endpoint.go`, Serf's
`serf/keymanager.go`). What no member would take is not sent round here; the text is the one that
would come back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..gossip.serf.asking import QueryRefused
from ..gossip.serf.members import MemberStatus
from ..gossip.wire.keyring import KEY_SIZES
from .go_base64 import IllegalBase64, decode_base64

if TYPE_CHECKING:
    from ..gossip.serf.key_outcome import KeyOutcome
    from ..gossip.serf.members import Member


class KeyringRequestError(Exception):
    """A key operation failed on all or some members; `str()` is the text for the client."""


class KeyringPool(Protocol):
    """What is asked of the pool."""

    def members(self) -> list[Member]: ...
    async def change_keys(self, operation: str, key: bytes = b"") -> KeyOutcome: ...


async def change_keys(pool: KeyringPool, operation: str, key_base64: str) -> KeyOutcome:
    """Run one operation on all members.

    Args:
        pool: The running pool.
        operation: `list`, `install`, `use` or `remove`.
        key_base64: The key; a list has none.

    Raises:
        KeyringRequestError: It failed.
        PoolClosed: The pool is not running.
    """
    key = b""
    if operation != "list":
        try:
            key = decode_base64(key_base64)
        except IllegalBase64 as error:
            raise KeyringRequestError(str(error)) from None
    if operation == "install" and len(key) not in KEY_SIZES:
        count = sum(member.status is MemberStatus.ALIVE for member in pool.members())
        raise KeyringRequestError(f"{count}/{count} nodes reported failure")
    try:
        outcome = await pool.change_keys(operation, key)
    except QueryRefused as error:
        raise KeyringRequestError(str(error)) from None
    if outcome.error is not None:
        raise KeyringRequestError(outcome.error)
    return outcome
