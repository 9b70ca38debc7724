"""Runs ``async def`` tests under trio: the one pytest hook this suite needs.

How to use it
    * Write ``async def test_…()``; it runs in a trio loop of its own. No decorator, no marker.
    * Ask for the fixture ``autojump_clock`` (or put ``pytestmark =
      pytest.mark.usefixtures("autojump_clock")`` at a module's head) and the test runs on virtual
      time: as soon as every task waits, the clock jumps to the next deadline, so an hour's sleep
      costs nothing. Only for tests without threads and sockets, which the clock cannot see waiting:
      name resolution, files and real servers belong on the real clock.
    * Ask for ``mock_clock`` for virtual time that stands still until the test calls ``jump``.
    * Any fixture whose value is a ``trio.abc.Clock`` is used the same way, any one that is a
      ``trio.abc.Instrument`` is installed.
    * Fixtures themselves stay synchronous. What needs the loop is an async context manager that the
      test enters: who opens a nursery waits for it in the same function.
    * With hypothesis, keep the test synchronous and call ``trio.run`` in it.

Every test has a deadline, so that one that hangs fails and names the place: ``REAL_SECONDS_MAX`` on
the real clock, ``VIRTUAL_SECONDS_MAX`` on a virtual one. ``@pytest.mark.deadline(120)`` changes it.

The idea is pytest-trio's, without its async fixtures, which cost more than they give here.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import trio
import trio.abc
import trio.testing

REAL_SECONDS_MAX = 30.0
"""Far above what any honest test needs, far below the patience of whoever waits for the suite."""

VIRTUAL_SECONDS_MAX = 7 * 24 * 3600.0
"""A week: beyond every timer of the gossip protocol (the longest is a day), so only a task that
waits for nothing gets there."""


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker (markers are strict here)."""
    config.addinivalue_line(
        "markers", "deadline(seconds): how long an async test may take on its own clock"
    )


@pytest.fixture
def autojump_clock() -> trio.testing.MockClock:
    """Virtual time that jumps to the next deadline whenever every task waits."""
    return trio.testing.MockClock(autojump_threshold=0)


@pytest.fixture
def mock_clock() -> trio.testing.MockClock:
    """Virtual time that moves only when the test says so."""
    return trio.testing.MockClock()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object:
    """Run a coroutine test to its end under trio; leave all others to pytest."""
    function = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function):
        return None
    # Not only the named arguments: a clock asked for by `usefixtures` counts too.
    values = pyfuncitem.funcargs
    clocks = [value for value in values.values() if isinstance(value, trio.abc.Clock)]
    if len(clocks) > 1:
        raise pytest.UsageError(f"{pyfuncitem.name} asks for more than one clock")
    clock = clocks[0] if clocks else None
    deadline = REAL_SECONDS_MAX if clock is None else VIRTUAL_SECONDS_MAX
    marker = pyfuncitem.get_closest_marker("deadline")
    if marker is not None:
        (deadline,) = marker.args
    arguments: dict[str, Any] = {name: values[name] for name in pyfuncitem._fixtureinfo.argnames}

    async def run() -> None:
        with trio.fail_after(deadline):
            await function(**arguments)

    trio.run(
        run,
        clock=clock,
        instruments=[value for value in values.values() if isinstance(value, trio.abc.Instrument)],
        strict_exception_groups=True,
    )
    return True
