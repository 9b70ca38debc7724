"""The hook of conftest.py itself: async tests run, on the clock they ask for."""

from __future__ import annotations

import time

import pytest
import trio
import trio.testing


async def test_async_tests_run_inside_trio() -> None:
    """A coroutine test has a trio loop around it, on the real clock."""
    before = trio.current_time()
    await trio.lowlevel.checkpoint()
    assert 0 <= trio.current_time() - before < 5


async def test_autojump_clock_makes_sleep_free(autojump_clock: trio.testing.MockClock) -> None:
    """An hour of virtual time passes at once, and exactly."""
    started = time.monotonic()
    before = trio.current_time()
    await trio.sleep(3600)
    assert trio.current_time() - before == 3600
    assert trio.current_time() == autojump_clock.current_time()
    assert time.monotonic() - started < 5


@pytest.mark.usefixtures("autojump_clock")
async def test_clock_named_by_usefixtures_is_used() -> None:
    """A clock need not be an argument to be the test's clock."""
    started = time.monotonic()
    await trio.sleep(3600)
    assert time.monotonic() - started < 5


@pytest.mark.deadline(10)
@pytest.mark.usefixtures("autojump_clock")
async def test_marker_sets_the_deadline_of_a_test() -> None:
    """The hook cancels a hung test at the marker's deadline, counted on the test's own clock."""
    await trio.sleep(4)
    assert trio.current_effective_deadline() - trio.current_time() == pytest.approx(6)


async def test_mock_clock_stands_still(mock_clock: trio.testing.MockClock) -> None:
    """Without autojump virtual time moves by `jump` only."""
    before = trio.current_time()
    await trio.testing.wait_all_tasks_blocked()
    assert trio.current_time() == before
    mock_clock.jump(5)
    assert trio.current_time() == before + 5
