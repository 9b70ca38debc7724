"""One conversation over TCP: one message from the dialling side, at most one answer.

From the inside out: the message; compression, always when it is on; encryption in a frame; the
label header, written by the dialling side only. There is no compound and no CRC. Each layer comes
at most once.

    0a, length (4 bytes, big endian), version, nonce, ciphertext, tag

The associated data of the encryption is those five framing bytes and the label, in both directions.

A push-pull is a header `{Nodes, UserStateLen, Join}`, that many node states, and the raw user
state. A user message is `{UserMsgLen}` and that many bytes. The others are one struct.

`StreamReader` takes bytes as they arrive, in pieces of any size, and is a chain of steps: each
needs a certain amount of bytes, takes them, and names the step that follows. A declared length is
compared with its limit when it is read, and reserves nothing. A frame is decrypted when it is
complete, and then read by the same steps with nothing more to come.

An error knows what to answer, if the accepting side shall answer at all (`reply_text`): where the
wrapping cannot be read, not where the message cannot.

From: memberlist `net.go` (`handleConn`, `readStream`, `encryptLocalState`, `decryptRemoteState`,
`rawSendMsgStream`, `sendLocalState`, `readRemoteState`, `readUserMsg`). We differ in the limits,
and in refusing what makes Go panic: a negative number of nodes, nothing inside a wrapper.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from .codec import Container, NeedMore, ObjectReader, to_octets, to_u64
from .compression import expand_untrusted, wrap
from .errors import MalformedInput, Reason, ReplyText
from .keyring import Keyring
from .label import HEADER_SIZE as LABEL_HEADER_SIZE
from .label import check_label, header_size_untrusted, make_header
from .limits import (
    DECOMPRESSED_SIZE_MAX,
    MESSAGE_SIZE_MAX,
    PUSH_PULL_NODES_MAX,
    STREAM_SIZE_MAX,
    USER_MESSAGE_SIZE_MAX,
    USER_STATE_SIZE_MAX,
    WRAPPER_FIELDS_MAX,
)
from .messages import (
    ACK,
    ERROR,
    NODE_STATE,
    PING,
    PUSH_PULL_HEADER,
    USER_HEADER,
    Ack,
    ErrorReply,
    MessageType,
    NodeState,
    Ping,
    PushPull,
    StreamMessage,
    User,
    unwanted_type,
)
from .sealing import Protection, decrypt_untrusted, encrypted_size

FRAME_HEADER_SIZE: Final = 5


class StreamCodec:
    """Writes and reads the messages of streams, by one pool's settings."""

    __slots__ = ("_compression", "_header", "_protection")

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
        """Make a codec; the arguments are those of `PacketCodec`.

        Raises:
            ValueError: The label is too long, or there is no such encryption version.
        """
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

    def seal_request(self, message: bytes) -> bytes:
        """Wrap the message of the dialling side.

        Raises:
            ValueError: An empty message, or one that is too large to be accepted.
        """
        return self._header + self.seal_reply(message)

    def seal_reply(self, message: bytes) -> bytes:
        """Wrap the message of the accepting side.

        Raises:
            ValueError: As `seal_request`.
        """
        if not message:
            raise ValueError("an empty message")
        if len(message) > MESSAGE_SIZE_MAX:
            raise ValueError(f"a message of {len(message)} bytes, at most {MESSAGE_SIZE_MAX}")
        if self._compression:
            message = wrap(message)
        keyring = self._protection.outgoing_keyring
        if keyring is None:
            return message
        size = encrypted_size(len(message), self._protection.version)
        if size > STREAM_SIZE_MAX:
            raise ValueError(f"an encrypted message of {size} bytes, at most {STREAM_SIZE_MAX}")
        frame = b"\x0a" + size.to_bytes(4, "big")
        return frame + self._protection.seal(keyring, message, frame + self._protection.label)

    def request_reader(self) -> StreamReader:
        """Return a reader for what a dialling peer sends us."""
        return StreamReader(self._protection, _REQUESTS, has_label_header=True)

    def reply_reader(self) -> StreamReader:
        """Return a reader for the answer to what we sent; a label header is refused there."""
        return StreamReader(self._protection, _REPLIES, has_label_header=False)


_REQUESTS: Final = frozenset({MessageType.PUSH_PULL, MessageType.PING, MessageType.USER})
_REPLIES: Final = frozenset({MessageType.PUSH_PULL, MessageType.ACK, MessageType.ERROR})

_Step: TypeAlias = "Callable[[], _Step | None]"


class StreamReader:
    """Reads the one message of one direction of a stream."""

    __slots__ = (
        "_expected",
        "_fields",
        "_fields_left",
        "_has_label_header",
        "_header",
        "_is_map",
        "_is_whole",
        "_message",
        "_nodes",
        "_protection",
        "_received",
        "_source",
        "_step",
    )

    def __init__(
        self, protection: Protection, expected: frozenset[MessageType], *, has_label_header: bool
    ) -> None:
        """Make a reader; `StreamCodec` does.

        Args:
            protection: Of the pool.
            expected: The message types that may come in this direction.
            has_label_header: The label header may (and, with a label, must) stand in front.
        """
        self._protection = protection
        self._expected = expected
        self._has_label_header = has_label_header
        self._source = ObjectReader()
        self._received = 0  # bytes
        self._is_whole = False  # what is being read was inside a wrapper: no more will come
        self._message: StreamMessage | None = None
        self._step: _Step | None = self._read_label
        # What the steps hand on to each other:
        self._fields: dict[bytes, object] = {}
        self._fields_left = 0
        self._is_map = False
        self._header = (0, 0, False)
        self._nodes: list[NodeState] = []

    def feed(self, data: bytes) -> StreamMessage | None:
        """Take what arrived.

        Returns:
            The message, once, as soon as it is complete; otherwise None. What follows the message
            is ignored, as Go peers do.

        Raises:
            MalformedInput: The stream is of no more use; `reply_text` says what to answer, if
                anything. Whatever is fed afterwards is ignored.
        """
        if self._step is None:
            return None
        try:
            self._take(data)
        except MalformedInput:
            self._step = None
            raise
        return self._message if self._step is None else None

    def feed_eof(self) -> None:
        """Take the end of the stream.

        Raises:
            MalformedInput: The message is not complete.
        """
        if self._step is not None:
            self._step = None
            raise MalformedInput(Reason.TRUNCATED, f"the stream ends after {self._received} bytes")

    def _take(self, data: bytes) -> None:
        """Go on for as long as there are bytes."""
        self._received += len(data)
        if self._received > MESSAGE_SIZE_MAX:
            raise MalformedInput(Reason.TOO_LARGE, f"over {MESSAGE_SIZE_MAX} bytes")
        self._source.feed(data)
        try:
            while self._step is not None:
                self._step = self._step()
        except NeedMore:
            if self._is_whole:
                raise MalformedInput(Reason.TRUNCATED, "the message in the wrapper") from None

    # --- the layers ---

    def _read_label(self) -> _Step:
        first = self._source.peek()
        if not self._has_label_header:
            if first == MessageType.LABEL:
                raise MalformedInput(Reason.WRONG_LABEL, "a label header in an answer")
            return self._read_layer
        if first != MessageType.LABEL:
            check_label(b"", self._protection.label)
            return self._read_layer
        return self._read_label_size

    def _read_label_size(self) -> _Step:
        size = header_size_untrusted(self._source.read_raw(LABEL_HEADER_SIZE)) - LABEL_HEADER_SIZE
        return lambda: self._read_label_text(size)

    def _read_label_text(self, size: int) -> _Step:
        check_label(self._source.read_raw(size), self._protection.label)
        return self._read_layer

    def _read_layer(self) -> _Step:
        first = self._source.peek()
        protection = self._protection
        if first == MessageType.ENCRYPT:
            keyring = protection.keyring
            if keyring is None:
                raise MalformedInput(Reason.NO_KEY, ReplyText.NO_KEY, reply_text=ReplyText.NO_KEY)
            return lambda: self._read_frame(keyring)
        if protection.keyring is not None and protection.verify_incoming:
            raise MalformedInput(
                Reason.NOT_ENCRYPTED, ReplyText.NOT_ENCRYPTED, reply_text=ReplyText.NOT_ENCRYPTED
            )
        return self._read_compression

    def _read_frame(self, keyring: Keyring) -> _Step:
        frame = self._source.read_raw(FRAME_HEADER_SIZE)
        size = int.from_bytes(frame[1:], "big")
        if size > STREAM_SIZE_MAX:
            text = f"Remote node state is larger than limit ({size})"
            raise MalformedInput(Reason.TOO_LARGE, text, reply_text=text)
        return lambda: self._read_sealed(keyring, frame, size)

    def _read_sealed(self, keyring: Keyring, frame: bytes, size: int) -> _Step:
        sealed = self._source.read_raw(size)
        self._unwrap(decrypt_untrusted(keyring, sealed, frame + self._protection.label))
        return self._read_compression

    def _read_compression(self) -> _Step:
        if self._source.peek() != MessageType.COMPRESS:
            return self._read_type
        self._source.read_raw(1)
        return self._read_wrapper

    # The wrapper `{Algo, Buf}` is read field by field, because Buf may be larger than any object.

    def _read_wrapper(self) -> _Step:
        try:
            kind, self._fields_left = self._source.read_header(WRAPPER_FIELDS_MAX)
        except MalformedInput as error:
            raise _with_reply(error) from None
        self._is_map = kind is Container.MAP
        return self._read_wrapper_key if self._is_map else self._read_wrapper_value

    def _read_wrapper_key(self) -> _Step:
        if not self._fields_left:
            return self._expand
        try:
            key = self._source.read_object()
        except MalformedInput as error:
            raise _with_reply(error) from None
        if key is not None and type(key) is not bytes:
            raise _with_reply(MalformedInput(Reason.BAD_FIELD, "a field name is no text"))
        return lambda: self._read_wrapper_value(key or b"")

    def _read_wrapper_value(self, key: bytes | None = None) -> _Step:
        """Read a value; without a key the struct came as an array, Algo first."""
        if not self._fields_left:
            return self._expand
        if key is None:
            key = (b"Algo", b"Buf")[len(self._fields)] if len(self._fields) < 2 else b""
        try:
            value: object = self._source.read_octets(STREAM_SIZE_MAX)
            if value is None:
                value = self._source.read_object()
        except MalformedInput as error:
            raise _with_reply(error) from None
        self._fields[key] = value
        self._fields_left -= 1
        return self._read_wrapper_key if self._is_map else self._read_wrapper_value

    def _expand(self) -> _Step:
        try:
            algorithm = to_u64(self._fields.get(b"Algo"))
            compressed = to_octets(self._fields.get(b"Buf"))
            self._fields.clear()
            self._unwrap(expand_untrusted(algorithm, compressed, DECOMPRESSED_SIZE_MAX))
        except MalformedInput as error:
            raise _with_reply(error) from None
        return self._read_type

    def _unwrap(self, inside: bytes) -> None:
        """Go on with what was in a wrapper."""
        self._source = ObjectReader(inside)
        self._is_whole = True

    # --- the messages ---

    def _read_type(self) -> _Step:
        number = self._source.read_raw(1)[0]
        if number not in self._expected:
            raise unwanted_type(number)
        return {
            MessageType.PUSH_PULL: self._read_push_pull_header,
            MessageType.PING: self._read_ping,
            MessageType.USER: self._read_user_header,
            MessageType.ACK: self._read_ack,
            MessageType.ERROR: self._read_error,
        }[MessageType(number)]

    def _read_ping(self) -> None:
        self._message = Ping(*self._source.read_struct(PING))

    def _read_ack(self) -> None:
        self._message = Ack(*self._source.read_struct(ACK))

    def _read_error(self) -> None:
        self._message = ErrorReply(*self._source.read_struct(ERROR))

    def _read_user_header(self) -> _Step:
        (size,) = self._source.read_struct(USER_HEADER)
        _check_size("UserMsgLen", size, USER_MESSAGE_SIZE_MAX, Reason.TOO_LARGE)
        return lambda: self._read_user(size)

    def _read_user(self, size: int) -> None:
        self._message = User(self._source.read_raw(size))

    def _read_push_pull_header(self) -> _Step:
        nodes, size, join = self._source.read_struct(PUSH_PULL_HEADER)
        _check_size("Nodes", nodes, PUSH_PULL_NODES_MAX, Reason.TOO_MANY)
        _check_size("UserStateLen", size, USER_STATE_SIZE_MAX, Reason.TOO_LARGE)
        self._header = (nodes, size, join)
        return self._read_nodes

    def _read_nodes(self) -> _Step:
        wanted = self._header[0]
        read_struct, append = self._source.read_struct, self._nodes.append
        while len(self._nodes) < wanted:
            append(NodeState(*read_struct(NODE_STATE)))
        return self._read_user_state

    def _read_user_state(self) -> None:
        _, size, join = self._header
        self._message = PushPull(tuple(self._nodes), self._source.read_raw(size), join)


def _check_size(name: str, value: int, maximum: int, reason: Reason) -> None:
    if value < 0:
        raise MalformedInput(Reason.BAD_FIELD, f"{name}: {value} is negative")
    if value > maximum:
        raise MalformedInput(reason, f"{name}: {value}, at most {maximum}")


def _with_reply(error: MalformedInput) -> MalformedInput:
    """Let the accepting side answer with the error's own text."""
    return MalformedInput(error.reason, error.detail, reply_text=error.detail)
