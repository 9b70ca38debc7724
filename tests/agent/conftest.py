"""What the agent's tests share: a place for caches, and settings written as text."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rookery.agent import hcl
from rookery.agent.settings import AgentSettings
from rookery.agent.settings_merging import load_settings
from rookery.agent.settings_sources import Source


@pytest.fixture(scope="session", autouse=True)
def hcl_cache(pytestconfig: pytest.Config) -> Iterator[Path]:
    """Keep the HCL parser out of the user's cache, and build it once for all tests and runs."""
    assert pytestconfig.cache is not None
    directory = pytestconfig.cache.mkdir("rookery")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(directory))
        patch.setattr(hcl, "_build_parser", functools.cache(hcl._build_parser))
        yield directory


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., AgentSettings]:
    """Load settings from texts (each one a file, in order) and flags."""

    def load_texts(*texts: str, dev: bool = True, flags: Source | None = None) -> AgentSettings:
        paths = []
        for number, text in enumerate(texts):
            path = tmp_path / f"file-{number}"
            path.write_text(text)
            paths.append(str(path))
        return load_settings(paths, flags or Source("", {}), dev=dev)

    return load_texts
