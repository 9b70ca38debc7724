"""Changing the keys of a running pool: install, use, remove, list, with each member's answer.

The operation is a query that every member must answer. It is over when all live members have, or
at the query's deadline; members that said no, and those that said nothing, are told apart. The
texts are those of Go's key manager, which operators know. Source: serf keymanager.go
(handleKeyRequest, streamKeyResp, InstallKey, UseKey, RemoveKey, ListKeys).
"""

from __future__ import annotations

from collections.abc import Callable

from ..wire.errors import MalformedInput
from .asking import Asking, PendingQuery, Question
from .key_outcome import KeyOutcome
from .messages import KeyRequest, KeyResponse, decode_serf_message_untrusted, encode_serf_message

KEY_OPERATIONS = ("install", "use", "remove", "list")


class KeyManager:
    """Runs key operations over the pool."""

    def __init__(self, asking: Asking, live_members: Callable[[], int]) -> None:
        self._asking = asking
        self._live_members = live_members

    def start(
        self,
        operation: str,
        key: bytes,
        on_finished: Callable[[KeyOutcome], None],
        *,
        relay_factor: int = 0,
        now: float,
    ) -> None:
        """Ask everybody; `on_finished` hears the outcome.

        Args:
            operation: One of KEY_OPERATIONS.
            key: The raw key; ignored by a list.
            on_finished: Called once.
            relay_factor: How many members carry copies of each answer.
            now: Engine seconds.

        Raises:
            ValueError: No such operation, or a key of a wrong size to install. What else is wrong
                with a key is for each member to say.
            QueryRefused: Too many queries are open.
        """
        if operation not in KEY_OPERATIONS:
            raise ValueError(f"key operation must be one of {', '.join(KEY_OPERATIONS)}")
        if operation == "install" and len(key) not in (16, 24, 32):
            raise ValueError("key size must be 16, 24 or 32 bytes")
        nodes = self._live_members()
        tally = KeyTally(nodes)

        def take(sender: str, payload: bytes) -> None:
            tally.count(sender, payload)
            if tally.responses >= nodes and pending is not None:
                self._asking.finish(pending, now=now)

        def finish(_pending: PendingQuery, _now: float) -> None:
            on_finished(tally.outcome())

        pending: PendingQuery | None = None
        name = "_serf_list-keys" if operation == "list" else f"_serf_{operation}-key"
        question = Question(
            name=name,
            payload=encode_serf_message(KeyRequest(b"" if operation == "list" else key)),
            relay_factor=relay_factor,
        )
        pending = self._asking.ask(question, now=now, on_response=take, on_finished=finish)


class KeyTally:
    """Counts the answers of one operation."""

    def __init__(self, nodes: int) -> None:
        self._nodes = nodes
        self._failures = 0
        self._messages: dict[str, str] = {}
        self._keys: dict[str, int] = {}
        self._primary_keys: dict[str, int] = {}
        self.responses = 0

    def count(self, sender: str, payload: bytes) -> None:
        """Take one member's answer."""
        self.responses += 1
        try:
            response = decode_serf_message_untrusted(payload)
        except MalformedInput as error:
            self._fail(sender, f"Failed to decode key query response: {error}")
            return
        if not isinstance(response, KeyResponse):
            self._fail(sender, "Invalid key query response type")
            return
        if not response.result:
            self._fail(sender, response.message)
        elif response.message:
            self._messages[sender] = response.message
        for key in response.keys or ():
            self._keys[key] = self._keys.get(key, 0) + 1
        if response.primary_key:
            primary = response.primary_key
            self._primary_keys[primary] = self._primary_keys.get(primary, 0) + 1

    def outcome(self) -> KeyOutcome:
        """Return the counts."""
        return KeyOutcome(
            self._nodes,
            self.responses,
            self._failures,
            self._messages,
            self._keys,
            self._primary_keys,
        )

    def _fail(self, sender: str, message: str) -> None:
        self._failures += 1
        self._messages[sender] = message
