"""The probe state machine, with exact times, on the LAN profile: 1 s interval, 0.5 s time-out."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from rookery.gossip.addresses import Address
from rookery.gossip.effects import CloseStream, OpenStream
from rookery.gossip.swim.membership import Membership
from rookery.gossip.swim.probe import SEQUENCE_NUMBER_MAX
from rookery.gossip.wire.messages import (
    Ack,
    Dead,
    ErrorReply,
    IndirectPing,
    Nack,
    Ping,
    Suspect,
    decode_message_untrusted,
)

from ..benches import OWN, PORT, SwimBench, alive, at, ip


@dataclass
class Probed:
    """A bench in the middle of a probe of "b", which began at `start`."""

    bench: SwimBench
    start: float
    sequence: int

    def after(self, seconds: float) -> None:
        self.bench.run_until(self.start + seconds)

    def ack(self, payload: bytes | None = None, source: Address | None = None) -> None:
        self.bench.receive(Ack(self.sequence, payload), source or at(2))

    @property
    def score(self) -> int:
        return self.bench.engine.statistics().health_score


def probe_of_b(*helpers: str, score: int = 0, **settings: object) -> Probed:
    """Let an engine that knows "b" and helpers begin to probe "b"; the helpers answer pings."""
    bench = SwimBench("b", *helpers, **settings)
    bench.answering |= set(helpers)
    while True:
        deadline = bench.engine.next_deadline()
        assert deadline is not None
        # The deadline of a probe is stretched by the score at its start.
        bench.swim.awareness.apply(-8)
        bench.swim.awareness.apply(score)
        bench.run_until(deadline)
        for sent in bench.take_sent():
            if isinstance(sent.first, Ping) and sent.first.node == "b":
                bench.forget_output()
                bench.delegate.heard()
                return Probed(bench, sent.at, sent.first.sequence_number)


def healthy_bench(*names: str, **settings: object) -> SwimBench:
    bench = SwimBench(*names, **settings)
    bench.answering |= set(names)
    return bench


# --- schedule ---------------------------------------------------------------------------


def test_lone_node_sets_no_timer() -> None:
    """Nobody to probe, to gossip with or to exchange with: only input can change anything."""
    bench = SwimBench()
    assert bench.engine.next_deadline() is None
    bench.run_for(100.0)
    assert bench.take_sent() == []


def test_probes_come_once_an_interval_after_a_random_delay() -> None:
    """The first within one interval, then one each interval, on a grid."""
    starts = set()
    for seed in range(5):
        bench = healthy_bench("b", seed=seed)
        bench.run_until(10.0)
        times = [time for time, _, _ in bench.take_first(Ping)]
        assert 0.0 <= times[0] <= 1.0
        assert len(times) == 10
        assert [round(time - times[0], 6) for time in times] == [float(n) for n in range(10)]
        starts.add(times[0])
    assert len(starts) == 5


def test_ping_names_its_target_and_where_to_answer() -> None:
    """Peers answer to the source fields; the name lets the wrong receiver stay silent."""
    bench = SwimBench("b")
    bench.run_until(1.0)
    ((_, destination, ping),) = bench.take_first(Ping)
    assert destination == at(2)
    assert ping == Ping(1, "b", ip(1), PORT, OWN)


def test_sequence_numbers_start_at_1_and_grow() -> None:
    """Each probe has a fresh number."""
    bench = healthy_bench("b")
    bench.run_until(5.0)
    assert [ping.sequence_number for _, _, ping in bench.take_first(Ping)] == [1, 2, 3, 4, 5]


def test_sequence_numbers_start_over_after_32_bits() -> None:
    """The number after the last that fits the wire is 1."""
    bench = healthy_bench("b")
    bench.swim._prober._sequence_number = SEQUENCE_NUMBER_MAX - 1
    bench.run_until(3.0)
    numbers = [ping.sequence_number for _, _, ping in bench.take_first(Ping)]
    assert numbers == [SEQUENCE_NUMBER_MAX, 1, 2]
    assert bench.engine.statistics().probes_failed == 0


def test_everybody_who_is_not_gone_is_probed_once_a_round() -> None:
    """Suspects too; dead and left nodes and ourselves never."""
    bench = healthy_bench("b", "c", "d", "e", "f", gossip_to_the_dead_time=100.0)
    bench.receive(Dead(1, "e", "b"))
    bench.receive(Dead(1, "f", "f"))
    bench.receive(Suspect(1, "d", "b"))
    bench.run_until(6.0)
    probed = [ping.node for _, _, ping in bench.take_first(Ping)]
    assert sorted(probed[:3]) == sorted(probed[3:6]) == ["b", "c", "d"]


# --- success ----------------------------------------------------------------------------


def test_ack_in_time_is_a_success_with_a_round_trip() -> None:
    """The layer above hears round trip and payload; nobody else is asked."""
    probe = probe_of_b("c", "d", score=2)
    probe.after(0.02)
    probe.ack(b"coordinate")
    assert probe.bench.delegate.heard() == [("ping", "b", 0.02, b"coordinate")]
    assert probe.score == 1
    probe.after(0.99)
    assert probe.bench.take_first(IndirectPing) == []
    assert probe.bench.take_opened() == []
    assert probe.bench.engine.statistics().probes_failed == 0


def test_ack_is_matched_by_number_only() -> None:
    """It may come from another address; one with another number is ignored."""
    probe = probe_of_b(score=2)
    probe.after(0.1)
    probe.bench.receive(Ack(probe.sequence + 1, None), at(2))
    probe.bench.receive(Ack(0, None), at(2))
    assert probe.score == 2
    probe.ack(source=at(77))
    assert probe.score == 1


def test_second_ack_changes_nothing() -> None:
    """A duplicated packet does not count twice."""
    probe = probe_of_b(score=5)
    probe.after(0.1)
    probe.ack()
    probe.ack()
    assert probe.score == 4
    assert len(probe.bench.delegate.heard()) == 1


@pytest.mark.parametrize("source", [at(2), at(3)])
def test_late_or_relayed_ack_is_a_success_without_a_round_trip(source: Address) -> None:
    """After the time-out nobody knows which way the ack took."""
    probe = probe_of_b("c", "d", score=2)
    probe.after(0.7)
    probe.ack(source=source)
    assert probe.bench.delegate.heard() == []
    assert probe.score == 1
    probe.after(1.5)
    assert probe.bench.state_of("b") == ("alive", 1)


def test_successful_probe_does_not_clear_a_suspicion() -> None:
    """Only a higher incarnation does; the timer runs on."""
    bench = healthy_bench("b", "c")
    bench.run_until(10.0)
    bench.receive(Suspect(1, "b", "c"))
    bench.run_until(13.99)
    assert bench.state_of("b") == ("suspect", 1)
    bench.run_until(14.0)
    assert bench.state_of("b") == ("dead", 1)


# --- asking others ----------------------------------------------------------------------


def test_after_the_time_out_helpers_are_asked_and_tcp_is_tried() -> None:
    """At 0.5 s: the same number to up to three alive others, and a stream to the target."""
    probe = probe_of_b("c", "d", "e", "f")
    probe.after(0.499)
    assert probe.bench.take_first(IndirectPing) == []
    probe.after(0.5)
    asked = probe.bench.take_first(IndirectPing)
    assert len(asked) == 3
    assert len({destination for _, destination, _ in asked}) == 3
    for time, destination, request in asked:
        assert time == pytest.approx(probe.start + 0.5)
        assert destination in {at(3), at(4), at(5), at(6)}
        assert request == IndirectPing(probe.sequence, ip(2), PORT, "b", True, ip(1), PORT, OWN)
    (dial,) = probe.bench.take_opened()
    assert dial.destination == at(2)
    assert decode_message_untrusted(dial.data) == Ping(probe.sequence, "b", ip(1), PORT, OWN)


def test_time_out_is_not_stretched_by_the_health_score() -> None:
    """Only the deadline is: helpers have the longer time."""
    probe = probe_of_b("c", score=3)
    probe.after(0.5)
    assert len(probe.bench.take_first(IndirectPing)) == 1


@pytest.mark.parametrize("state", ["suspect", "dead", "left"])
def test_only_alive_others_are_asked(state: str) -> None:
    """A helper that is itself in doubt is no help."""
    probe = probe_of_b("c", "d")
    accuser = {
        "suspect": Suspect(1, "c", "d"),
        "dead": Dead(1, "c", "d"),
        "left": Dead(1, "c", "c"),
    }
    probe.bench.receive(accuser[state])
    probe.after(0.5)
    assert [destination for _, destination, _ in probe.bench.take_first(IndirectPing)] == [at(4)]


@pytest.mark.parametrize(("highest", "wants_nack"), [(3, False), (4, True), (5, True)])
def test_nacks_are_asked_of_helpers_that_know_them(highest: int, wants_nack: bool) -> None:
    """Nacks exist since memberlist protocol 4."""
    probe = probe_of_b()
    probe.bench.receive(alive("c", 3, versions=bytes((1, highest, 2, 2, 5, 5))))
    probe.after(0.5)
    ((_, _, request),) = probe.bench.take_first(IndirectPing)
    assert request.wants_nack is wants_nack


def test_number_of_helpers_is_a_setting() -> None:
    """The local profile asks one."""
    probe = probe_of_b("c", "d", "e", indirect_checks=1)
    probe.after(0.5)
    assert len(probe.bench.take_first(IndirectPing)) == 1


def test_tcp_is_not_tried_with_who_does_not_know_it_or_when_off() -> None:
    """Stream pings exist since protocol 3, and may be switched off."""
    old = probe_of_b()
    old.bench.receive(alive("b", 2, 2, versions=bytes((1, 2, 2, 2, 5, 5))))
    old.after(0.5)
    assert old.bench.take_opened() == []
    off = probe_of_b(stream_pings=False)
    off.after(0.5)
    assert off.bench.take_opened() == []


# --- failure ----------------------------------------------------------------------------


def test_silence_until_the_deadline_makes_a_suspect() -> None:
    """At 1.0 s, not before: suspected in our name, our health a point worse."""
    probe = probe_of_b()
    probe.after(0.999)
    assert probe.bench.state_of("b") == ("alive", 1)
    probe.after(1.0)
    assert probe.bench.state_of("b") == ("suspect", 1)
    assert probe.score == 1
    assert probe.bench.engine.statistics().probes_failed == 1
    assert Suspect(1, "b", OWN) in probe.bench.news()


def test_ack_after_the_deadline_is_ignored() -> None:
    """The verdict stands; only a refutation helps."""
    probe = probe_of_b()
    probe.after(1.01)
    probe.ack()
    assert probe.bench.state_of("b") == ("suspect", 1)
    assert probe.score == 1


@pytest.mark.parametrize(
    ("nacks", "worse"),
    [
        ([], 3),
        ([3], 2),
        ([3, 4], 1),
        ([3, 4, 5], 0),
        # One helper's nack counts once.
        ([3, 3, 3], 2),
    ],
)
def test_missing_nacks_worsen_our_health(nacks: list[int], worse: int) -> None:
    """Helpers that say "no" show that we are fine; silent ones that we may not be."""
    probe = probe_of_b("c", "d", "e", score=1)
    probe.bench.answering.clear()
    probe.after(0.6)
    for number in nacks:
        probe.bench.receive(Nack(probe.sequence), at(number))
    probe.after(2.0)
    assert probe.score == 1 + worse
    assert probe.bench.state_of("b") == ("suspect", 1)


def test_nacks_of_other_numbers_do_not_count() -> None:
    """Late ones of an earlier probe are ignored."""
    probe = probe_of_b("c", score=1)
    probe.bench.answering.clear()
    probe.after(0.6)
    probe.bench.receive(Nack(probe.sequence - 1), at(3))
    probe.bench.receive(Nack(probe.sequence + 1), at(3))
    probe.after(2.0)
    assert probe.score == 2


def test_helpers_that_know_no_nacks_do_not_count() -> None:
    """Without expected nacks a failure costs one point."""
    probe = probe_of_b(score=1)
    probe.bench.receive(alive("c", 3, versions=bytes((1, 3, 2, 2, 5, 5))))
    probe.after(2.0)
    assert probe.score == 2


def test_deadline_is_stretched_by_the_health_score() -> None:
    """With score 3 a probe lasts 4 s."""
    probe = probe_of_b(score=3)
    probe.after(3.999)
    assert probe.bench.state_of("b") == ("alive", 1)
    probe.after(4.0)
    assert probe.bench.state_of("b") == ("suspect", 1)


def test_ticks_lapse_during_a_long_probe_and_the_grid_is_kept() -> None:
    """A probe of 4 s is followed by one caught up at once, then by the grid again."""
    probe = probe_of_b("c", score=3)
    probe.bench.answering.add("b")
    probe.after(8.5)
    times = [round(time - probe.start, 6) for time, _, _ in probe.bench.take_first(Ping)]
    assert times == [4.0, 5.0, 6.0, 7.0, 8.0]


def test_late_success_between_two_ticks_catches_up_with_one_probe() -> None:
    """After 2.3 s of a stretched probe: one probe at once, the next at the 3 s tick."""
    probe = probe_of_b("c", score=3)
    probe.bench.answering.add("b")
    probe.after(2.3)
    probe.ack()
    probe.after(5.5)
    times = [round(time - probe.start, 6) for time, _, _ in probe.bench.take_first(Ping)]
    assert times == [2.3, 3.0, 4.0, 5.0]


def test_accusation_is_of_the_incarnation_at_the_start() -> None:
    """A node that showed a higher one meanwhile is alive, and the accusation stale."""
    probe = probe_of_b()
    probe.after(0.8)
    probe.bench.receive(alive("b", 2, 2))
    probe.after(1.5)
    assert probe.bench.state_of("b") == ("alive", 2)


@pytest.mark.parametrize("accuser", ["b", "c"])
def test_node_that_is_gone_meanwhile_is_no_failure_of_ours(accuser: str) -> None:
    """It left, or others were quicker: nobody is asked, and our health stays as it is."""
    probe = probe_of_b("c")
    probe.after(0.2)
    probe.bench.receive(Dead(1, "b", accuser))
    probe.after(2.0)
    assert probe.bench.take_first(IndirectPing) == []
    assert probe.bench.take_opened() == []
    assert probe.score == 0
    assert probe.bench.engine.statistics().probes_failed == 0


# --- TCP --------------------------------------------------------------------------------


def dialled(probe: Probed) -> OpenStream:
    probe.after(0.5)
    (dial,) = probe.bench.take_opened()
    return dial


def test_answer_over_tcp_saves_the_node_at_the_deadline() -> None:
    """It is alive, and UDP seems blocked: that is a warning, and a success for our health."""
    probe = probe_of_b(score=1)
    dial = dialled(probe)
    probe.bench.answer(dial.stream, Ack(probe.sequence, None))
    assert probe.bench.take_actions() == [CloseStream(dial.stream)]
    assert probe.score == 1, "UDP has until the deadline"
    probe.after(2.0)
    assert probe.bench.state_of("b") == ("alive", 1)
    assert "udp_seems_blocked" in probe.bench.remarks()
    assert probe.score == 0


def test_udp_after_tcp_is_a_plain_success() -> None:
    """An ack before the deadline makes the warning unnecessary."""
    probe = probe_of_b(score=1)
    dial = dialled(probe)
    probe.bench.answer(dial.stream, Ack(probe.sequence, None))
    probe.after(0.9)
    probe.ack()
    probe.after(1.5)
    assert "udp_seems_blocked" not in probe.bench.remarks()
    assert probe.score == 0


@pytest.mark.parametrize("answer", [Ack(77, None), ErrorReply("no"), b"c rubbish"])
def test_other_answers_over_tcp_are_no_contact(answer: object) -> None:
    """Wrong number, an error, or bytes that are no message: as good as silence."""
    probe = probe_of_b()
    dial = dialled(probe)
    probe.bench.answer(dial.stream, answer)
    assert CloseStream(dial.stream) in probe.bench.take_actions()
    probe.after(1.0)
    assert probe.bench.state_of("b") == ("suspect", 1)


def test_refused_or_closed_stream_is_no_contact_and_no_error() -> None:
    """A peer that does not listen on TCP is just not contacted that way."""
    for end in ("refused", "closed"):
        probe = probe_of_b()
        dial = dialled(probe)
        if end == "refused":
            error = "dial tcp 10.0.0.2:7946: connect: connection refused"
            probe.bench.engine.fail_stream(dial.stream, error, now=probe.bench.now)
        else:
            probe.bench.engine.receive_stream_eof(dial.stream, now=probe.bench.now)
        assert probe.bench.take_actions() == [CloseStream(dial.stream)]
        assert probe.bench.rejected == {}
        probe.after(1.0)
        assert probe.bench.state_of("b") == ("suspect", 1)


def test_stream_is_closed_at_the_deadline() -> None:
    """The fallback has no longer than its probe; a later answer is ignored."""
    probe = probe_of_b()
    dial = dialled(probe)
    probe.after(0.999)
    assert probe.bench.take_actions() == []
    probe.after(1.0)
    assert probe.bench.take_actions() == [CloseStream(dial.stream)]
    probe.bench.answer(dial.stream, Ack(probe.sequence, None))
    assert probe.bench.state_of("b") == ("suspect", 1)


# --- suspects ---------------------------------------------------------------------------


def test_suspect_is_pinged_together_with_the_accusation() -> None:
    """So that it can refute at once: ping and suspect in one packet, and nothing else in it."""
    bench = healthy_bench("b", "c", "d", "e")
    bench.run_until(5.0)
    bench.receive(Suspect(1, "b", "c"))
    bench.news()
    bench.take_sent()
    bench.receive(alive("f", 6))
    bench.run_for(5.0)
    pings = [
        sent
        for sent in bench.take_sent()
        if isinstance(sent.first, Ping) and sent.first.node == "b"
    ]
    assert pings
    for sent in pings:
        assert sent.messages[1:] == [Suspect(1, "b", OWN)]


# --- forgetting -------------------------------------------------------------------------


def test_wrap_around_forgets_only_what_was_gone_for_long() -> None:
    """At 30 s a dead node is still told, a little later forgotten, at the end of a round."""
    bench = healthy_bench("b", "c", gossip_to_the_dead_time=30.0)
    bench.run_until(10.0)
    bench.receive(Dead(1, "b", "c"))
    bench.run_until(40.0)
    assert bench.state_of("b") == ("dead", 1)
    bench.run_until(43.0)
    assert bench.state_of("b") is None


def test_node_whose_peers_are_all_forgotten_rests() -> None:
    """With nobody left the timers end; a new peer starts them again."""
    bench = SwimBench("b")
    bench.run_until(120.0)
    assert bench.state_of("b") is None
    assert bench.engine.next_deadline() is None
    bench.receive(alive("c", 3))
    bench.take_sent()
    bench.run_for(1.0)
    assert [ping.node for _, _, ping in bench.take_first(Ping)] == ["c"]


def test_we_are_never_forgotten() -> None:
    """Our own entry stays, also when we have left."""
    bench = healthy_bench("b", gossip_to_the_dead_time=1.0)
    membership: Membership = bench.engine.membership
    membership.leave(now=bench.now, finished=lambda: None)
    bench.run_for(30.0)
    assert bench.state_of(OWN) == ("left", 1)


# --- stopping ---------------------------------------------------------------------------


def test_who_leaves_probes_no_more_but_answers() -> None:
    """Pings are answered until the end."""
    bench = SwimBench("b")
    bench.engine.leave(now=bench.now, finished=lambda: None)
    bench.run_for(5.0)
    assert bench.take_first(Ping) == []
    bench.receive(Ping(9, OWN))
    assert len(bench.take_first(Ack)) == 1


def test_probe_under_way_ends_with_the_leave() -> None:
    """Nobody is accused by a node that is leaving."""
    probe = probe_of_b("c")
    probe.bench.engine.leave(now=probe.bench.now, finished=lambda: None)
    probe.after(3.0)
    assert probe.bench.state_of("b") == ("alive", 1)
    assert probe.bench.take_first(IndirectPing) == []


def test_nothing_is_left_to_wait_for_after_a_stop() -> None:
    """Suspicions, probes, relays, conversations: all timers are gone."""
    probe = probe_of_b("c", "d")
    probe.bench.receive(Suspect(1, "c", "d"))
    probe.bench.receive(IndirectPing(5, ip(3), PORT, "c", True))
    probe.bench.engine.accept_stream(at(9), now=probe.bench.now)
    probe.after(0.7)
    probe.bench.engine.stop(now=probe.bench.now)
    assert probe.bench.engine.next_deadline() is None
