"""AES-GCM in both versions and all key sizes, and everything that must not open."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st
from rookery.gossip.wire.errors import MalformedInput, Reason
from rookery.gossip.wire.keyring import Keyring
from rookery.gossip.wire.sealing import (
    NONCE_SIZE,
    OVERHEAD,
    Protection,
    decrypt_untrusted,
    encrypt,
    encrypted_size,
)

PROPERTY = settings(max_examples=100, deadline=None, derandomize=True)
NONCE = bytes(range(NONCE_SIZE))
KEYS = (bytes(16), bytes(range(24)), bytes(range(32)))


@PROPERTY
@given(
    st.sampled_from(KEYS),
    st.integers(0, 1),
    st.binary(min_size=1, max_size=100),
    st.binary(max_size=20),
)
def test_opening_undoes_sealing(key: bytes, version: int, plain: bytes, associated: bytes) -> None:
    """Both versions, all key sizes, any plaintext and associated data; the size is as computed."""
    sealed = encrypt(Keyring([key]), plain, associated, version=version, nonce=NONCE)
    assert (sealed[0], sealed[1:13]) == (version, NONCE)
    assert len(sealed) == encrypted_size(len(plain), version)
    assert len(sealed) - len(plain) <= OVERHEAD[version]
    # Whichever place the key has in the ring.
    for primary in KEYS:
        assert decrypt_untrusted(Keyring(KEYS, primary=primary), sealed, associated) == plain


@pytest.mark.parametrize("size", [1, 15, 16, 17, 31, 32])
def test_version_0_always_pads(size: int) -> None:
    """One to sixteen bytes are added, each holding their number, also to whole blocks."""
    sealed = encrypt(Keyring(KEYS), bytes(size), b"", version=0, nonce=NONCE)
    padded = AESGCM(KEYS[0]).decrypt(NONCE, sealed[13:], b"")
    padding = 16 - size % 16
    assert padded == bytes(size) + bytes((padding,)) * padding


def sealed_padded(padded: bytes) -> bytes:
    """Return a version 0 payload with just this padded plaintext."""
    return b"\x00" + NONCE + AESGCM(KEYS[0]).encrypt(NONCE, padded, b"")


def test_version_0_drops_as_many_bytes_as_the_last_one_says() -> None:
    """The other padding bytes are not looked at, as in Go."""
    assert decrypt_untrusted(Keyring(KEYS), sealed_padded(b"plaintext-123xy\x03"), b"") == (
        b"plaintext-123"
    )


@pytest.mark.parametrize(
    ("padded", "reason"),
    [(bytes(15) + b"\x10", Reason.EMPTY), (bytes(15) + b"\x11", Reason.UNDECRYPTABLE)],
)
def test_padding_that_leaves_nothing_is_refused(padded: bytes, reason: str) -> None:
    """Padding as long as the plaintext or longer is malformed; Go panics on it."""
    with pytest.raises(MalformedInput) as caught:
        decrypt_untrusted(Keyring(KEYS), sealed_padded(padded), b"")
    assert caught.value.reason == reason


def test_changed_payload_does_not_open() -> None:
    """Another bit anywhere, another key, other associated data: undecryptable."""
    ring = Keyring(KEYS)
    sealed = encrypt(ring, b"plain", b"label", version=1, nonce=NONCE)
    attempts = [(Keyring([bytes(32)]), sealed, b"label"), (ring, sealed, b""), (ring, sealed, b"x")]
    for position in range(1, len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        attempts.append((ring, bytes(changed), b"label"))
    for keyring, data, associated in attempts:
        with pytest.raises(MalformedInput) as caught:
            decrypt_untrusted(keyring, data, associated)
        assert caught.value.reason == Reason.UNDECRYPTABLE
        assert caught.value.reply_text == "No installed keys could decrypt the message"


@pytest.mark.parametrize("version", [0, 1])
def test_payload_below_the_overhead_is_too_short(version: int) -> None:
    """Not a byte less than version, nonce, tag (and one block) is tried, as in Go."""
    with pytest.raises(MalformedInput) as caught:
        decrypt_untrusted(Keyring(KEYS), bytes((version,)) + bytes(OVERHEAD[version] - 2), b"")
    assert caught.value.detail.startswith("Payload is too small to decrypt")
    with pytest.raises(MalformedInput) as caught:
        decrypt_untrusted(Keyring(KEYS), bytes((version,)) + bytes(OVERHEAD[version] - 1), b"")
    assert caught.value.detail == "No installed keys could decrypt the message"


@pytest.mark.parametrize("data", [b"", b"\x02" + bytes(60), b"\xff" + bytes(60)])
def test_unknown_version_and_nothing_are_undecryptable(data: bytes) -> None:
    """There are versions 0 and 1 only."""
    with pytest.raises(MalformedInput) as caught:
        decrypt_untrusted(Keyring(KEYS), data, b"")
    assert caught.value.reason == Reason.UNDECRYPTABLE


def test_encrypted_nothing_is_refused() -> None:
    """A version 1 payload of an empty plaintext is malformed; it kills Go agents."""
    sealed = b"\x01" + NONCE + AESGCM(KEYS[0]).encrypt(NONCE, b"", b"")
    with pytest.raises(MalformedInput) as caught:
        decrypt_untrusted(Keyring(KEYS), sealed, b"")
    assert caught.value.reason == Reason.EMPTY


def test_nothing_and_unknown_versions_are_not_sealed() -> None:
    """The caller's errors, so that we never send what kills a Go agent."""
    with pytest.raises(ValueError, match="nothing"):
        encrypt(Keyring(KEYS), b"", b"", version=1, nonce=NONCE)
    with pytest.raises(ValueError, match="version 2"):
        encrypt(Keyring(KEYS), b"x", b"", version=2, nonce=NONCE)
    with pytest.raises(ValueError, match="version 2"):
        Protection(
            label=b"",
            keyring=None,
            verify_incoming=True,
            verify_outgoing=True,
            version=2,
            nonce=bytes,
        )


def test_primary_encrypts_from_the_next_call_on() -> None:
    """The ring is looked at each time: what `use` changes holds for the next payload."""
    ring = Keyring(KEYS)
    ring.use(KEYS[2])
    sealed = encrypt(ring, b"plain", b"", version=1, nonce=NONCE)
    assert AESGCM(KEYS[2]).decrypt(NONCE, sealed[13:], b"") == b"plain"
