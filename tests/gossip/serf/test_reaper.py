"""Members that have been gone for long enough are erased, by one timer."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from rookery.gossip.notices import MemberReaped
from rookery.gossip.serf.engine import SerfEngine
from rookery.gossip.serf.messages import LeaveIntent
from rookery.gossip.wire.messages import Dead

from ..benches import OWN, SerfBench, alive


def reaping_bench(*names: str, failed: float = 100.0, left: float = 200.0) -> SerfBench:
    """Return a bench that keeps failed and left members for so many seconds."""
    bench = SerfBench()
    settings = replace(bench.engine.settings, reconnect_timeout=failed, tombstone_timeout=left)
    rng = random.Random(1)
    bench.engine = SerfEngine(settings, rng=rng, nonce=rng.randbytes)
    bench.engine.start(now=0.0)
    bench.know(*names)
    bench.answering |= set(names)
    bench.forget_output()
    return bench


def reaped(bench: SerfBench) -> list[str]:
    return [notice.member.name for notice in bench.take_notice(MemberReaped)]


@pytest.mark.parametrize(("status", "keep"), [("failed", 100.0), ("left", 200.0)])
def test_gone_member_is_kept_for_its_time_and_then_erased(status: str, keep: float) -> None:
    """Failed ones for ReconnectTimeout, left ones for TombstoneTimeout."""
    bench = reaping_bench("b", "c")
    if status == "left":
        bench.hear(LeaveIntent(5, "b"))
    bench.run_until(10.0)
    bench.receive(Dead(1, "b", "c"))
    bench.run_until(10.0 + keep - 0.1)
    assert bench.statuses["b"] == status
    bench.run_until(10.0 + keep)
    assert bench.statuses == {OWN: "alive", "c": "alive"}
    assert reaped(bench) == ["b"]


def test_member_that_came_back_is_not_erased() -> None:
    """The time counts from its last departure."""
    bench = reaping_bench("b", "c")
    bench.receive(Dead(1, "b", "c"))
    bench.run_until(50.0)
    bench.receive(alive("b", 2, 2))
    bench.run_until(120.0)
    assert bench.statuses["b"] == "alive"
    bench.receive(Dead(2, "b", "c"))
    bench.run_until(219.9)
    assert bench.statuses["b"] == "failed"
    bench.run_until(220.0)
    assert "b" not in bench.statuses


def test_each_is_erased_in_its_own_time() -> None:
    """One timer stands at the next expiry, whoever's it is."""
    bench = reaping_bench("b", "c", "d", "e")
    bench.hear(LeaveIntent(5, "b"))
    bench.receive(Dead(1, "b", "b"))
    bench.run_until(20.0)
    bench.receive(Dead(1, "c", "e"))
    bench.run_until(50.0)
    bench.receive(Dead(1, "d", "e"))
    bench.run_until(119.9)
    assert reaped(bench) == []
    bench.run_until(120.0)
    assert reaped(bench) == ["c"]
    bench.run_until(150.0)
    assert reaped(bench) == ["d"]
    bench.run_until(200.0)
    assert reaped(bench) == ["b"]


def test_failed_member_that_turns_out_to_have_left_is_kept_as_left() -> None:
    """From the moment that this was known."""
    bench = reaping_bench("b", "c")
    bench.receive(Dead(1, "b", "c"))
    bench.run_until(90.0)
    bench.hear(LeaveIntent(5, "b"))
    bench.run_until(289.0)
    assert bench.statuses["b"] == "left"
    bench.run_until(290.1)
    assert "b" not in bench.statuses


def test_by_default_members_are_kept_for_a_day() -> None:
    """Serf's values."""
    settings = SerfBench().engine.settings
    assert (settings.reconnect_timeout, settings.tombstone_timeout) == (86400.0, 86400.0)
    assert settings.reconnect_interval == 30.0
