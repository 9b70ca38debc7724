"""What the README promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.slow
def test_library_example_runs() -> None:
    """The example of the README runs as it stands, and prints both members."""
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "['a alive', 'b alive']" in result.stdout


def test_files_named_exist() -> None:
    """Every file the README names is there."""
    names = re.findall(r"`((?:gossip|agent|http|tests)/[\w/.]+)`", README)
    assert len(names) > 20
    assert [name for name in names if not (ROOT / name).exists()] == []
    links = re.findall(r"\]\((?!http)([^)]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_commands_named_are_targets() -> None:
    """Every make target the README and CONTRIBUTING name is in the Makefile."""
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    prose = README + (ROOT / "CONTRIBUTING.md").read_text()
    assert set(re.findall(r"\bmake (run|test|check|format|clean)\b", prose)) <= targets
