"""AES-GCM: version byte, nonce of 12 bytes, ciphertext, tag of 16 bytes.

Version 1 encrypts the plaintext as it is. Version 0, of very old peers, pads it first to a multiple
of 16 bytes, PKCS#7 style: always at least one byte, each holding their number. Peers take both and
answer in version 1.

The primary key encrypts; decryption tries every key of the ring. The associated data of a datagram
is the label, that of a stream the five framing bytes and the label.

From: memberlist `security.go` (`encryptPayload`, `decryptPayload`, `pkcs7encode`, `pkcs7decode`).
We differ in refusing an empty plaintext, and a padding longer than the plaintext; both make Go
panic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag

from .errors import MalformedInput, Reason, ReplyText
from .keyring import Keyring

VERSION_MAX: Final = 1
NONCE_SIZE: Final = 12
TAG_SIZE: Final = 16
BLOCK_SIZE: Final = 16
OVERHEAD: Final = (1 + NONCE_SIZE + BLOCK_SIZE + TAG_SIZE, 1 + NONCE_SIZE + TAG_SIZE)
"""Bytes that encryption adds at most, by version; also the shortest payload there is."""


def encrypt(
    keyring: Keyring, plain: bytes, associated: bytes, *, version: int, nonce: bytes
) -> bytes:
    """Seal with the primary key. `nonce` must never come twice.

    Raises:
        ValueError: An empty plaintext, or no such version.
    """
    if not plain:
        raise ValueError("an encrypted message of nothing crashes Go agents")
    if version == 0:
        padding = BLOCK_SIZE - len(plain) % BLOCK_SIZE
        plain += bytes((padding,)) * padding
    elif version != VERSION_MAX:
        raise ValueError(f"encryption version {version}")
    sealed = keyring.ciphers[0].encrypt(nonce, plain, associated)
    return bytes((version,)) + nonce + sealed


def decrypt_untrusted(keyring: Keyring, data: bytes, associated: bytes) -> bytes:
    """Open with any key of the ring.

    Raises:
        MalformedInput: Unknown version, too short, no key fits, or nothing inside. Its `reply_text`
            is what the accepting side of a stream answers.
    """
    if not data:
        raise _undecryptable("Cannot decrypt empty payload")
    version = data[0]
    if version > VERSION_MAX:
        raise _undecryptable(f"Unsupported encryption version {version}")
    if len(data) < OVERHEAD[version]:
        raise _undecryptable(f"Payload is too small to decrypt: {len(data)}")
    nonce, sealed = data[1 : 1 + NONCE_SIZE], data[1 + NONCE_SIZE :]
    for cipher in keyring.ciphers:
        try:
            plain = cipher.decrypt(nonce, sealed, associated)
        except InvalidTag:
            continue
        if version == 0:
            plain = _without_padding(plain)
        if not plain:
            raise MalformedInput(Reason.EMPTY, "an encrypted message of no bytes")
        return plain
    raise _undecryptable(ReplyText.UNDECRYPTABLE)


def encrypted_size(plain_size: int, version: int) -> int:
    """Return how long a plaintext of this size becomes."""
    if version == 0:
        plain_size += -plain_size % BLOCK_SIZE or BLOCK_SIZE
        return OVERHEAD[0] - BLOCK_SIZE + plain_size
    return OVERHEAD[version] + plain_size


def _without_padding(plain: bytes) -> bytes:
    # As Go, which looks at nothing but the last byte. An authentic sender pads by 1 to 16.
    padding = plain[-1]
    if padding > len(plain):
        raise MalformedInput(Reason.UNDECRYPTABLE, f"padding of {padding} bytes")
    return plain[: len(plain) - padding]


def _undecryptable(text: str) -> MalformedInput:
    return MalformedInput(Reason.UNDECRYPTABLE, text, reply_text=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """What a pool's packets and streams are protected with; the keyring may change under it."""

    label: bytes
    keyring: Keyring | None
    verify_incoming: bool
    """Refuse plaintext. Off while encryption is being introduced."""
    verify_outgoing: bool
    """Send encrypted. Off while keys are being handed out."""
    version: int
    nonce: Callable[[int], bytes]
    """Returns that many random bytes, never the same twice."""

    def __post_init__(self) -> None:
        if not 0 <= self.version <= VERSION_MAX:
            raise ValueError(f"encryption version {self.version}")

    @property
    def outgoing_keyring(self) -> Keyring | None:
        """The keyring to encrypt with; None to send plaintext."""
        return self.keyring if self.verify_outgoing else None

    def seal(self, keyring: Keyring, plain: bytes, associated: bytes) -> bytes:
        """Encrypt with a fresh nonce."""
        nonce = self.nonce(NONCE_SIZE)
        return encrypt(keyring, plain, associated, version=self.version, nonce=nonce)
