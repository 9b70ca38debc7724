"""Our own queries: what is sent, which answers count, and when it is over."""

from __future__ import annotations

from typing import Any

import pytest
from rookery.gossip.notices import QueryAcked, QueryAnswered, QueryFinished, QueryReceived
from rookery.gossip.serf.asking import (
    PENDING_QUERIES_MAX,
    QUERY_SIZE_LIMIT,
    QueryRefused,
    Question,
    default_query_timeout,
)
from rookery.gossip.serf.messages import (
    RESPONSE_ACK,
    NodeFilter,
    Query,
    QueryResponse,
    TagFilter,
    encode_filter,
    encode_serf_message,
)
from rookery.gossip.wire.messages import Dead, Suspect

from ..benches import OWN, PORT, SerfBench, at, ip


@pytest.mark.parametrize(
    ("interval", "nodes", "seconds"),
    [(0.2, 1, 3.2), (0.2, 9, 3.2), (0.2, 10, 6.4), (0.5, 9, 8.0), (0.1, 9, 1.6), (0.2, 100, 9.6)],
)
def test_default_timeout_grows_with_logarithm_of_live_members(
    interval: float, nodes: int, seconds: float
) -> None:
    """GossipInterval * 16 * ceil(log10(N + 1)): LAN 3.2 s, WAN 8 s, local 1.6 s up to 9 nodes."""
    assert default_query_timeout(interval, nodes) == pytest.approx(seconds)


def ask(bench: SerfBench, **fields: Any) -> Query:
    """Ask, and return the query as it is gossiped."""
    key = bench.engine.query(Question(**{"name": "uptime", **fields}), now=bench.now)
    (query,) = [news for news in bench.news() if isinstance(news, Query)]
    assert (query.ltime, query.id) == key
    return query


def answer(bench: SerfBench, query: Query, sender: str, payload: bytes | None = b"x") -> None:
    bench.hear(QueryResponse(query.ltime, query.id, sender, 0, payload), at(2))


def ack(bench: SerfBench, query: Query, sender: str) -> None:
    bench.hear(QueryResponse(query.ltime, query.id, sender, RESPONSE_ACK, None), at(2))


def heard(bench: SerfBench) -> list[object]:
    kinds = QueryAcked | QueryAnswered | QueryFinished
    return [notice for notice in bench.take_notices() if isinstance(notice, kinds)]


def test_query_says_who_asks_where_to_answer_and_until_when() -> None:
    """The clock's time, a random id of 31 bits, our address, the timeout in nanoseconds."""
    bench = SerfBench("b", "c")
    bench.hear(Query(40, 1, ip(8), 1, "b", (), 0, 0, 0, "q", None))
    bench.news()
    query = ask(bench, payload=b"?")
    assert query == Query(41, query.id, ip(1), PORT, OWN, (), 0, 0, 3_200_000_000, "uptime", b"?")
    assert 0 <= query.id < 2**31
    assert bench.engine.statistics().query_time == 42


def test_filters_flags_and_relay_factor_are_the_askers() -> None:
    """All must match, so nodes and each tag are filters of their own."""
    bench = SerfBench("b")
    query = ask(
        bench,
        nodes=("b", "c"),
        tags={"role": "web", "dc": "^eu"},
        wants_acks=True,
        relay_factor=3,
        timeout=1.5,
    )
    assert query.filters == (
        encode_filter(NodeFilter(("b", "c"))),
        encode_filter(TagFilter("dc", "^eu")),
        encode_filter(TagFilter("role", "web")),
    )
    assert (query.flags, query.relay_factor, query.timeout_ns) == (1, 3, 1_500_000_000)


def test_we_answer_our_own_query_too() -> None:
    """It is handled here like anybody's."""
    bench = SerfBench("b")
    query = ask(bench, wants_acks=True)
    (received,) = bench.take_notice(QueryReceived)
    assert (received.ltime, received.id, received.source) == (query.ltime, query.id, OWN)
    (own_ack,) = [s.first for s in bench.take_sent() if isinstance(s.first, QueryResponse)]
    bench.hear(own_ack, at(1))
    assert heard(bench) == [QueryAcked(query.ltime, query.id, OWN)]


def test_one_ack_and_one_answer_of_each_member_count() -> None:
    """Copies by way of relays are dropped."""
    bench = SerfBench("b", "c")
    query = ask(bench, wants_acks=True)
    bench.take_notices()
    key = (query.ltime, query.id)
    for _ in range(2):
        ack(bench, query, "b")
        answer(bench, query, "b", b"1")
        answer(bench, query, "c", None)
    assert heard(bench) == [
        QueryAcked(*key, "b"),
        QueryAnswered(*key, "b", b"1"),
        QueryAnswered(*key, "c", b""),
    ]


def test_answers_end_with_the_deadline() -> None:
    """It tells how many came; later ones are counted as answers to nothing."""
    bench = SerfBench("b", "c")
    query = ask(bench, wants_acks=True, timeout=2.0)
    ack(bench, query, "b")
    answer(bench, query, "b")
    bench.run_until(1.999)
    assert QueryFinished(query.ltime, query.id, 1, 1) not in heard(bench)
    bench.run_until(2.0)
    assert heard(bench) == [QueryFinished(query.ltime, query.id, 1, 1)]
    answer(bench, query, "c")
    assert heard(bench) == []
    assert bench.rejected == {"response_to_no_query": 1}


@pytest.mark.parametrize(("ltime", "number"), [(1, 0), (0, 1), (1, 1)])
def test_answers_are_matched_by_time_and_id(ltime: int, number: int) -> None:
    """Either alone does not do."""
    bench = SerfBench("b")
    query = ask(bench)
    bench.hear(QueryResponse(query.ltime + ltime, query.id + number, "b", 0, b"x"), at(2))
    assert heard(bench) == []
    assert bench.rejected == {"response_to_no_query": 1}


def test_no_more_answers_are_collected_than_members_were_alive() -> None:
    """A liar with many names cannot fill our memory; suspects count as live, the dead do not."""
    bench = SerfBench("b", "c", "d")
    bench.receive(Suspect(1, "b", "c"))
    bench.receive(Dead(1, "d", "c"))
    bench.forget_output()
    query = ask(bench)
    for number in range(10):
        answer(bench, query, f"liar {number}")
    assert len([n for n in heard(bench) if isinstance(n, QueryAnswered)]) == 3


def test_query_may_be_ended_early() -> None:
    """Its end is told once; what comes later is nothing's answer."""
    bench = SerfBench("b")
    query = ask(bench)
    bench.engine.end_query(query.ltime, query.id, now=bench.now)
    bench.engine.end_query(query.ltime, query.id, now=bench.now)
    assert heard(bench) == [QueryFinished(query.ltime, query.id, 0, 0)]
    bench.run_for(10.0)
    assert heard(bench) == []


def test_query_has_a_size_limit() -> None:
    """1024 bytes in all; nothing is sent beyond, nor registered."""
    bench = SerfBench("b")
    small = ask(bench, payload=b"x" * 300)
    room = QUERY_SIZE_LIMIT - len(encode_serf_message(small)) + 300
    # The id's size on the wire varies by a few bytes.
    ask(bench, payload=b"x" * (room - 8))
    before = bench.engine.statistics().open_queries
    with pytest.raises(QueryRefused, match="1024"):
        bench.engine.query(Question(name="uptime", payload=b"x" * (room + 9)), now=bench.now)
    assert bench.engine.statistics().open_queries == before
    assert bench.news() == []


@pytest.mark.parametrize("expression", ["[", "(?=a)", "a{2000}"])
def test_expression_that_is_not_re2_is_refused(expression: str) -> None:
    """Members would take it for one that matches nobody, and the asker would wait in vain."""
    bench = SerfBench("b")
    with pytest.raises(QueryRefused, match="tag filter rack="):
        bench.engine.query(Question(name="q", tags={"rack": expression}), now=bench.now)
    assert bench.engine.statistics().open_queries == 0
    assert bench.news() == []


def test_open_queries_have_a_limit_and_deadlines_make_room() -> None:
    """At the limit all are open, one more is refused."""
    bench = SerfBench("b")
    for _ in range(PENDING_QUERIES_MAX):
        bench.engine.query(Question(name="q"), now=bench.now)
    with pytest.raises(QueryRefused, match="256"):
        bench.engine.query(Question(name="q"), now=bench.now)
    bench.run_for(3.3)
    assert bench.engine.statistics().open_queries == 0
    bench.engine.query(Question(name="q"), now=bench.now)


@pytest.mark.parametrize(
    "fields",
    [{"relay_factor": -1}, {"relay_factor": 256}, {"timeout": -1.0}, {"timeout": 90_000.0}],
)
def test_impossible_questions_are_refused(fields: dict[str, Any]) -> None:
    """Before anything is sent."""
    bench = SerfBench("b")
    with pytest.raises(QueryRefused):
        bench.engine.query(Question(name="q", **fields), now=bench.now)
    assert bench.news() == []
