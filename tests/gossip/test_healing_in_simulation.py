"""Pools that were broken come back by themselves: a few seeds of each experiment, on small pools.

`python tests/gossip/healing_experiments.py` runs the same with 50 nodes and 20 seeds.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def load() -> ModuleType:
    """Import the experiments, which are also a script, from beside this file."""
    path = Path(__file__).with_name("healing_experiments.py")
    spec = importlib.util.spec_from_file_location("healing_experiments", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


experiments = load()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", sorted(experiments.EXPERIMENTS))
def test_broken_pool_heals(name: str, seed: int) -> None:
    """All are alive everywhere again in the time promised, whatever the experiment did."""
    experiments.EXPERIMENTS[name](seed, 9)
