"""The server's identity: a UUID that survives restarts.

Kept in `<data_dir>/server/node-id` and told to members in the `id` tag; it is what tells a
restarted server from a new one at the same address. In dev mode nothing is written, so every run is
somebody new (public API: `setupNodeID` in Nomad's `nomad/server.go`).
"""

from __future__ import annotations

import uuid
from pathlib import Path

from .settings_sources import SettingsError
from .state_files import read_text, write_atomically

FILE_NAME = "node-id"


def load_server_id(server_directory: Path | None) -> str:
    """Return this server's id, made up and kept at the first start.

    Args:
        server_directory: `<data_dir>/server`, or None to keep nothing.

    Raises:
        SettingsError: The file cannot be read or written, or holds no UUID.
    """
    if server_directory is None:
        return str(uuid.uuid4())
    path = server_directory / FILE_NAME
    text = read_text(path)
    if text is None:
        made = str(uuid.uuid4())
        write_atomically(path, made)
        return made
    try:
        return str(uuid.UUID(text.strip()))
    except ValueError:
        raise SettingsError(
            f"{path}: holds no UUID; put the id back, or remove the file to become a new server"
        ) from None
