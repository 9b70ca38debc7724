"""The facade: what does not belong to one part alone."""

from __future__ import annotations

import pytest
from rookery.gossip.addresses import Address
from rookery.gossip.notices import InputRejected, NameConflict, PingFinished, PushPullFinished
from rookery.gossip.serf.members import Member, MemberStatus
from rookery.gossip.serf.messages import (
    ConflictResponse,
    JoinIntent,
    KeyRequest,
    PushPullState,
    Query,
    QueryResponse,
    encode_serf_message,
)
from rookery.gossip.serf.tags import TagsTooLarge, encode_tags
from rookery.gossip.swim.nodes import NodeState
from rookery.gossip.swim.versions import OUR_VERSIONS
from rookery.gossip.wire.messages import (
    ErrorReply,
    PushPull,
    User,
    encode_user_stream,
)

from ..benches import OWN, PORT, SerfBench, alive, at, ip, raw_push_pull, raw_record, record


def test_lone_agent_sets_no_timer() -> None:
    """At rest and alone nothing wakes it."""
    bench = SerfBench()
    assert bench.engine.next_deadline() is None


def test_engine_that_was_not_started_has_no_member() -> None:
    """Asking is a mistake of the caller."""
    bench = SerfBench()
    fresh = type(bench.engine)(bench.engine.settings, rng=bench.swim._prober._rng, nonce=bytes)
    with pytest.raises(RuntimeError):
        fresh.local_member()


# --- messages that may not come as user messages ----------------------------------------


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty_user_message"),
        (b"\x4dhello", "unknown_type"),
        (b"\x01\xc1", "bad_msgpack"),
        (encode_serf_message(PushPullState(1, {}, (), 1, (), 1)), "unexpected_serf_message"),
        (encode_serf_message(ConflictResponse(None)), "unexpected_serf_message"),
        (encode_serf_message(KeyRequest(bytes(16))), "unexpected_serf_message"),
        (encode_serf_message(QueryResponse(5, 77, "b", 0, b"x")), "response_to_no_query"),
    ],
)
def test_serf_messages_out_of_place_are_counted_and_go_nowhere(payload: bytes, reason: str) -> None:
    """Types that are parts of others, unknown ones, empty and broken ones."""
    bench = SerfBench("b")
    bench.receive(b"\x08" + payload)
    assert bench.rejected == {reason: 1}
    assert bench.news() == []
    assert bench.take_sent() == []
    assert [n.reason for n in bench.take_notice(InputRejected)] == [reason]


def test_user_message_over_tcp_counts_like_one_over_udp() -> None:
    """Serf accepts it there too."""
    bench = SerfBench("b")
    bench.dial(encode_user_stream(encode_serf_message(JoinIntent(9, "b"))))
    assert bench.status_ltime("b") == 9
    assert bench.news() == [JoinIntent(9, "b")]


# --- joins and looks --------------------------------------------------------------------


def test_look_reads_members_from_what_a_peer_answers() -> None:
    """Tags decoded, states as statuses; a suspect is alive. Nothing changes here."""
    bench = SerfBench(tags={"role": "agent"})
    version = bench.engine.members_version
    operation = bench.engine.look(at(2), now=bench.now)
    (dial,) = bench.take_opened()
    tags = {"role": "nomad", "region": "eu"}
    nodes = (
        record("b", 2, meta=encode_tags(tags)),
        record("c", 3, state=NodeState.SUSPECT),
        record("d", 4, state=NodeState.DEAD),
        record("e", 5, state=NodeState.LEFT),
    )
    state = encode_serf_message(PushPullState(500, {"b": 400}, (), 500, (), 500))
    bench.answer(dial.stream, PushPull(nodes, state, False))
    (notice,) = bench.take_notices()
    assert isinstance(notice, PushPullFinished)
    assert (notice.operation, notice.error) == (operation, None)
    assert [(node.name, str(node.status)) for node in notice.nodes] == [
        ("b", "alive"),
        ("c", "alive"),
        ("d", "failed"),
        ("e", "left"),
    ]
    assert notice.nodes[0] == Member("b", ip(2), PORT, tags, MemberStatus.ALIVE, 1, 5, 2, 2, 5, 5)
    assert bench.engine.members_version == version
    assert bench.engine.statistics().member_time == 1
    assert bench.news() == []


def test_look_at_a_poisoned_pool_shows_it_as_it_is() -> None:
    """Odd addresses, versions, states and tags do not break the look."""
    bench = SerfBench()
    bench.engine.look(at(2), now=bench.now)
    (dial,) = bench.take_opened()
    bench.answer(
        dial.stream,
        raw_push_pull(
            raw_record("x", 9, Vsn=b"\1\5", Addr=b"\1\2\3", State=9, Meta=b"\xff\xc1"),
            raw_record("y", 9, Vsn=None),
        ),
    )
    (notice,) = bench.take_notice(PushPullFinished)
    assert notice.error is None
    assert [(n.name, str(n.status), n.protocol_max) for n in notice.nodes] == [
        ("x", "none", 5),
        ("y", "alive", 0),
    ]
    assert [node.host for node in notice.nodes] == ["?010203", "10.0.0.9"]


def test_join_ends_with_a_notice_and_brings_members() -> None:
    """Error None, and what the peer showed."""
    bench = SerfBench()
    operation = bench.engine.join(at(2), now=bench.now)
    (dial,) = bench.take_opened()
    bench.answer(dial.stream, PushPull((record("b", 2),), b"", True))
    (notice,) = bench.take_notice(PushPullFinished)
    assert (notice.operation, notice.error) == (operation, None)
    assert [node.name for node in notice.nodes] == ["b"]
    assert bench.statuses == {OWN: "alive", "b": "alive"}


def test_failed_join_tells_the_shells_words() -> None:
    """Whoever compares texts gets Go's."""
    bench = SerfBench()
    operation = bench.engine.join(at(2), now=bench.now)
    (dial,) = bench.take_opened()
    error = "dial tcp 10.0.0.2:7946: connect: connection refused"
    bench.engine.fail_stream(dial.stream, error, now=bench.now)
    assert bench.take_notice(PushPullFinished) == [PushPullFinished(operation, error, ())]


def test_operations_have_numbers_of_their_own() -> None:
    """Joins, looks and pings are told apart by them."""
    bench = SerfBench()
    numbers = [
        bench.engine.join(at(2), now=bench.now),
        bench.engine.look(at(2), now=bench.now),
        bench.engine.ping("b", at(2), now=bench.now),
    ]
    assert len(set(numbers)) == 3
    bench.run_for(1.0)
    assert bench.take_notice(PingFinished) == [PingFinished(numbers[2], None)]


# --- admission --------------------------------------------------------------------------


def admit_no_servers(members: object) -> str | None:
    """Refuse pools that hold a server."""
    assert isinstance(members, list)
    if any(member.tags.get("role") == "nomad" for member in members):
        return "there are servers"
    return None


SERVER = encode_tags({"role": "nomad"})


def test_node_that_is_not_admitted_is_not_a_member() -> None:
    """Neither by gossip nor passed on."""
    bench = SerfBench("b", admit=admit_no_servers)
    bench.receive(alive("x", 9, meta=SERVER))
    assert "x" not in bench.statuses
    assert bench.news() == []
    assert bench.rejected == {"node_refused": 1}


def test_pool_that_is_not_admitted_is_not_joined() -> None:
    """The join fails with the reason; a peer of it that dials us hears it and sees nothing."""
    bench = SerfBench(admit=admit_no_servers)
    bench.engine.join(at(2), now=bench.now)
    (dial,) = bench.take_opened()
    pool = PushPull((record("b", 2), record("x", 9, meta=SERVER)), b"", True)
    bench.answer(dial.stream, pool)
    (notice,) = bench.take_notice(PushPullFinished)
    assert notice.error == "there are servers"
    assert bench.dial(pool).message == ErrorReply("there are servers")
    assert bench.statuses == {OWN: "alive"}


def test_look_may_see_what_would_not_be_admitted() -> None:
    """It is how the owner finds out."""
    bench = SerfBench(admit=admit_no_servers)
    bench.engine.look(at(2), now=bench.now)
    (dial,) = bench.take_opened()
    bench.answer(dial.stream, PushPull((record("x", 9, meta=SERVER),), b"", False))
    (notice,) = bench.take_notice(PushPullFinished)
    assert notice.error is None


def test_empty_request_is_answered_also_where_admission_is_asked() -> None:
    """Others may look at us."""
    bench = SerfBench(admit=admit_no_servers)
    assert isinstance(bench.dial(PushPull((), b"", False)).message, PushPull)


def test_admission_sees_a_poisoned_pool_without_failing() -> None:
    """What it is given can be asked for its host, whatever the bytes."""
    seen: list[str] = []

    def admit(members: object) -> str | None:
        assert isinstance(members, list)
        seen.extend(member.host for member in members)
        return None

    bench = SerfBench(admit=admit)
    bench.dial(raw_push_pull(raw_record("x", 9, Addr=b"\1\2\3"), raw_record("b", 2)))
    assert seen[:2] == ["?010203", "10.0.0.2"]
    assert bench.statuses == {OWN: "alive", "b": "alive"}


# --- tags, names ------------------------------------------------------------------------


def test_tags_that_do_not_fit_change_nothing() -> None:
    """512 bytes with everything; the error names the size."""
    bench = SerfBench("b", tags={"role": "agent"})
    with pytest.raises(TagsTooLarge):
        bench.engine.set_tags({"role": "x" * 510}, now=bench.now)
    assert bench.engine.local_member().tags == {"role": "agent"}
    assert bench.state_of(OWN) == ("alive", 1)
    bench.engine.set_tags({"k": "x" * (512 - 2 - 2 - 3)}, now=bench.now)
    assert len(bench.node(OWN).meta) == 512


def test_contested_own_name_is_told_and_put_to_the_vote() -> None:
    """A query to everybody; our own member stays."""
    bench = SerfBench("b")
    bench.receive(alive(OWN, 9, 5))
    assert bench.take_notice(NameConflict) == [NameConflict(OWN, at(1), at(9))]
    (asked,) = [news for news in bench.news() if isinstance(news, Query)]
    assert (asked.name, asked.payload) == ("_serf_conflict", OWN.encode())
    assert bench.engine.local_member().host == "10.0.0.1"


def test_ipv6_member_reads_as_text() -> None:
    """Sixteen bytes; a mapped IPv4 address reads as the IPv4 address."""
    bench = SerfBench()
    bench.dial(
        raw_push_pull(
            raw_record("six", 9, Addr=bytes(15) + b"\1"),
            raw_record("mapped", 9, Addr=bytes(10) + b"\xff\xff" + ip(9)),
        )
    )
    assert bench.member("six").host == "::1"
    assert bench.member("mapped").host == "10.0.0.9"
    assert str(Address("::1", 7946)) == "[::1]:7946"


def test_statistics_count_what_is_there() -> None:
    """A frozen snapshot for the owner."""
    bench = SerfBench("b", "c")
    statistics = bench.engine.statistics()
    assert (statistics.members, statistics.failed, statistics.left) == (3, 0, 0)
    assert (statistics.swim.nodes, statistics.swim.alive) == (3, 3)
    assert not statistics.encrypted
    assert statistics.swim.incarnation == 1
    bench.receive(User(b"\x4d"))
    assert bench.engine.statistics().swim.rejected == {"unknown_type": 1}
    assert statistics.swim.rejected == {}


def test_versions_are_ours_on_the_wire() -> None:
    """What a push-pull shows of us has six bytes."""
    bench = SerfBench()
    message = bench.dial(PushPull((), b"", False)).message
    assert [node.versions for node in message.nodes] == [OUR_VERSIONS]
