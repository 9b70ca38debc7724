"""A datagram's layers, put on and taken off.

From the inside out: a bare message, or a compound of several; compression, where that is shorter; a
CRC header; encryption; the label header. `PacketCodec.seal` puts them on in this order. On receipt
label, encryption and CRC are taken off once each, in exactly that order; compounds and compressions
may then contain each other, to a bounded depth and with bounded output.

With a keyring the whole rest behind the label is the encrypted payload, without a type byte: only
the configuration tells it from a plain message.

An outer layer that cannot be taken off makes the whole datagram malformed. Inside a compound each
part stands for itself: a bad one is reported, and the others still count.

From: memberlist `net.go` (`ingestPacket`, `handleCommand`, `handleCompound`, `handleCompressed`,
`rawSendMsgPacket`). We differ in the limits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from .checksum import add_checksum, strip_checksum_untrusted
from .compound import join_parts, split_parts_untrusted
from .compression import unwrap_untrusted, wrap_if_shorter
from .errors import MalformedInput, Reason
from .keyring import Keyring
from .label import make_header, strip_label_untrusted
from .limits import (
    NESTING_MAX,
    PACKET_DECOMPRESSED_SIZE_MAX,
    PACKET_MESSAGES_MAX,
    UDP_PACKET_SIZE_MAX,
    UDP_PAYLOAD_SIZE_MAX,
)
from .messages import MessageType
from .sealing import OVERHEAD, Protection, decrypt_untrusted

# As plain numbers, because each packet is compared with them.
_LABEL: Final = bytes((MessageType.LABEL,))
_COMPOUND: Final = int(MessageType.COMPOUND)
_COMPRESS: Final = int(MessageType.COMPRESS)


class OpenedPacket(NamedTuple):
    """What was in a datagram."""

    parts: list[bytes]
    """The bare messages in order, each with its type byte and never empty."""
    rejections: list[MalformedInput]
    """What was wrong with other parts of it."""


class PacketCodec:
    """Puts messages into datagrams and takes them out, by one pool's settings."""

    __slots__ = ("_compression", "_header", "_label", "_protection")

    def __init__(
        self,
        *,
        label: bytes = b"",
        keyring: Keyring | None = None,
        compression: bool = True,
        verify_incoming: bool = True,
        verify_outgoing: bool = True,
        encryption_version: int = 1,
        nonce: Callable[[int], bytes],
    ) -> None:
        """Make a codec.

        Args:
            label: Of the pool; empty for none.
            keyring: Of the pool, None for no encryption. It is looked at for every packet.
            compression: Compress what we send; what comes is understood either way.
            verify_incoming: With a keyring: refuse plaintext.
            verify_outgoing: With a keyring: send encrypted.
            encryption_version: 1, or 0 towards very old peers.
            nonce: Returns that many random bytes.

        Raises:
            ValueError: The label is too long, or there is no such encryption version.
        """
        self._label = label
        self._header = make_header(label)
        self._compression = compression
        self._protection = Protection(
            label=label,
            keyring=keyring,
            verify_incoming=verify_incoming,
            verify_outgoing=verify_outgoing,
            version=encryption_version,
            nonce=nonce,
        )

    @property
    def overhead(self) -> int:
        """Bytes that label and encryption add to a packet, at most."""
        if self._protection.outgoing_keyring is None:
            return len(self._header)
        return len(self._header) + OVERHEAD[self._protection.version]

    def seal(self, parts: Sequence[bytes], *, crc: bool) -> bytes:
        """Make a datagram of one message or of several.

        Args:
            parts: Bare messages with their type bytes; at most 127.
            crc: Add the checksum; for receivers that announce protocol 5 or later.

        Raises:
            ValueError: Something that would crash a Go peer (no part, too many, an empty one), or
                more than fits a datagram.
        """
        if len(parts) == 1:
            data = parts[0]
            if not data:
                raise ValueError("an empty message")
        else:
            data = join_parts(parts)
        if self._compression:
            data = wrap_if_shorter(data)
        if crc:
            data = add_checksum(data)
        keyring = self._protection.outgoing_keyring
        if keyring is not None:
            data = self._protection.seal(keyring, data, self._label)
        data = self._header + data
        if len(data) > UDP_PAYLOAD_SIZE_MAX:
            raise ValueError(f"a datagram of {len(data)} bytes, at most {UDP_PAYLOAD_SIZE_MAX}")
        return data

    def open_untrusted(self, data: bytes) -> OpenedPacket:
        """Take a datagram apart.

        Raises:
            MalformedInput: An outer layer cannot be taken off; nothing of the datagram counts.
        """
        if len(data) > UDP_PACKET_SIZE_MAX:
            raise MalformedInput(Reason.TOO_LARGE, f"a datagram of {len(data)} bytes")
        if self._label or data[:1] == _LABEL:
            data = strip_label_untrusted(data, self._label)
        keyring = self._protection.keyring
        if keyring is not None:
            try:
                data = decrypt_untrusted(keyring, data, self._label)
            except MalformedInput:
                if self._protection.verify_incoming:
                    raise
        data = strip_checksum_untrusted(data)
        if not data:
            raise MalformedInput(Reason.EMPTY, "nothing in the datagram")
        if data[0] != _COMPOUND and data[0] != _COMPRESS:
            return OpenedPacket([data], [])
        opening = _Opening()
        opening.take_apart(data, 0)
        return OpenedPacket(opening.parts, opening.rejections)


class _Opening:
    """Takes compounds and compressions of one datagram apart, and keeps count."""

    __slots__ = ("_has_stopped", "_room", "parts", "rejections")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.rejections: list[MalformedInput] = []
        self._room = PACKET_DECOMPRESSED_SIZE_MAX  # what all compressions together may still yield
        self._has_stopped = False

    def take_apart(self, data: bytes, depth: int) -> None:
        """Add the bare messages in `data`.

        Raises:
            MalformedInput: All of `data` is bad. What is bad inside a compound is noted instead.
        """
        if not data:
            raise MalformedInput(Reason.EMPTY, "an empty part")
        if data[0] == _COMPOUND:
            self._take_compound(data, _one_deeper(depth))
        elif data[0] == _COMPRESS:
            depth = _one_deeper(depth)
            self.take_apart(self._decompress(data), depth)
        else:
            self.parts.append(data)

    def _take_compound(self, data: bytes, depth: int) -> None:
        parts, lost = split_parts_untrusted(data)
        for part in parts:
            if self._has_stopped:
                return
            if len(self.parts) + len(self.rejections) >= PACKET_MESSAGES_MAX:
                self._has_stopped = True
                self._reject(Reason.TOO_MANY, f"over {PACKET_MESSAGES_MAX} messages")
                return
            try:
                self.take_apart(part, depth)
            except MalformedInput as error:
                self.rejections.append(error)
        if lost:
            self._reject(Reason.BAD_COMPOUND, f"{lost} parts of a compound are cut off")

    def _reject(self, reason: Reason, detail: str) -> None:
        self.rejections.append(MalformedInput(reason, detail))

    def _decompress(self, data: bytes) -> bytes:
        try:
            message = unwrap_untrusted(data, self._room)
        except MalformedInput as error:
            if error.reason == Reason.DECOMPRESSED_TOO_LARGE:
                self._room = 0  # no further attempts at that cost
            raise
        self._room -= len(message)
        return message


def _one_deeper(depth: int) -> int:
    if depth >= NESTING_MAX:
        raise MalformedInput(Reason.TOO_DEEP, f"over {NESTING_MAX} wrappers in each other")
    return depth + 1
