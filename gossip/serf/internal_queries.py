"""Serf's own queries, which every member must answer: reachability, name conflicts, keys.

A member that stays silent hurts others: a key rotation fails unless everybody answers, and an
agent whose name is contested shuts itself down when nobody confirms its address. So the answers
come from here, without asking the application.

Sources: serf internal_query.go (serfQueries: handleConflict, handleInstallKey, handleUseKey,
handleRemoveKey, handleListKeys), keymanager.go.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

from ..addresses import ADDRESS_SIZES, Address, address_of
from ..notices import KeyringChanged
from ..swim.outbox import Outbox
from ..wire.errors import MalformedInput
from ..wire.keyring import Keyring, KeyringError
from .members import MemberTable
from .messages import (
    ConflictMember,
    ConflictResponse,
    KeyRequest,
    KeyResponse,
    Query,
    QueryResponse,
    decode_serf_message_untrusted,
    encode_serf_message,
)
from .queries import QUERY_RESPONSE_SIZE_MAX

NO_KEYRING = "No keyring to modify (encryption not enabled)"
NO_KEYRING_LIST = "Keyring is empty (encryption not enabled)"
UNREADABLE = "Failed to decode key request"


class InternalQueries:
    """Answers `_serf_` queries; an answer is a payload, or None for silence."""

    def __init__(
        self,
        own_name: str,
        members: MemberTable,
        keyring: Keyring | None,
        outbox: Outbox,
        note_namesake: Callable[[Address, float], None],
    ) -> None:
        """Build on the engine's parts.

        Args:
            own_name: Our node name.
            members: What conflicts are answered from.
            keyring: What key queries change; None without encryption.
            outbox: For notices and remarks.
            note_namesake: Hears where a node is that holds a vote about our name.
        """
        self._own_name = own_name
        self._members = members
        self._keyring = keyring
        self._outbox = outbox
        self._note_namesake = note_namesake
        self._answers: dict[str, Callable[[Query, float], bytes | None]] = {
            "_serf_ping": self._answer_ping,
            "_serf_conflict": self._answer_conflict,
            "_serf_install-key": lambda query, _: self._change_keys(query, Keyring.install),
            "_serf_use-key": lambda query, _: self._change_keys(query, Keyring.use),
            "_serf_remove-key": lambda query, _: self._change_keys(query, Keyring.remove),
            "_serf_list-keys": self._list_keys,
        }

    def answer(self, query: Query, now: float) -> bytes | None:
        """Return the payload that answers a query, None for no answer."""
        handler = self._answers.get(query.name)
        if handler is None:
            self._outbox.remark("unknown_internal_query", "warning", query=query.name[:64])
            return None
        return handler(query, now)

    def _answer_ping(self, _query: Query, _now: float) -> bytes | None:
        """Say nothing more than the ack that was sent."""
        return None

    def _answer_conflict(self, query: Query, now: float) -> bytes | None:
        """Tell which address we know a contested name by; a party to the conflict has no vote.

        Such a query may be all that a party hears of the other: those in between know the name by
        one address and do not pass the other on.
        """
        name = (query.payload or b"").decode("utf-8", "surrogateescape")
        if name == self._own_name:
            if query.source_node == name and len(query.address) in ADDRESS_SIZES:
                self._note_namesake(address_of(query.address, query.port), now)
            return None
        record = self._members.get(name)
        if record is None:
            return encode_serf_message(ConflictResponse(None))
        member = self._members.public(record)
        return encode_serf_message(
            ConflictResponse(
                ConflictMember(
                    member.name,
                    member.address,
                    member.port,
                    dict(member.tags),
                    int(member.status),
                    member.protocol_min,
                    member.protocol_max,
                    member.protocol_cur,
                    member.delegate_min,
                    member.delegate_max,
                    member.delegate_cur,
                )
            )
        )

    def _change_keys(self, query: Query, change: Callable[[Keyring, bytes], None]) -> bytes:
        """Install, use or remove a key."""
        keyring = self._keyring
        if keyring is None or not keyring.keys:
            return _key_response(False, NO_KEYRING)
        try:
            request = decode_serf_message_untrusted(query.payload or b"")
        except MalformedInput as error:
            return _key_response(False, f"{UNREADABLE}: {error.detail}")
        if not isinstance(request, KeyRequest):
            return _key_response(False, UNREADABLE)
        before = keyring.keys
        try:
            change(keyring, request.key)
        except KeyringError as error:
            return _key_response(False, str(error))
        if keyring.keys != before:
            self._outbox.notices.append(KeyringChanged())
        return _key_response(True, "")

    def _list_keys(self, query: Query, _now: float) -> bytes:
        """List our keys, as many as one response holds."""
        keyring = self._keyring
        if keyring is None or not keyring.keys:
            return _key_response(False, NO_KEYRING_LIST)
        keys = [base64.b64encode(key).decode() for key in keyring.keys]
        for count in range(len(keys), 0, -1):
            message = (
                ""
                if count == len(keys)
                else f"truncated key list response, showing first {count} of {len(keys)} keys"
            )
            payload = _key_response(True, message, tuple(keys[:count]), keys[0])
            response = QueryResponse(query.ltime, query.id, self._own_name, 0, payload)
            if len(encode_serf_message(response)) <= QUERY_RESPONSE_SIZE_MAX:
                return payload
        return _key_response(False, "Failed to fit even one key into a response")


def _key_response(
    result: bool, message: str, keys: tuple[str, ...] | None = None, primary_key: str = ""
) -> bytes:
    return encode_serf_message(KeyResponse(result, message, keys, primary_key))
