"""Finds the real `serf` command, or says why these tests are skipped and how to get it.

Set ROOKERY_REQUIRE_INTEROP=1 where skipping would hide a broken set-up: then a missing command
fails.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from .serf_agents import LoopbackAddresses, SerfCommand

HOW_TO_GET_IT = (
    "the real `serf` command is not installed; `apt-get install serf` on Debian and Ubuntu, "
    "or put a binary of github.com/hashicorp/serf on the PATH"
)

_ADDRESSES = LoopbackAddresses()


@pytest.fixture
def serf(tmp_path: Path) -> SerfCommand:
    """The `serf` command; agents started with it write their logs below the test's directory."""
    program = shutil.which("serf")
    if program is None:
        if os.environ.get("ROOKERY_REQUIRE_INTEROP") == "1":
            pytest.fail(HOW_TO_GET_IT)
        pytest.skip(HOW_TO_GET_IT)
    return SerfCommand(Path(program), tmp_path, _ADDRESSES)
