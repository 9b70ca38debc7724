"""The member transition table, cell by cell, and what goes with each change."""

from __future__ import annotations

import pytest
from rookery.gossip.notices import (
    InputRejected,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberReaped,
    MemberUpdated,
    NameConflict,
)
from rookery.gossip.serf import intents
from rookery.gossip.serf.members import MEMBERS_MAX, Member, MemberStatus
from rookery.gossip.serf.messages import JoinIntent, LeaveIntent
from rookery.gossip.serf.tags import encode_tags
from rookery.gossip.swim.nodes import Node, NodeState
from rookery.gossip.swim.settings import NODES_MAX
from rookery.gossip.swim.versions import OUR_VERSIONS
from rookery.gossip.wire.messages import Dead, Suspect

from ..benches import OWN, PORT, SerfBench, alive, at, ip

STATUS_LTIME = 5
"""Time of the last intent that touched "b" in each of the prepared states."""

MEMBER_NOTICES = MemberJoined | MemberUpdated | MemberLeft | MemberFailed | MemberReaped


def in_status(status: str) -> SerfBench:
    """Return a bench on which "b" has a status, its status time being STATUS_LTIME."""
    bench = SerfBench("c")
    if status != "unknown":
        bench.know("b")
        is_leave = status in ("leaving", "left")
        bench.hear((LeaveIntent if is_leave else JoinIntent)(STATUS_LTIME, "b"))
    if status == "left":
        bench.receive(Dead(1, "b", "b"))
    elif status == "failed":
        bench.receive(Dead(1, "b", "c"))
    assert bench.statuses.get("b", "unknown") == status
    bench.forget_output()
    return bench


def node(state: NodeState = NodeState.ALIVE, meta: bytes = b"\xff\x80") -> Node:
    return Node("b", ip(2), PORT, meta, OUR_VERSIONS, incarnation=2, state=state, changed=0.0)


def told(bench: SerfBench) -> list[str]:
    """Return what was told of "b"."""
    return [
        type(notice).__name__
        for notice in bench.take_notices()
        if isinstance(notice, MEMBER_NOTICES) and notice.member.name == "b"
    ]


JOIN, GONE_DEAD, GONE_LEFT, LEAVE_INTENT, JOIN_INTENT = (
    "memberlist join",
    "memberlist leave (dead)",
    "memberlist leave (left)",
    "newer leave intent",
    "newer join intent",
)


def apply(bench: SerfBench, event: str) -> None:
    engine = bench.engine
    if event == JOIN:
        engine.node_joined(node(), now=bench.now)
    elif event == GONE_DEAD:
        engine.node_gone(node(NodeState.DEAD), now=bench.now)
    elif event == GONE_LEFT:
        engine.node_gone(node(NodeState.LEFT), now=bench.now)
    elif event == LEAVE_INTENT:
        bench.hear(LeaveIntent(STATUS_LTIME + 1, "b"))
    else:
        bench.hear(JoinIntent(STATUS_LTIME + 1, "b"))


@pytest.mark.parametrize(
    ("now", "event", "then", "notices"),
    [
        ("unknown", JOIN, "alive", ["MemberJoined"]),
        ("unknown", GONE_DEAD, "unknown", []),
        ("unknown", GONE_LEFT, "unknown", []),
        ("unknown", LEAVE_INTENT, "unknown", []),
        ("unknown", JOIN_INTENT, "unknown", []),
        ("alive", GONE_DEAD, "failed", ["MemberFailed"]),
        ("alive", GONE_LEFT, "failed", ["MemberFailed"]),
        ("alive", LEAVE_INTENT, "leaving", []),
        ("alive", JOIN_INTENT, "alive", []),
        ("leaving", JOIN, "alive", ["MemberJoined"]),
        ("leaving", GONE_DEAD, "left", ["MemberLeft"]),
        ("leaving", GONE_LEFT, "left", ["MemberLeft"]),
        ("leaving", LEAVE_INTENT, "leaving", []),
        ("leaving", JOIN_INTENT, "alive", []),
        ("left", JOIN, "alive", ["MemberJoined"]),
        ("left", GONE_DEAD, "left", []),
        ("left", LEAVE_INTENT, "left", []),
        ("left", JOIN_INTENT, "left", []),
        ("failed", JOIN, "alive", ["MemberJoined"]),
        ("failed", GONE_DEAD, "failed", []),
        ("failed", LEAVE_INTENT, "left", ["MemberLeft"]),
        ("failed", JOIN_INTENT, "failed", []),
    ],
)
def test_member_table(now: str, event: str, then: str, notices: list[str]) -> None:
    """Status and events of every cell of the transition table."""
    bench = in_status(now)
    apply(bench, event)
    assert bench.statuses.get("b", "unknown") == then
    assert told(bench) == notices


@pytest.mark.parametrize("status", ["alive", "leaving", "left", "failed"])
@pytest.mark.parametrize("kind", [JoinIntent, LeaveIntent])
@pytest.mark.parametrize("ltime", [0, STATUS_LTIME - 1, STATUS_LTIME])
def test_old_intent_is_ignored_entirely(
    status: str, kind: type[JoinIntent] | type[LeaveIntent], ltime: int
) -> None:
    """Neither applied nor passed on; the clock is still witnessed (here it is beyond)."""
    bench = in_status(status)
    bench.hear(kind(ltime, "b"))
    assert bench.statuses["b"] == status
    assert bench.status_ltime("b") == STATUS_LTIME
    assert bench.news() == []
    assert told(bench) == []


@pytest.mark.parametrize("status", ["alive", "leaving", "left", "failed"])
@pytest.mark.parametrize("kind", [JoinIntent, LeaveIntent])
def test_newer_intent_sets_its_time_and_is_passed_on_in_every_status(
    status: str, kind: type[JoinIntent] | type[LeaveIntent]
) -> None:
    """Also where the status does not change; a second copy is old."""
    bench = in_status(status)
    intent = kind(STATUS_LTIME + 3, "b")
    bench.hear(intent)
    assert bench.status_ltime("b") == STATUS_LTIME + 3
    assert bench.news() == [intent]
    bench.hear(intent)
    assert bench.news() == []


@pytest.mark.parametrize("kind", [JoinIntent, LeaveIntent])
def test_intent_moves_the_member_clock(kind: type[JoinIntent] | type[LeaveIntent]) -> None:
    """Also an old one, and one about somebody unknown."""
    bench = in_status("alive")
    bench.hear(kind(100, "b"))
    assert bench.engine.statistics().member_time == 101
    bench.hear(kind(200, "nobody"))
    assert bench.engine.statistics().member_time == 201
    bench.hear(kind(50, "b"))
    assert bench.engine.statistics().member_time == 201


def test_memberlist_join_does_not_touch_the_status_time() -> None:
    """Coming back makes a member alive whatever the Lamport times."""
    bench = in_status("failed")
    bench.receive(alive("b", 2, 2))
    assert bench.statuses["b"] == "alive"
    assert bench.status_ltime("b") == STATUS_LTIME


# --- through memberlist -----------------------------------------------------------------


def test_failure_and_leave_and_return_from_packets() -> None:
    """The whole way: joined, failed, back, leaving, left, back."""
    bench = SerfBench("c")
    bench.know("b")
    bench.receive(Dead(1, "b", "c"))
    assert bench.statuses["b"] == "failed"
    bench.receive(alive("b", 2, 2))
    bench.hear(LeaveIntent(3, "b"))
    assert bench.statuses["b"] == "leaving"
    bench.receive(Dead(2, "b", "b"))
    assert bench.statuses["b"] == "left"
    bench.receive(alive("b", 2, 3))
    assert bench.statuses["b"] == "alive"
    assert told(bench) == [
        "MemberJoined",
        "MemberFailed",
        "MemberJoined",
        "MemberLeft",
        "MemberJoined",
    ]


def test_dead_of_its_own_word_without_an_intent_is_failed_until_the_intent_comes() -> None:
    """It is the intent that tells left from failed, not memberlist's own left; late repairs it."""
    bench = SerfBench("b", "c")
    bench.receive(Dead(1, "b", "b"))
    assert bench.statuses["b"] == "failed"
    bench.hear(LeaveIntent(9, "b"))
    assert bench.statuses["b"] == "left"
    assert told(bench) == ["MemberFailed", "MemberLeft"]


def test_suspected_member_is_alive() -> None:
    """Serf knows no suspects; only the verdict counts."""
    bench = SerfBench("b", "c")
    bench.receive(Suspect(1, "b", "c"))
    assert bench.statuses["b"] == "alive"
    assert bench.take_notices()
    assert told(bench) == []


def test_update_refreshes_tags_versions_and_address() -> None:
    """Event member-update; the member shows the new values."""
    bench = SerfBench("b")
    versions = bytes((1, 5, 2, 2, 5, 4))
    bench.receive(alive("b", 2, 2, meta=encode_tags({"role": "db"}), versions=versions))
    assert told(bench) == ["MemberUpdated"]
    assert bench.member("b") == Member(
        "b", ip(2), PORT, {"role": "db"}, MemberStatus.ALIVE, 1, 5, 2, 2, 5, 4
    )


def test_member_that_moved_after_leaving_shows_its_new_address() -> None:
    """A join refreshes the address too."""
    bench = SerfBench("b")
    bench.hear(LeaveIntent(3, "b"))
    bench.receive(Dead(1, "b", "b"))
    bench.receive(alive("b", 9, 1, port=7000))
    member = bench.member("b")
    assert (member.host, member.port, member.status) == ("10.0.0.9", 7000, MemberStatus.ALIVE)


def test_notices_carry_the_member_as_it_was_then() -> None:
    """A later change does not alter a notice that was told."""
    bench = SerfBench("c")
    bench.know("b")
    bench.receive(Dead(1, "b", "c"))
    joined, failed = [
        notice.member
        for notice in bench.take_notices()
        if isinstance(notice, MemberJoined | MemberFailed)
    ]
    assert joined.status is MemberStatus.ALIVE
    assert failed.status is MemberStatus.FAILED


def test_tags_of_old_peers_are_their_role() -> None:
    """Meta without the magic byte is the single tag `role`; empty meta is an empty role."""
    bench = SerfBench()
    bench.receive(alive("b", 2, meta=b"web"))
    bench.receive(alive("c", 3, meta=encode_tags({})))
    assert bench.member("b").tags == {"role": "web"}
    assert bench.member("c").tags == {}


def test_member_with_broken_tags_joins_without_any() -> None:
    """It is counted, and the member is there."""
    bench = SerfBench()
    bench.receive(alive("b", 2, meta=b"\xff\xc1"))
    assert bench.statuses["b"] == "alive"
    assert bench.member("b").tags == {}
    assert [n.reason for n in bench.take_notice(InputRejected)] == ["bad_tags"]


def test_contested_name_changes_no_member() -> None:
    """The notice is all there is to see."""
    bench = SerfBench("b")
    before = bench.engine.members()
    bench.receive(alive("b", 9, 7))
    assert bench.engine.members() == before
    assert bench.take_notice(NameConflict) == [NameConflict("b", at(2), at(9))]


def test_own_member_is_there_from_the_start() -> None:
    """With our tags, address and versions, and a notice of its own."""
    bench = SerfBench(tags={"role": "agent"})
    assert bench.engine.local_member() == Member(
        OWN, ip(1), PORT, {"role": "agent"}, MemberStatus.ALIVE, 1, 5, 2, 2, 5, 5
    )
    assert bench.engine.members() == [bench.engine.local_member()]


def test_own_tags_change_at_once_and_are_announced() -> None:
    """`set_tags` updates ourselves and gossips a higher incarnation."""
    bench = SerfBench("b", tags={"role": "agent"})
    bench.engine.set_tags({"role": "boss"}, now=bench.now)
    assert bench.engine.local_member().tags == {"role": "boss"}
    assert bench.news() == [alive(OWN, 1, 2, meta=encode_tags({"role": "boss"}))]
    (notice,) = bench.take_notice(MemberUpdated)
    assert notice.member.tags == {"role": "boss"}


def test_table_keeps_to_its_limit_and_those_gone_for_longest_give_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Failed and left members stay for a day, so that invented ones could pile up."""
    assert MEMBERS_MAX == 2 * NODES_MAX
    monkeypatch.setattr(intents, "MEMBERS_MAX", 32)
    bench = SerfBench("b", gossip_to_the_dead_time=0.0)
    bench.answering.add("b")
    for number in range(60):
        bench.receive(alive(f"x{number}", 100 + number))
        bench.receive(Dead(1, f"x{number}", "b"))
        bench.run_for(0.01)
        assert bench.engine.statistics().members <= 32
    names = [member.name for member in bench.engine.members()]
    assert {OWN, "b", "x59"} <= set(names)
    assert names[2:] == [f"x{number}" for number in range(60 - len(names) + 2, 60)]
    reaped = [notice.member.name for notice in bench.take_notice(MemberReaped)]
    assert reaped == [f"x{number}" for number in range(len(reaped))]


def test_members_version_grows_with_every_visible_change_and_with_nothing_else() -> None:
    """Who caches the list knows when to ask again."""
    bench = SerfBench("c")
    engine = bench.engine
    seen = [engine.members_version]

    def version_moved() -> bool:
        seen.append(engine.members_version)
        return seen[-1] > seen[-2]

    bench.know("b")
    assert version_moved()
    bench.receive(alive("b", 2, 2, meta=b"web"))
    assert version_moved()
    bench.receive(Suspect(2, "b", "c"))
    bench.receive(alive("b", 2, 2, meta=b"web"))
    bench.hear(JoinIntent(9, "b"))
    assert not version_moved()
    bench.hear(LeaveIntent(10, "b"))
    assert version_moved()
    bench.receive(Dead(2, "b", "b"))
    assert version_moved()
