"""The keyring's order and its refusals, with the messages that Serf answers to key queries."""

from __future__ import annotations

import base64

import pytest
from rookery.gossip.wire.keyring import Keyring, KeyringError, from_base64
from rookery.gossip.wire.limits import KEYRING_KEYS_MAX

from ..vector_files import load

A, B, C = bytes(16), bytes(range(24)), bytes(range(32))


def test_primary_stands_first_and_the_others_keep_their_order() -> None:
    """The order decides which key encrypts and which are tried first."""
    assert Keyring([A, B, C]).keys == (A, B, C)
    assert Keyring([A, B, C], primary=C).keys == (C, A, B)
    assert Keyring([A, A, B], primary=B).keys == (B, A)
    assert Keyring([], primary=B).primary == B


def test_rotation_installs_uses_and_removes() -> None:
    """A whole rotation: the new key goes last, then first, then the old one goes."""
    ring = Keyring([A])
    ring.install(B)
    ring.install(C)
    ring.install(B)  # already there: no change
    assert ring.keys == (A, B, C)
    ring.use(C)
    assert (ring.primary, ring.keys) == (C, (C, A, B))
    ring.use(C)
    ring.remove(A)
    ring.remove(A)  # unknown: no error
    assert ring.keys == (C, B)


def test_recorded_ring_follows_from_the_recorded_changes() -> None:
    """The agent's keyring file after an install, a use and a remove has our ring's order."""
    first, second = (bytes.fromhex(key["hex"]) for key in load("keys.json")["keys"])
    ring = Keyring([first])
    ring.install(second)
    ring.use(second)
    ring.remove(first)
    assert [base64.b64encode(key).decode() for key in ring.keys] == load("keyring/theta-final.json")


@pytest.mark.parametrize("size", [0, 1, 15, 17, 23, 25, 31, 33, 64])
def test_key_of_another_size_is_refused(size: int) -> None:
    """Only AES key sizes are keys, in the words that Serf answers."""
    for make in (
        lambda: Keyring([bytes(size)]),
        lambda: Keyring([A]).install(bytes(size)),
        lambda: from_base64(base64.b64encode(bytes(size)).decode()),
    ):
        with pytest.raises(KeyringError, match=r"^key size must be 16, 24 or 32 bytes$"):
            make()


def test_refusals_leave_the_ring_as_it_was() -> None:
    """Removing the primary and using an unknown key fail in Serf's words and change nothing."""
    ring = Keyring([A, B])
    with pytest.raises(KeyringError, match=r"^Removing the primary key is not allowed$"):
        ring.remove(A)
    with pytest.raises(KeyringError, match=r"^Requested key is not in the keyring$"):
        ring.use(C)
    assert ring.keys == (A, B)


def test_ring_without_keys_is_refused() -> None:
    """No encryption is no ring, so that a ring always has a primary."""
    with pytest.raises(KeyringError):
        Keyring([])


def test_ring_ends_at_its_limit() -> None:
    """Just the limit of keys fits, one more does not; one that is there is no more."""
    ring = Keyring(bytes([number]) * 16 for number in range(KEYRING_KEYS_MAX))
    with pytest.raises(KeyringError, match="full"):
        ring.install(C)
    ring.install(ring.primary)
    assert len(ring.keys) == KEYRING_KEYS_MAX


@pytest.mark.parametrize("key", [A, B, C])
def test_key_is_read_from_base64(key: bytes) -> None:
    """Operators write keys as standard base64."""
    assert from_base64(base64.b64encode(key).decode()) == key


@pytest.mark.parametrize("text", ["", "x", "AAAA!AAA", "é" * 24, "AAAAAAAAAAAAAAAAAAAAAA"])
def test_text_that_is_no_key_is_refused(text: str) -> None:
    """Wrong letters, missing padding and nothing at all are keyring errors."""
    with pytest.raises(KeyringError):
        from_base64(text)


def test_keys_do_not_show() -> None:
    """A ring's repr holds no key material: it may end up in a log."""
    assert repr(Keyring([C])) == "<Keyring of 1 keys>"
