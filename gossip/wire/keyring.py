"""The keys of a pool: one primary that encrypts, and others that still open what peers send.

A ring always has at least one key; no encryption is no ring. It is shared and mutable: codecs look
at it at every packet, so a rotation takes effect at once. The messages of the errors are those a
Serf agent answers to key queries.

From: memberlist `keyring.go` (`AddKey`, `UseKey`, `RemoveKey`, `installKeys`). We differ in
bounding the number of keys, since every packet that does not open costs one attempt per key.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .limits import KEYRING_KEYS_MAX

KEY_SIZES = (16, 24, 32)


class KeyringError(ValueError):
    """A key cannot be installed, used or removed; the ring is unchanged."""


class Keyring:
    """An ordered list of keys, the primary first."""

    __slots__ = ("_ciphers",)

    def __init__(self, keys: Iterable[bytes], primary: bytes | None = None) -> None:
        """Make a ring.

        Args:
            keys: At least one key, unless `primary` is given. Repeated ones count once.
            primary: The key that encrypts; the first of `keys` when None.

        Raises:
            KeyringError: No key at all, a key of a wrong size, or too many.
        """
        self._ciphers: dict[bytes, AESGCM] = {}  # in order, the primary first
        if primary is not None:
            self.install(primary)
        for key in keys:
            self.install(key)
        if not self._ciphers:
            raise KeyringError("a keyring needs at least one key")

    @property
    def primary(self) -> bytes:
        """The key that encrypts."""
        return next(iter(self._ciphers))

    @property
    def keys(self) -> tuple[bytes, ...]:
        """All keys, the primary first, in the order in which decryption tries them."""
        return tuple(self._ciphers)

    @property
    def ciphers(self) -> tuple[AESGCM, ...]:
        """The AES-GCM of each key, in the same order, for `sealing`."""
        return tuple(self._ciphers.values())

    def install(self, key: bytes) -> None:
        """Add a key at the end; one that is there already is left as it is.

        Raises:
            KeyringError: Wrong size, or the ring is full.
        """
        if len(key) not in KEY_SIZES:
            raise KeyringError("key size must be 16, 24 or 32 bytes")
        if key in self._ciphers:
            return
        if len(self._ciphers) >= KEYRING_KEYS_MAX:
            raise KeyringError(f"the keyring is full ({KEYRING_KEYS_MAX} keys)")
        self._ciphers[bytes(key)] = AESGCM(key)

    def use(self, key: bytes) -> None:
        """Make an installed key the primary; the others keep their order.

        Raises:
            KeyringError: The key is not in the ring.
        """
        if key not in self._ciphers:
            raise KeyringError("Requested key is not in the keyring")
        self._ciphers = {key: self._ciphers[key], **self._ciphers}

    def remove(self, key: bytes) -> None:
        """Take a key out; one that is not there is no error.

        Raises:
            KeyringError: It is the primary.
        """
        if key == self.primary:
            raise KeyringError("Removing the primary key is not allowed")
        self._ciphers.pop(key, None)

    def __repr__(self) -> str:
        return f"<Keyring of {len(self._ciphers)} keys>"  # keys must not get into logs


def from_base64(text: str) -> bytes:
    """Read one key as operators write it: standard base64 of 16, 24 or 32 bytes.

    Raises:
        KeyringError: Not base64, or of another size.
    """
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise KeyringError(f"the key is not base64: {error}") from None
    if len(key) not in KEY_SIZES:
        raise KeyringError("key size must be 16, 24 or 32 bytes")
    return key
