"""What a peer can do wrong, as one exception with a countable reason.

Everything that reads bytes from the network (each function ending in `_untrusted`, and the stream
readers) raises `MalformedInput` and nothing else, whatever the bytes are. The task that received
the bytes catches it, counts it under `reason` and logs it; nobody else does.

Mistakes of our own side (a message that must not be sent, a key of a wrong size) are `ValueError`
or a subclass of it, raised by the encoding functions, and are never caught as malformed input.

The texts in `ReplyText` are those of memberlist 0.2.2, `net.go` (`handleConn`, `readStream`) and
`security.go` (`decryptPayload`): a Go operator greps for them in the log of the dialling side.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why bytes were rejected. The values are stable: they are counter keys and log fields."""

    EMPTY = "empty"
    """No bytes where a message should be: an empty datagram, compound part or plaintext."""
    TRUNCATED = "truncated"
    """The bytes end before the message does."""
    UNKNOWN_TYPE = "unknown_type"
    """A type byte nobody has defined."""
    UNEXPECTED_TYPE = "unexpected_type"
    """A known type that may not stand here, such as a push-pull in a datagram."""
    BAD_MSGPACK = "bad_msgpack"
    """The body is not msgpack, or is nested too deeply."""
    BAD_FIELD = "bad_field"
    """The body is msgpack, but a field has a wrong type or is out of its range."""
    TOO_LARGE = "too_large"
    """A declared or actual size is over its limit."""
    TOO_MANY = "too_many"
    """More elements, nodes or messages than the limit."""
    TOO_DEEP = "too_deep"
    """More wrappers inside each other than the limit."""
    BAD_COMPOUND = "bad_compound"
    """The table of lengths of a compound is incomplete, or parts are missing behind it."""
    BAD_COMPRESSION = "bad_compression"
    """The compressed bytes are no LZW, or the algorithm is unknown."""
    DECOMPRESSED_TOO_LARGE = "decompressed_too_large"
    """Decompression was stopped at its limit."""
    BAD_CHECKSUM = "bad_checksum"
    """The CRC does not match."""
    WRONG_LABEL = "wrong_label"
    """No label where one is configured, another one, or one where none may stand."""
    NOT_ENCRYPTED = "not_encrypted"
    """Plaintext where encryption is demanded (streams; a datagram shows as undecryptable)."""
    UNDECRYPTABLE = "undecryptable"
    """No key of ours opens it, or it has an unknown encryption version or is too short."""
    NO_KEY = "no_key"
    """An encrypted stream, and we have no keyring."""
    BAD_TAGS = "bad_tags"
    """Node meta that starts like tags but does not decode as such."""


class ReplyText(StrEnum):
    """What a stream's server answers in an `err` message before it closes."""

    UNDECRYPTABLE = "No installed keys could decrypt the message"
    NOT_ENCRYPTED = "Encryption is configured but remote state is not encrypted"
    NO_KEY = "Remote state is encrypted and encryption is not configured"


class MalformedInput(Exception):
    """A peer sent bytes that we do not accept.

    Attributes:
        reason: The stable code to count and log under.
        detail: A short text for people; bounded, and never the peer's bytes as a whole.
        reply_text: For streams: the text to answer in an `err` message, or None to close without
            an answer. Only the accepting side answers.
    """

    def __init__(self, reason: Reason, detail: str = "", *, reply_text: str | None = None) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
        self.reply_text = reply_text

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else str(self.reason)
