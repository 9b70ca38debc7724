"""The history of why a member is what it is: its order, and its two limits."""

from __future__ import annotations

import pytest
from rookery.gossip import evidence as evidence_module
from rookery.gossip.evidence import (
    EVIDENCE_MAX,
    EVIDENCE_PER_MEMBER_MAX,
    Evidence,
    EvidenceKind,
    EvidenceLog,
)
from rookery.gossip.wire.messages import Dead, Suspect

from .benches import SerfBench, alive


def note(number: int) -> Evidence:
    return Evidence(float(number), EvidenceKind.SUSPECTED)


def times(log: EvidenceLog, name: str) -> list[float]:
    return [evidence.time for evidence in log.of(name)]


def test_records_stand_by_member_oldest_first() -> None:
    """A stranger has none."""
    log = EvidenceLog()
    log.add("a", note(1))
    log.add("b", note(2))
    log.add("a", note(3))
    assert times(log, "a") == [1.0, 3.0]
    assert times(log, "b") == [2.0]
    assert log.of("nobody") == ()
    assert len(log) == 3


def test_member_keeps_its_newest_records() -> None:
    """At the limit all, one more drops the oldest."""
    log = EvidenceLog()
    for number in range(EVIDENCE_PER_MEMBER_MAX + 1):
        log.add("a", note(number))
    assert times(log, "a") == [float(n) for n in range(1, EVIDENCE_PER_MEMBER_MAX + 1)]
    assert len(log) == EVIDENCE_PER_MEMBER_MAX


def test_records_of_all_members_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it goes a record of the member of whom nothing was said for longest."""
    assert EVIDENCE_MAX == 2**18
    monkeypatch.setattr(evidence_module, "EVIDENCE_MAX", 4)
    log = EvidenceLog()
    for number, name in enumerate("aabb"):
        log.add(name, note(number))
    log.add("a", note(9))  # of b nothing was said for longest now
    assert times(log, "a") == [0.0, 1.0, 9.0]
    assert times(log, "b") == [3.0]
    log.add("c", note(10))
    assert log.of("b") == ()
    assert len(log) == 4


def test_forgotten_member_has_no_records_and_makes_room() -> None:
    """Forgetting a stranger is no error."""
    log = EvidenceLog()
    log.add("a", note(1))
    log.forget("a")
    log.forget("nobody")
    assert log.of("a") == ()
    assert len(log) == 0


def test_failure_leaves_its_history() -> None:
    """Who accused, who confirmed, and the verdict with its incarnation."""
    bench = SerfBench("b", "c", "d")
    bench.answering |= {"b", "c", "d"}
    bench.run_until(5.0)
    bench.receive(Suspect(1, "b", "c"))
    bench.receive(Suspect(1, "b", "d"))
    bench.receive(Dead(1, "b", "d"))
    bench.receive(alive("b", 2, 2))
    said = [
        (evidence.kind, evidence.by, evidence.incarnation)
        for evidence in bench.engine.evidence_of("b")
        if evidence.time >= 5.0
    ]
    assert said == [
        (EvidenceKind.SUSPECTED, "c", 1),
        (EvidenceKind.CONFIRMED, "d", 1),
        (EvidenceKind.DECLARED_DEAD, "d", 1),
        (EvidenceKind.JOINED, "", 2),
    ]
