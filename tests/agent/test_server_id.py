"""The server's id: kept across restarts, fresh where nothing may be kept."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from rookery.agent.server_id import load_server_id
from rookery.agent.settings_sources import SettingsError


def test_id_is_made_once_and_kept(tmp_path: Path) -> None:
    """The second start has the id of the first."""
    first = load_server_id(tmp_path / "server")
    assert str(uuid.UUID(first)) == first
    assert load_server_id(tmp_path / "server") == first
    assert (tmp_path / "server" / "node-id").read_text() == first


def test_id_without_a_directory_is_new_each_time() -> None:
    """In dev mode every run is somebody new."""
    assert load_server_id(None) != load_server_id(None)


def test_written_id_is_read_in_its_usual_form(tmp_path: Path) -> None:
    """Case and white space of the file do not matter."""
    (tmp_path / "node-id").write_text("5B6F3C3E-8A3A-4C07-9E3C-2D0C3E1F8A11\n")
    assert load_server_id(tmp_path) == "5b6f3c3e-8a3a-4c07-9e3c-2d0c3e1f8a11"


def test_broken_id_is_not_replaced(tmp_path: Path) -> None:
    """A server does not become somebody else because its file was damaged."""
    (tmp_path / "node-id").write_text("oops")
    with pytest.raises(SettingsError, match="holds no UUID"):
        load_server_id(tmp_path)
    assert (tmp_path / "node-id").read_text() == "oops"
