"""Which gossip keys an agent starts with."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest
from rookery.agent.keyring_file import EXISTS_WARNING, load_keyring, save_keyring
from rookery.agent.secret import Secret
from rookery.agent.settings_sources import SettingsError

ONE = base64.b64encode(bytes(16)).decode()
TWO = base64.b64encode(bytes(range(32))).decode()


def test_no_key_and_no_file_is_no_encryption(tmp_path: Path) -> None:
    """Nothing is written either."""
    loaded = load_keyring(tmp_path, Secret())
    assert loaded.keyring is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [16, 24, 32])
def test_first_key_is_written(tmp_path: Path, size: int) -> None:
    """The first start keeps the configured key, readable by its owner only."""
    text = base64.b64encode(bytes(size)).decode()
    loaded = load_keyring(tmp_path / "server", Secret(text))
    assert loaded.keyring is not None
    assert loaded.keyring.keys == (bytes(size),)
    path = tmp_path / "server" / "serf.keyring"
    assert json.loads(path.read_text()) == [text]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert loaded.warning == ""


def test_file_wins_over_the_configured_key(tmp_path: Path) -> None:
    """Keys rotated since are in the file, the first one is primary, and a warning tells."""
    (tmp_path / "serf.keyring").write_text(json.dumps([TWO, ONE]))
    loaded = load_keyring(tmp_path, Secret(ONE))
    assert loaded.keyring is not None
    assert loaded.keyring.keys == (bytes(range(32)), bytes(16))
    assert loaded.warning == EXISTS_WARNING
    assert load_keyring(tmp_path, Secret()).warning == ""


def test_dev_mode_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a data directory the key counts, and not even the working directory is touched."""
    monkeypatch.chdir(tmp_path)
    loaded = load_keyring(None, Secret(ONE))
    assert loaded.keyring is not None
    assert loaded.keyring.primary == bytes(16)
    assert list(tmp_path.iterdir()) == []


def test_bad_key_is_refused_without_showing_it(tmp_path: Path) -> None:
    """The line says what is wrong, not what the key was."""
    with pytest.raises(SettingsError, match="Invalid encryption key: ") as caught:
        load_keyring(tmp_path, Secret("c2VjcmV0"))
    assert "c2VjcmV0" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "not JSON"),
        ('{"a": 1}', "list of base64 keys"),
        ("[1]", "list of base64 keys"),
        ("[]", "holds no key"),
        ('["c2VjcmV0"]', "key size must be 16, 24 or 32 bytes"),
        ('["%"]', "the key is not base64"),
    ],
)
def test_broken_file_is_refused_and_kept(tmp_path: Path, text: str, message: str) -> None:
    """A damaged keyring is never overwritten, nor shown."""
    path = tmp_path / "serf.keyring"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        load_keyring(tmp_path, Secret(ONE))
    assert str(path) in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)
    assert path.read_text() == text


def test_rotated_keys_are_written_as_serf_writes_them(tmp_path: Path) -> None:
    """Indented by two blanks, the primary first, for this user only; and they read the same."""
    save_keyring(tmp_path / "server", [bytes(16), bytes(32)])
    path = tmp_path / "server" / "serf.keyring"
    assert (
        path.read_text()
        == f"""[
  "{base64.b64encode(bytes(16)).decode()}",
  "{base64.b64encode(bytes(32)).decode()}"
]"""
    )
    assert path.stat().st_mode & 0o777 == 0o600
    loaded = load_keyring(tmp_path / "server", Secret(ONE))
    assert loaded.keyring is not None
    assert loaded.keyring.keys == (bytes(16), bytes(32))
