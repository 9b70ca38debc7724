"""The gossip keys an agent starts with: the keyring file, else the configured key.

The file is `<data_dir>/server/serf.keyring`, a JSON list of base64 keys with the primary one first,
as Serf and Nomad write it (public API: `initKeyring` in Nomad's `command/agent/keyring.go`,
`loadKeyring` in Serf's `command/agent/agent.go`). The first start with a key writes it; from then
on the file counts, because keys rotated at run time are in it and the configured one may long be
removed. In dev mode nothing is read or written (Nomad there writes into the working directory).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..gossip.wire.keyring import Keyring, KeyringError, from_base64
from .secret import Secret
from .settings_sources import SettingsError
from .state_files import read_text, write_atomically

FILE_NAME = "serf.keyring"

EXISTS_WARNING = "WARNING: keyring exists but -encrypt given, using keyring"


@dataclass(frozen=True, slots=True)
class LoadedKeyring:
    """What to encrypt with (None: encryption is off), and what to warn of (empty: nothing)."""

    keyring: Keyring | None
    warning: str = ""


def load_keyring(server_directory: Path | None, key: Secret) -> LoadedKeyring:
    """Return the keys to start with, writing the file when `key` is the first one.

    Args:
        server_directory: `<data_dir>/server`, or None to keep nothing.
        key: The configured key, empty for none.

    Raises:
        SettingsError: The file or the key is no good; no key is in the text.
    """
    path = server_directory / FILE_NAME if server_directory else None
    text = read_text(path) if path else None
    if path and text is not None:
        return LoadedKeyring(_parse(path, text), EXISTS_WARNING if key else "")
    if not key:
        return LoadedKeyring(None)
    try:
        keyring = Keyring([from_base64(key.reveal())])
    except KeyringError as error:
        raise SettingsError(f"Invalid encryption key: {error}") from None
    if path:
        write_atomically(path, json.dumps([key.reveal()]))
    return LoadedKeyring(keyring)


def save_keyring(server_directory: Path, keys: Sequence[bytes]) -> None:
    """Write the file anew, because the keys of the pool were changed.

    Args:
        server_directory: `<data_dir>/server`.
        keys: All keys, the primary one first.

    Raises:
        SettingsError: It cannot be written; the old one is untouched.
    """
    texts = [base64.b64encode(key).decode("ascii") for key in keys]
    write_atomically(server_directory / FILE_NAME, json.dumps(texts, indent=2))


def _parse(path: Path, text: str) -> Keyring:
    """Return the keys in the file's text."""
    try:
        entries = json.loads(text)
    except ValueError:
        raise SettingsError(
            f"{path}: this is not JSON; it must be a list of base64 keys, the primary one first"
        ) from None
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise SettingsError(f"{path}: must be a list of base64 keys, the primary one first")
    if not entries:
        raise SettingsError(f"{path}: holds no key; remove the file, or put a key into it")
    try:
        return Keyring([from_base64(entry) for entry in entries])
    except KeyringError as error:
        raise SettingsError(f"{path}: {error}") from None
