"""The merge rules: what each claim does to the table, who hears of it, and what is passed on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rookery.gossip.addresses import Address
from rookery.gossip.notices import InputRejected, NameConflict
from rookery.gossip.swim.dissemination import Dissemination
from rookery.gossip.swim.membership import (
    CONFLICT_NOTICE_INTERVAL,
    INCARNATION_MAX,
    NODE_NAME_ACCEPTED_MAX,
)
from rookery.gossip.swim.nodes import NodeState
from rookery.gossip.swim.versions import OUR_VERSIONS
from rookery.gossip.wire.limits import META_SIZE_MAX
from rookery.gossip.wire.messages import Alive, Dead, Suspect, encode_message

from ..benches import OWN, PORT, SwimBench, alive, at, ip, raw_alive


def in_state(state: str, incarnation: int = 5, **settings: object) -> SwimBench:
    """Return a bench on which "b" is in a state, with an incarnation, and nothing to gossip.

    "c", "d" and "e" make the pool large enough for confirmations.
    """
    bench = SwimBench("c", "d", "e", **settings)
    if state != "unknown":
        bench.receive(alive("b", 2, incarnation, meta=b"meta"))
    if state == "suspect":
        bench.receive(Suspect(incarnation, "b", "c"))
    elif state == "dead":
        bench.receive(Dead(incarnation, "b", "c"))
    elif state == "left":
        bench.receive(Dead(incarnation, "b", "b"))
    expected = None if state == "unknown" else (state, incarnation)
    assert bench.state_of("b") == expected
    bench.forget_output()
    bench.delegate.heard()
    return bench


STATES = ("unknown", "alive", "suspect", "dead", "left")


# --- alive ------------------------------------------------------------------------------


def test_node_starts_with_incarnation_1_and_knows_itself_alive() -> None:
    """Incarnation 0 would leave a dead entry at peers."""
    bench = SwimBench()
    assert bench.state_of(OWN) == ("alive", 1)


@pytest.mark.parametrize("state", STATES)
def test_alive_with_higher_incarnation_is_taken_in_every_state(state: str) -> None:
    """It becomes alive with that incarnation, and is passed on."""
    bench = in_state(state)
    claim = alive("b", 2, 6, meta=b"meta")
    bench.receive(claim)
    assert bench.state_of("b") == ("alive", 6)
    assert bench.news() == [claim]


@pytest.mark.parametrize("state", ["alive", "suspect", "dead", "left"])
@pytest.mark.parametrize("incarnation", [1, 4, 5])
def test_alive_that_is_not_newer_is_ignored(state: str, incarnation: int) -> None:
    """Equal incarnation with another meta is ignored as well: only the node itself may raise it."""
    bench = in_state(state)
    bench.receive(alive("b", 2, incarnation, meta=b"other"))
    assert bench.state_of("b") == (state, 5)
    assert bench.node("b").meta == b"meta"
    assert bench.news() == []
    assert bench.delegate.heard() == []


@pytest.mark.parametrize(
    ("state", "meta", "heard"),
    [
        ("unknown", b"meta", [("joined", "b")]),
        ("dead", b"meta", [("joined", "b")]),
        ("left", b"meta", [("joined", "b")]),
        ("dead", b"other", [("joined", "b")]),
        ("alive", b"meta", []),
        ("suspect", b"meta", []),
        ("alive", b"other", [("updated", "b", b"other")]),
        ("suspect", b"other", [("updated", "b", b"other")]),
    ],
)
def test_alive_is_a_join_of_who_was_gone_and_an_update_of_other_meta(
    state: str, meta: bytes, heard: list[tuple[object, ...]]
) -> None:
    """Joins for the unknown, dead and left; updates for changed meta; else nothing is told."""
    bench = in_state(state)
    bench.receive(alive("b", 2, 6, meta=meta))
    assert bench.delegate.heard() == heard


def test_alive_brings_versions_without_an_event() -> None:
    """Changed versions alone are taken over silently."""
    bench = in_state("alive")
    versions = bytes((1, 5, 2, 2, 5, 4))
    bench.receive(alive("b", 2, 6, meta=b"meta", versions=versions))
    assert bench.node("b").versions == versions
    assert bench.delegate.heard() == []


def test_port_0_means_our_own_port() -> None:
    """An alive message without port is read, and passed on, with ours."""
    bench = SwimBench(port=7000)
    bench.receive(alive("b", 2, port=0))
    assert bench.node("b").destination == at(2, 7000)
    assert bench.news() == [alive("b", 2, port=7000)]


def test_port_0_does_not_make_old_news_new() -> None:
    """With our port put in, it is the message that we know."""
    bench = SwimBench("b")
    bench.receive(alive("b", 2, 1, port=0, meta=b"other"))
    assert bench.node("b").meta == b""
    assert bench.news() == []


def test_alive_ends_a_suspicion() -> None:
    """After a refutation nothing is left of the timer."""
    bench = in_state("suspect")
    bench.receive(alive("b", 2, 6, meta=b"meta"))
    bench.answering |= {"b", "c", "d", "e"}
    bench.run_for(60.0)
    assert bench.state_of("b") == ("alive", 6)


def test_alive_of_odd_form_is_passed_on_with_all_fields() -> None:
    """Messages are passed on re-encoded: a struct sent as array goes on as a map."""
    bench = SwimBench()
    # incarnation 1, "arr" at 127.0.0.1:1, no meta, six version bytes (from reactions.json)
    bench.receive(bytes.fromhex("049601a3617272a47f00000101a0a6010502020505"))
    claim = Alive(1, "arr", bytes((127, 0, 0, 1)), 1, b"", OUR_VERSIONS)
    assert [encode_message(news) for news in bench.news()] == [encode_message(claim)]


@pytest.mark.parametrize("size", [4, 16])
def test_address_bytes_are_kept_and_passed_on_as_they_came(size: int) -> None:
    """Peers compare them byte by byte: a 16 byte form of an IPv4 address stays 16 bytes."""
    raw_address = bytes(10) + b"\xff\xff" + ip(2) if size == 16 else ip(2)
    bench = SwimBench()
    bench.receive(Alive(1, "b", raw_address, PORT, b"", OUR_VERSIONS))
    assert bench.node("b").address == raw_address
    assert bench.node("b").destination == at(2)
    assert [claim.address for claim in bench.news()] == [raw_address]


# --- address conflicts ------------------------------------------------------------------


@pytest.mark.parametrize("state", ["alive", "suspect", "dead"])
@pytest.mark.parametrize("incarnation", [1, 5, 100])
@pytest.mark.parametrize(("number", "port"), [(9, PORT), (2, 7000)])
def test_other_address_is_a_conflict_unless_left(
    state: str, incarnation: int, number: int, port: int
) -> None:
    """The name stays where it is, whatever the incarnation; the claim is told, not passed on."""
    bench = in_state(state)
    bench.receive(alive("b", number, incarnation, port=port))
    assert bench.state_of("b") == (state, 5)
    assert bench.node("b").destination == at(2)
    assert bench.delegate.heard() == [("conflict", "b", ip(number), port)]
    assert bench.take_notice(NameConflict) == [NameConflict("b", at(2), at(number, port))]
    assert bench.news() == []
    assert bench.engine.statistics().conflicts == 1


def test_mapped_form_of_the_same_address_is_a_conflict() -> None:
    """The 4 byte and the 16 byte form of one IPv4 address are two addresses to Go peers."""
    bench = in_state("alive")
    bench.receive(Alive(9, "b", bytes(10) + b"\xff\xff" + ip(2), PORT, b"", OUR_VERSIONS))
    assert bench.delegate.heard() == [("conflict", "b", bytes(10) + b"\xff\xff" + ip(2), PORT)]


@pytest.mark.parametrize("incarnation", [1, 5, 6])
def test_name_of_a_left_node_may_be_taken_with_any_incarnation(incarnation: int) -> None:
    """A left node's name is free: the new address counts at once, and is passed on."""
    bench = in_state("left")
    claim = alive("b", 9, incarnation, port=7000)
    bench.receive(claim)
    assert bench.state_of("b") == ("alive", incarnation)
    assert bench.node("b").destination == at(9, 7000)
    assert bench.delegate.heard() == [("joined", "b")]
    assert bench.news() == [claim]


def test_left_node_at_its_old_address_needs_a_higher_incarnation() -> None:
    """Only a change of address is a takeover."""
    bench = in_state("left")
    bench.receive(alive("b", 2, 5, meta=b"meta"))
    assert bench.state_of("b") == ("left", 5)
    bench.receive(alive("b", 2, 6, meta=b"meta"))
    assert bench.state_of("b") == ("alive", 6)


@pytest.mark.parametrize(("after", "is_taken"), [(9.999, False), (10.0, True), (15.0, True)])
def test_name_of_a_dead_node_may_be_taken_after_the_reclaim_time(
    after: float, is_taken: bool
) -> None:
    """With dead_node_reclaim_time 10 s, a claim counts from 10 s after the death on."""
    bench = in_state("dead", dead_node_reclaim_time=10.0, gossip_to_the_dead_time=100.0)
    bench.answering |= {"c", "d", "e"}
    bench.run_for(after)
    bench.receive(alive("b", 9, 1))
    expected = ("alive", 1) if is_taken else ("dead", 5)
    assert bench.state_of("b") == expected


def test_claim_made_too_early_is_granted_when_the_reclaim_time_is_over() -> None:
    """The claimant need not repeat itself: its name is free 10 s after the old node's death."""
    bench = in_state("dead", dead_node_reclaim_time=10.0, gossip_to_the_dead_time=100.0)
    bench.answering |= {"b", "c", "d", "e"}
    bench.run_for(4.0)
    bench.receive(alive("b", 9, 1))
    bench.delegate.heard()
    bench.run_until(9.999)
    assert bench.state_of("b") == ("dead", 5)
    bench.run_until(10.0)
    assert bench.state_of("b") == ("alive", 1)
    assert bench.node("b").destination == at(9)
    assert ("joined", "b") in bench.delegate.heard()


def test_claim_does_not_outlive_the_return_of_the_old_node() -> None:
    """Who is back keeps its name, and at its next death nobody waits for it any more."""
    bench = in_state("dead", dead_node_reclaim_time=10.0, gossip_to_the_dead_time=100.0)
    bench.answering |= {"b", "c", "d", "e"}
    bench.run_until(4.0)
    bench.receive(alive("b", 9, 1))
    bench.run_until(6.0)
    bench.receive(alive("b", 2, 6))
    bench.run_until(20.0)
    bench.receive(Dead(6, "b", "c"))
    bench.run_until(40.0)
    assert bench.state_of("b") == ("dead", 6)


@pytest.mark.parametrize(("age", "is_granted"), [(200.0, True), (320.0, False)])
def test_old_claim_to_the_name_of_a_living_node_is_not_granted_at_its_death(
    age: float, is_granted: bool
) -> None:
    """Whoever made it may be long gone, and the old node could not have its name back."""
    bench = in_state("alive", dead_node_reclaim_time=10.0, gossip_to_the_dead_time=100.0)
    bench.answering |= {"b", "c", "d", "e"}
    bench.receive(alive("b", 9, 1))
    bench.run_until(age)
    bench.receive(Dead(5, "b", "c"))
    bench.run_until(age + 11.0)
    assert (bench.node("b").destination == at(9)) is is_granted


@pytest.mark.parametrize("state", ["alive", "suspect"])
def test_reclaim_time_gives_no_name_of_a_living_node(state: str) -> None:
    """Only a dead node's name is ever reclaimed."""
    bench = in_state(state, dead_node_reclaim_time=1.0)
    bench.receive(alive("b", 9, 100))
    assert bench.state_of("b") == (state, 5)
    assert bench.node("b").destination == at(2)


def test_without_reclaim_time_a_dead_nodes_name_stays_for_as_long_as_it_is_known() -> None:
    """Serf's default: a failed node's name cannot be taken over by another address."""
    bench = in_state("dead", gossip_to_the_dead_time=10_000.0)
    bench.answering |= {"c", "d", "e"}
    bench.run_for(500.0)
    bench.receive(alive("b", 9, 100))
    assert bench.state_of("b") == ("dead", 5)


def test_repeated_conflict_is_told_now_and_then() -> None:
    """Each push-pull repeats a claim; the owner hears of it once in CONFLICT_NOTICE_INTERVAL."""
    bench = in_state("alive")
    bench.answering |= {"b", "c", "d", "e"}
    for _ in range(100):
        bench.receive(alive("b", 9, 7))
    assert len(bench.take_notice(NameConflict)) == 1
    bench.run_for(CONFLICT_NOTICE_INTERVAL)
    bench.receive(alive("b", 9, 7))
    assert len(bench.take_notice(NameConflict)) == 1
    assert bench.engine.statistics().conflicts == 101


def test_second_node_of_our_own_name_is_a_conflict() -> None:
    """We keep our name and say so; our incarnation does not move."""
    bench = SwimBench("c")
    bench.receive(alive(OWN, 9, 50))
    assert bench.state_of(OWN) == ("alive", 1)
    assert bench.take_notice(NameConflict) == [NameConflict(OWN, at(1), at(9))]
    assert bench.delegate.heard() == [("conflict", OWN, ip(9), PORT)]
    assert bench.news() == []


def test_our_own_name_is_not_given_away_with_a_reclaim_time() -> None:
    """Reclaiming is about dead nodes, and we are not dead."""
    bench = SwimBench("c", dead_node_reclaim_time=0.5)
    bench.receive(alive(OWN, 9, 50))
    bench.answering.add("c")
    bench.run_for(30.0)
    bench.receive(alive(OWN, 9, 50))
    assert bench.node(OWN).destination == at(1)
    assert bench.state_of(OWN) == ("alive", 1)


# --- suspect ----------------------------------------------------------------------------


@pytest.mark.parametrize("incarnation", [5, 6, 9])
def test_suspicion_is_taken_with_equal_or_higher_incarnation(incarnation: int) -> None:
    """The node is suspected under the accusation's incarnation, and the word passed on."""
    bench = in_state("alive")
    claim = Suspect(incarnation, "b", "c")
    bench.receive(claim)
    assert bench.state_of("b") == ("suspect", incarnation)
    assert bench.news() == [claim]
    assert bench.delegate.heard() == []


@pytest.mark.parametrize(
    ("state", "incarnation"),
    [("unknown", 9), ("alive", 4), ("dead", 5), ("dead", 9), ("left", 5), ("left", 9)],
)
def test_suspicion_is_ignored_when_old_or_of_nobody_alive(state: str, incarnation: int) -> None:
    """Stale accusations, and those of unknown, dead or left nodes, change and spread nothing."""
    bench = in_state(state)
    before = bench.state_of("b")
    bench.receive(Suspect(incarnation, "b", "d"))
    assert bench.state_of("b") == before
    assert bench.news() == []


def test_stale_suspicion_of_a_suspect_confirms_nothing() -> None:
    """An accusation of an earlier incarnation does not shorten the suspicion of a later one."""
    bench = in_state("suspect")
    bench.receive(Suspect(4, "b", "d"))
    assert bench.news() == []
    bench.receive(Suspect(5, "b", "d"))
    assert bench.news() == [Suspect(5, "b", "d")]


def test_confirmations_are_passed_on_once_each_and_only_as_many_as_count() -> None:
    """The accuser itself, repetitions and those beyond k are no news."""
    bench = in_state("suspect")
    for accuser, is_news in [("c", False), ("d", True), ("d", False), ("e", True), ("f", False)]:
        bench.receive(Suspect(5, "b", accuser))
        assert bench.news() == ([Suspect(5, "b", accuser)] if is_news else [])


@pytest.mark.parametrize(
    ("confirmations", "seconds"),
    [
        ([], 24.0),
        ([(1.0, "d")], 11.381),
        ([(1.0, "d"), (2.0, "d")], 11.381),
        ([(1.0, "d"), (2.0, "b")], 4.0),
        ([(11.0, "d")], 11.381),
        # Already past: at once.
        ([(15.0, "d")], 15.0),
        ([(1.0, "d"), (6.0, "own")], 6.0),
    ],
)
def test_suspect_is_declared_dead_when_its_time_is_over(
    confirmations: list[tuple[float, str]], seconds: float
) -> None:
    """In a LAN pool of four: 24 s, with one confirmation 11.381 s, with two 4 s."""
    bench = SwimBench("b", "c", "d", probe_interval=1.0)
    bench.answering |= {"b", "c", "d"}
    bench.run_until(100.0)
    start = bench.now
    bench.receive(Suspect(1, "b", "c"))
    for after, accuser in confirmations:
        bench.run_until(start + after)
        bench.receive(Suspect(1, "b", accuser))
    if seconds > max([after for after, _ in confirmations], default=0.0):
        bench.run_until(start + seconds - 0.0001)
        assert bench.state_of("b") == ("suspect", 1)
        bench.run_until(start + seconds + 1e-9)
    assert bench.state_of("b") == ("dead", 1)
    assert ("gone", "b", "dead") in bench.delegate.heard()


def test_death_by_suspicion_is_told_in_our_name() -> None:
    """The dead message carries the node's incarnation and us as accuser."""
    bench = in_state("suspect", 7)
    bench.answering |= {"c", "d", "e"}
    bench.run_for(30.0)
    assert Dead(7, "b", OWN) in bench.take_messages(Dead)


def test_suspicion_in_a_pool_too_small_to_confirm_runs_for_its_minimum() -> None:
    """With three nodes nobody could confirm: 4 s."""
    bench = SwimBench("b", "c")
    bench.answering |= {"b", "c"}
    bench.run_until(50.0)
    bench.receive(Suspect(1, "b", "c"))
    bench.run_until(53.999)
    assert bench.state_of("b") == ("suspect", 1)
    bench.run_until(54.0)
    assert bench.state_of("b") == ("dead", 1)


def test_second_suspicion_after_a_refutation_starts_anew() -> None:
    """The timer of a refuted suspicion does not end the next one early."""
    bench = SwimBench("b", "c", "d")
    bench.answering |= {"b", "c", "d"}
    bench.run_until(50.0)
    bench.receive(Suspect(1, "b", "c"))
    bench.run_until(60.0)
    bench.receive(alive("b", 2, 2))
    bench.run_until(61.0)
    bench.receive(Suspect(2, "b", "d"))
    bench.run_until(84.9)
    assert bench.state_of("b") == ("suspect", 2)
    bench.run_until(85.0)
    assert bench.state_of("b") == ("dead", 2)


# --- dead -------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["alive", "suspect"])
@pytest.mark.parametrize("incarnation", [5, 8])
@pytest.mark.parametrize(("accuser", "then"), [("c", "dead"), ("b", "left"), (OWN, "dead")])
def test_dead_is_taken_and_says_left_when_the_node_says_it_itself(
    state: str, incarnation: int, accuser: str, then: str
) -> None:
    """From == Node is a leave; any other From a failure. Either is passed on and told."""
    bench = in_state(state)
    claim = Dead(incarnation, "b", accuser)
    bench.receive(claim)
    assert bench.state_of("b") == (then, incarnation)
    assert bench.node("b").changed == bench.now
    assert bench.news() == [claim]
    assert bench.delegate.heard() == [("gone", "b", then)]


@pytest.mark.parametrize(
    ("state", "incarnation", "accuser"),
    [
        ("unknown", 9, "c"),
        ("alive", 4, "c"),
        ("suspect", 4, "b"),
        ("dead", 5, "c"),
        ("dead", 9, "c"),
        ("dead", 9, "b"),
        ("left", 5, "b"),
        ("left", 9, "c"),
    ],
)
def test_dead_is_ignored_when_old_or_of_who_is_gone(
    state: str, incarnation: int, accuser: str
) -> None:
    """A failed node does not become left here, nor a left one failed."""
    bench = in_state(state)
    before = bench.state_of("b")
    bench.receive(Dead(incarnation, "b", accuser))
    assert bench.state_of("b") == before
    assert bench.news() == []
    assert bench.delegate.heard() == []


def test_suspicion_timer_ends_with_death() -> None:
    """A node that left while suspected is not declared dead later."""
    bench = in_state("suspect")
    bench.receive(Dead(5, "b", "b"))
    bench.answering |= {"c", "d", "e"}
    bench.run_for(29.0)
    assert bench.state_of("b") == ("left", 5)
    gone = [call for call in bench.delegate.heard() if call[0] == "gone"]
    assert gone == [("gone", "b", "left")]


# --- refutation -------------------------------------------------------------------------

Accusation = Callable[[int], Suspect | Dead | Alive]


@pytest.mark.parametrize(
    ("known", "accusation", "then"),
    [
        (1, Suspect(1, OWN, "b"), 2),
        (1, Suspect(10, OWN, "b"), 11),
        (11, Dead(11, OWN, "b"), 12),
        (1, Dead(1, OWN, "b"), 2),
        (1, Dead(7, OWN, OWN), 8),
        (1, alive(OWN, 1, 40, meta=b"own meta"), 41),
        (40, alive(OWN, 1, 40, meta=b"other"), 41),
        (1, alive(OWN, 1, 1, meta=b"other"), 2),
        (1, alive(OWN, 1, 1, meta=b"own meta", versions=bytes((1, 5, 2, 2, 5, 4))), 2),
    ],
)
def test_we_refute_what_is_not_so_with_a_higher_incarnation(
    known: int, accusation: Suspect | Dead | Alive, then: int
) -> None:
    """One above the accusation and above our own; told to everybody; our health score rises."""
    bench = SwimBench("b")
    if known > 1:
        bench.receive(Suspect(known - 1, OWN, "b"))
        bench.forget_output()
        bench.swim.awareness.apply(-8)
    assert bench.state_of(OWN) == ("alive", known)
    bench.receive(accusation)
    assert bench.state_of(OWN) == ("alive", then)
    assert bench.news() == [alive(OWN, 1, then, meta=b"own meta")]
    assert bench.engine.statistics().health_score == 1
    assert bench.delegate.heard() == []


@pytest.mark.parametrize(
    "claim",
    [
        alive(OWN, 1, 4, meta=b"other"),
        alive(OWN, 1, 5, meta=b"own meta"),
    ],
)
def test_we_do_not_refute_what_is_old_or_true(claim: Alive) -> None:
    """Old claims to be us, and our own alive message coming back, are ignored."""
    bench = SwimBench("b")
    bench.receive(Suspect(4, OWN, "b"))
    bench.forget_output()
    bench.receive(claim)
    assert bench.state_of(OWN) == ("alive", 5)
    assert bench.news() == []
    assert bench.engine.statistics().refutations == 1


@pytest.mark.parametrize("accusation", [Suspect(4, OWN, "b"), Dead(4, OWN, "b")])
def test_a_refutation_that_was_missed_is_said_again_once(accusation: Suspect | Dead) -> None:
    """An accuser with an old incarnation has not heard us: same words again, no new incarnation."""
    bench = SwimBench("b")
    bench.receive(Suspect(4, OWN, "b"))
    bench.forget_output()
    bench.receive(accusation)
    bench.receive(accusation)
    assert bench.state_of(OWN) == ("alive", 5)
    assert bench.news() == [alive(OWN, 1, 5, meta=b"own meta")]
    assert bench.engine.statistics().refutations == 1


def test_refutations_of_one_incarnation_do_not_repeat() -> None:
    """Many accusers of the same incarnation get one answer: it is stale after the first."""
    bench = SwimBench("b", "c", "d")
    for accuser in ("b", "c", "d"):
        bench.receive(Suspect(1, OWN, accuser))
    assert bench.state_of(OWN) == ("alive", 2)
    assert bench.news() == [alive(OWN, 1, 2, meta=b"own meta")]


def test_new_meta_takes_the_next_incarnation_and_is_told() -> None:
    """An update of our own is an alive message with incarnation + 1."""
    bench = SwimBench("b")
    bench.engine.update_meta(b"new", now=bench.now)
    assert bench.state_of(OWN) == ("alive", 2)
    assert bench.news() == [alive(OWN, 1, 2, meta=b"new")]
    assert bench.delegate.heard() == [("updated", OWN, b"new")]


# --- leaving ----------------------------------------------------------------------------


def leave(bench: SwimBench) -> list[str]:
    told: list[str] = []
    bench.engine.leave(now=bench.now, finished=lambda: told.append("finished"))
    return told


def test_leave_is_a_dead_message_from_ourselves() -> None:
    """It carries our incarnation and our name twice; the waiter hears when it is sent."""
    bench = SwimBench("b")
    bench.receive(Suspect(6, OWN, "b"))
    bench.forget_output()
    told = leave(bench)
    assert bench.state_of(OWN) == ("left", 7)
    assert told == []
    assert bench.news() == [Dead(7, OWN, OWN)]
    assert told == ["finished"]


@pytest.mark.parametrize(
    "claim",
    [
        Suspect(9, OWN, "b"),
        Dead(9, OWN, "b"),
        Dead(1, OWN, OWN),
        alive(OWN, 1, 9),
        alive(OWN, 9, 9),
    ],
)
def test_who_leaves_answers_no_claims_any_more(claim: Suspect | Dead | Alive) -> None:
    """Alive messages about us are ignored and accusations not refuted."""
    bench = SwimBench("b")
    leave(bench)
    bench.forget_output()
    bench.receive(claim)
    assert bench.state_of(OWN) == ("left", 1)
    assert bench.news() == []
    assert bench.take_notice(NameConflict) == []


def test_meta_does_not_change_after_leaving() -> None:
    """Nobody who has left announces itself alive again."""
    bench = SwimBench("b")
    leave(bench)
    bench.forget_output()
    bench.engine.update_meta(b"new", now=bench.now)
    assert bench.state_of(OWN) == ("left", 1)
    assert bench.news() == []


# --- once -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claim",
    [
        alive("b", 2, 9),
        Suspect(5, "b", "c"),
        Dead(5, "b", "c"),
        Dead(5, "b", "b"),
        alive("f", 6, 1),
    ],
)
def test_news_is_passed_on_once_however_often_it_comes(claim: Suspect | Dead | Alive) -> None:
    """A message is queued when it is news, then sent its number of times and never again."""
    bench = in_state("alive", gossip_to_the_dead_time=0.0)
    bench.answering |= {"b", "c", "d", "e", "f"}
    for _ in range(20):
        bench.receive(claim)
        bench.run_for(0.1)
    bench.run_for(1.0)
    sent = [message for message in bench.take_messages(type(claim)) if message == claim]
    # RetransmitMult 4 * ceil(log10(n + 1)), or once to each other node of a small pool.
    assert len(sent) == (5 if claim.node == "f" else 4)


# --- poison: neither applied nor passed on ----------------------------------------------

LONG_NAME = "n" * (NODE_NAME_ACCEPTED_MAX + 1)

POISON: dict[str, tuple[bytes, str]] = {
    **{
        f"vsn-{size}": (raw_alive("x", 9, Vsn=OUR_VERSIONS[:size]), "bad_versions")
        for size in range(6)
    },
    "vsn-absent": (raw_alive("x", 9, Vsn=None), "bad_versions"),
    "vsn-seven": (raw_alive("x", 9, Vsn=OUR_VERSIONS + b"\0"), "bad_versions"),
    "vsn-zero": (raw_alive("x", 9, Vsn=bytes(6)), "bad_versions"),
    "vsn-reversed": (raw_alive("x", 9, Vsn=bytes((5, 1, 2, 2, 5, 5))), "bad_versions"),
    "address-empty": (raw_alive("x", 9, Addr=b""), "bad_address"),
    "address-3": (raw_alive("x", 9, Addr=b"\1\2\3"), "bad_address"),
    "address-5": (raw_alive("x", 9, Addr=b"\1\2\3\4\5"), "bad_address"),
    "address-15": (raw_alive("x", 9, Addr=bytes(15)), "bad_address"),
    "meta-huge": (raw_alive("x", 9, Meta=bytes(META_SIZE_MAX + 1)), "meta_too_large"),
    "incarnation-0": (raw_alive("x", 9, 0), "incarnation_zero"),
    "incarnation-huge": (raw_alive("x", 9, INCARNATION_MAX), "incarnation_out_of_range"),
    "incarnation-top": (raw_alive("x", 9, 2**32 - 1), "incarnation_out_of_range"),
    "incarnation-over": (raw_alive("x", 9, 2**32), "bad_field"),
    "port-over": (raw_alive("x", 9, Port=65536), "bad_field"),
    "name-empty": (raw_alive("", 9), "alive_without_name"),
    "name-long": (raw_alive(LONG_NAME, 9), "node_name_too_long"),
}


@pytest.mark.parametrize("key", POISON)
def test_poison_about_a_new_node_is_counted_and_goes_nowhere(key: str) -> None:
    """What crashes or poisons Go peers enters no table and no packet of ours."""
    message, reason = POISON[key]
    bench = SwimBench("b")
    bench.receive(message)
    assert [node.name for node in bench.engine.table] == [OWN, "b"]
    assert bench.rejected == {reason: 1}
    assert [notice.reason for notice in bench.take_notice(InputRejected)] == [reason]
    assert bench.news() == []
    assert bench.delegate.heard() == []


@pytest.mark.parametrize("state", ["alive", "suspect", "dead", "left"])
@pytest.mark.parametrize("key", [key for key in POISON if key not in ("name-empty", "name-long")])
def test_poison_about_a_known_node_changes_nothing(key: str, state: str) -> None:
    """Neither its entry nor a running suspicion; whatever else the message says."""
    fields = {
        "vsn-absent": {"Vsn": None},
        "vsn-seven": {"Vsn": OUR_VERSIONS + b"\0"},
        "vsn-zero": {"Vsn": bytes(6)},
        "vsn-reversed": {"Vsn": bytes((5, 1, 2, 2, 5, 5))},
        "address-empty": {"Addr": b""},
        "address-3": {"Addr": b"\1\2\3"},
        "address-5": {"Addr": b"\1\2\3\4\5"},
        "address-15": {"Addr": bytes(15)},
        "meta-huge": {"Meta": bytes(META_SIZE_MAX + 1)},
        "port-over": {"Port": 65536},
        "incarnation-0": {"Incarnation": 0},
        "incarnation-huge": {"Incarnation": INCARNATION_MAX + 2**20},
        "incarnation-top": {"Incarnation": 2**32 - 1},
        "incarnation-over": {"Incarnation": 2**32},
        **{f"vsn-{size}": {"Vsn": OUR_VERSIONS[:size]} for size in range(6)},
    }[key]
    bench = in_state(state)
    bench.receive(raw_alive("b", 2, **{"incarnation": 9, **fields}))  # type: ignore[arg-type]
    assert bench.state_of("b") == (state, 5)
    assert bench.node("b").address == ip(2)
    assert bench.node("b").meta == b"meta"
    assert bench.node("b").versions == OUR_VERSIONS
    assert bench.news() == []
    assert bench.delegate.heard() == []


@pytest.mark.parametrize("key", POISON)
def test_poison_about_ourselves_is_not_refuted(key: str) -> None:
    """There is nothing to answer, and our incarnation does not move."""
    message = POISON[key][0].replace(b"\xa1x", b"\xa3own").replace(ip(9), ip(1))
    bench = SwimBench("b")
    bench.receive(message)
    assert bench.state_of(OWN) == ("alive", 1)
    assert bench.news() == []


@pytest.mark.parametrize("kind", [Suspect, Dead])
@pytest.mark.parametrize("name", ["b", OWN])
@pytest.mark.parametrize("incarnation", [INCARNATION_MAX + 2**20, 2**32 - 1])
def test_accusation_with_an_impossible_incarnation_goes_nowhere(
    kind: type[Suspect] | type[Dead], name: str, incarnation: int
) -> None:
    """Nobody could refute it: Go's counter would wrap to 0."""
    bench = SwimBench("b", "c")
    before = bench.state_of(name)
    bench.receive(kind(incarnation, name, "c"))
    assert bench.state_of(name) == before
    assert bench.rejected == {"incarnation_out_of_range": 1}
    assert bench.news() == []


@pytest.mark.parametrize("kind", [Suspect, Dead])
def test_accuser_with_an_endless_name_goes_nowhere(kind: type[Suspect] | type[Dead]) -> None:
    """We would have to keep it and pass it on."""
    bench = SwimBench("b", "c")
    bench.receive(kind(1, "b", LONG_NAME))
    assert bench.state_of("b") == ("alive", 1)
    assert bench.rejected == {"node_name_too_long": 1}
    assert bench.news() == []


def test_highest_accusation_that_counts_can_be_refuted_towards_everybody_who_took_it() -> None:
    """The last incarnation that is believed has a successor that is believed."""
    accused, witness = SwimBench("b"), SwimBench("b")
    witness.receive(alive("x", 9, 1))
    accusation = Suspect(INCARNATION_MAX - 1, OWN, "c")
    accused.receive(accusation)
    answer = next(news for news in accused.news() if isinstance(news, Alive))
    witness.receive(Suspect(INCARNATION_MAX - 1, "x", "c"))
    assert witness.state_of("x") == ("suspect", INCARNATION_MAX - 1)
    witness.receive(alive("x", 9, answer.incarnation))
    assert witness.state_of("x") == ("alive", INCARNATION_MAX)
    # And so on: nobody is stuck there.
    witness.receive(Suspect(INCARNATION_MAX, "x", "c"))
    witness.receive(alive("x", 9, INCARNATION_MAX + 1))
    assert witness.state_of("x") == ("alive", INCARNATION_MAX + 1)


@pytest.mark.parametrize(
    "name",
    ["n" * NODE_NAME_ACCEPTED_MAX, "ä" * NODE_NAME_ACCEPTED_MAX, "語" * NODE_NAME_ACCEPTED_MAX],
)
@pytest.mark.parametrize("settings", [{}, {"label": "l" * 255}])
def test_every_name_that_is_taken_can_be_passed_on(name: str, settings: dict[str, str]) -> None:
    """A node that is accepted but fits no packet would be unknown to the others for ever."""
    bench = SwimBench("b", **settings)
    bench.receive(alive(name, 9, meta=bytes(META_SIZE_MAX)))
    is_taken = bench.state_of(name) is not None
    dissemination: Dissemination = bench.engine.dissemination
    budget = 1400 - 2 - bench.engine.outbox.codec.overhead
    assert len(dissemination.take(budget)) == is_taken
    while dissemination.take(budget):
        continue
    assert len(dissemination.queue) == 0


def test_text_that_is_not_utf_8_is_passed_on_byte_for_byte() -> None:
    """A bad byte in a name must not kill the message nor change on its way."""
    bench = SwimBench("b")
    message = raw_alive("x", 9, Node=b"caf\xe9")
    bench.receive(message)
    (news,) = bench.news()
    assert encode_message(news) == encode_message(
        Alive(1, "caf\udce9", ip(9), PORT, b"", OUR_VERSIONS)
    )
    assert b"caf\xe9" in encode_message(news)


# --- the delegate's word, and the table's size ------------------------------------------


def test_delegate_may_refuse_a_node() -> None:
    """A refused node is counted, not entered, not passed on. About ourselves it is not asked."""
    bench = SwimBench("b")
    bench.delegate.refused_node = "not of ours"
    bench.receive(alive("x", 9))
    assert bench.state_of("x") is None
    assert bench.rejected == {"node_refused": 1}
    assert bench.news() == []
    bench.receive(Suspect(1, OWN, "b"))
    assert bench.state_of(OWN) == ("alive", 2)


def test_table_takes_its_limit_and_not_one_more() -> None:
    """A full table refuses new names; known ones change as before."""
    bench = SwimBench(nodes_max=5)
    for number in range(2, 6):
        bench.receive(alive(f"n{number}", number))
    assert len(bench.engine.table) == 5
    assert bench.rejected == {}
    bench.receive(alive("n6", 6))
    assert bench.state_of("n6") is None
    assert bench.rejected == {"table_full": 1}
    bench.receive(alive("n5", 5, 2))
    assert bench.state_of("n5") == ("alive", 2)


def test_forgotten_node_is_unknown_again() -> None:
    """Dead and left nodes are dropped at a wrap-around after gossip_to_the_dead_time."""
    bench = SwimBench("b", "c", "d", gossip_to_the_dead_time=30.0)
    bench.answering |= {"d"}
    bench.receive(Dead(1, "b", "d"))
    bench.receive(Dead(1, "c", "c"))
    bench.run_until(29.0)
    assert bench.state_of("b") == ("dead", 1)
    assert bench.state_of("c") == ("left", 1)
    bench.run_until(36.0)
    assert bench.state_of("b") is None
    assert bench.state_of("c") is None
    heard = bench.delegate.heard()
    assert ("forgotten", "b") in heard
    assert ("forgotten", "c") in heard
    bench.receive(alive("b", 9, 1))
    assert bench.state_of("b") == ("alive", 1), "its name is free, its incarnations start over"


def test_source_of_a_refusal_is_told() -> None:
    """The notice names who sent it and what was wrong."""
    bench = SwimBench("b")
    bench.receive(raw_alive("x", 9, Addr=b"\1\2\3"), Address("10.9.9.9", 1234))
    (notice,) = bench.take_notice(InputRejected)
    assert notice.source == Address("10.9.9.9", 1234)
    assert "'x'" in notice.detail
    assert notice.count == 1


def test_states_of_the_wire_and_of_the_table_are_the_same_numbers() -> None:
    """A state shown in a push-pull reads as the table's."""
    assert NodeState(3) is NodeState.LEFT
