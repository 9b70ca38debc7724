"""Conversations as tasks, with an engine that does what each test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from rookery.gossip import stream_tasks
from rookery.gossip.addresses import Address
from rookery.gossip.effects import CloseStream, OpenStream, SendStream, StreamAction
from rookery.gossip.stream_tasks import (
    FLUSH_SECONDS_MAX,
    INCOMING_STREAMS_MAX,
    LINGER_SECONDS_MAX,
    StreamTasks,
)
from rookery.gossip.transport import PeerStream, StreamError

from .fake_network import FakeNetwork, FakeTransport

pytestmark = pytest.mark.usefixtures("autojump_clock")

US = Address("127.0.0.1", 7946)
PEER = Address("127.0.0.2", 7946)


class ScriptedEngine:
    """Records what it is told; `react` decides what comes of it."""

    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []
        self.actions: list[StreamAction] = []
        self.react: Callable[[int, bytes], list[StreamAction]] = lambda stream, data: []
        self.streams = 0
        self.streams_max = 1_000_000

    def accept_stream(self, source: Address, *, now: float) -> int | None:
        if self.streams >= self.streams_max:
            return None
        self.streams += 1
        self.heard.append(("accept", self.streams, source.host))
        return self.streams

    def receive_stream_data(self, stream: int, data: bytes, *, now: float) -> None:
        self.heard.append(("data", stream, data))
        self.actions += self.react(stream, data)

    def receive_stream_eof(self, stream: int, *, now: float) -> None:
        self.heard.append(("eof", stream))
        self.actions += self.react(stream, b"")

    def fail_stream(self, stream: int, error: str, *, now: float) -> None:
        self.heard.append(("fail", stream, error))


class Bench:
    """Stream tasks on one side of a network in memory, the test on the other."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.engine = ScriptedEngine()
        self.network = FakeNetwork()
        self.peer: FakeTransport = self.network.open(PEER)
        self.nursery = nursery
        self.tasks = StreamTasks(self.engine, self.network.open(US), self.flush)

    def flush(self) -> None:
        """Do what the engine wants, as the pool does."""
        actions, self.engine.actions = self.engine.actions, []
        for action in actions:
            self.tasks.act(action, self.nursery)

    def do(self, *actions: StreamAction) -> None:
        """Have the engine want something out of itself, as a timer would."""
        self.engine.actions += actions
        self.flush()


@asynccontextmanager
async def open_bench() -> AsyncIterator[Bench]:
    """Yield a bench whose accepting runs."""
    async with trio.open_nursery() as nursery:
        bench = Bench(nursery)
        nursery.start_soon(bench.tasks.accept_streams)
        yield bench
        nursery.cancel_scope.cancel()


async def read_all(stream: PeerStream) -> bytes:
    """Return what comes until the other side ends."""
    whole = b""
    while data := await stream.receive_some():
        whole += data
    return whole


async def settle() -> None:
    """Let every task run as far as it can."""
    await trio.testing.wait_all_tasks_blocked()


async def test_peers_request_is_answered_and_closed() -> None:
    """Bytes reach the engine as they come; its answer goes out whole before the close."""
    async with open_bench() as bench:
        bench.engine.react = lambda stream, data: (
            [SendStream(stream, b"ans"), SendStream(stream, b"wer"), CloseStream(stream)]
            if data == b"two"
            else []
        )
        stream = await bench.peer.dial(US)
        await stream.send_all(b"one")
        await settle()
        await stream.send_all(b"two")
        assert await read_all(stream) == b"answer"
        stream.close()
        await settle()
        assert bench.engine.heard == [
            ("accept", 1, PEER.host),
            ("data", 1, b"one"),
            ("data", 1, b"two"),
        ]
        statistics = bench.tasks.statistics()
        assert (statistics.open, statistics.accepted, statistics.failed) == (0, 1, 0)


async def test_our_request_is_written_and_its_answer_heard() -> None:
    """A dial writes what the engine gave, then hands over what comes back."""
    async with open_bench() as bench:
        bench.engine.react = lambda stream, data: [CloseStream(stream)]
        bench.do(OpenStream(7, PEER, b"request"))
        stream = await bench.peer.accept()
        assert await stream.receive_some() == b"request"
        await stream.send_all(b"answer")
        # The engine has what it needs: our side is closed.
        assert await stream.receive_some() == b""
        assert bench.engine.heard == [("data", 7, b"answer")]
        assert bench.tasks.statistics().open == 0
        assert bench.tasks.statistics().dialled == 1


async def test_failed_dial_is_told_in_gos_words() -> None:
    """The engine hears the transport's text, for the error of a join."""
    async with open_bench() as bench:
        nobody = Address("127.0.0.9", 1)
        bench.do(OpenStream(7, nobody, b"request"))
        await settle()
        text = "dial tcp 127.0.0.9:1: connect: connection refused"
        assert bench.engine.heard == [("fail", 7, text)]
        assert bench.tasks.statistics().failed == 1
        assert bench.tasks.statistics().open == 0


async def test_close_interrupts_a_dial() -> None:
    """A dial into a black hole ends when the engine gives it up."""
    async with open_bench() as bench:
        bench.network.is_cut = lambda source, destination: True
        bench.do(OpenStream(7, PEER, b"request"))
        await settle()
        assert bench.tasks.statistics().open == 1
        bench.do(CloseStream(7))
        await settle()
        assert bench.tasks.statistics().open == 0
        assert bench.engine.heard == []


async def test_close_before_the_dial_has_begun_dials_nobody() -> None:
    """An engine that changes its mind at once leaves no trace."""
    async with open_bench() as bench:
        bench.do(OpenStream(7, PEER, b"request"), CloseStream(7))
        await settle()
        assert bench.tasks.statistics().open == 0
        with trio.move_on_after(1) as waited:
            await bench.peer.accept()
        assert waited.cancelled_caught


async def test_engines_decision_interrupts_a_read() -> None:
    """An answer and a time-out take effect while the peer says nothing."""
    async with open_bench() as bench:
        stream = await bench.peer.dial(US)
        await settle()
        bench.do(SendStream(1, b"late answer"))
        assert await stream.receive_some() == b"late answer"
        bench.do(CloseStream(1))
        assert await stream.receive_some() == b""


async def test_actions_for_a_finished_conversation_are_ignored() -> None:
    """The engine may speak of a stream that has just broken here."""
    async with open_bench() as bench:
        bench.do(SendStream(99, b"late"), CloseStream(99))
        await settle()
        assert bench.tasks.statistics().open == 0
        assert bench.engine.heard == []


async def test_peers_end_is_told_once_and_does_not_spin() -> None:
    """After the peer's end the task only waits for the engine."""
    async with open_bench() as bench:
        stream = await bench.peer.dial(US)
        await stream.send_all(b"half")
        await stream.send_eof()
        # If the task went on reading the end, this clock would never jump.
        await trio.sleep(60)
        assert bench.engine.heard[1:] == [("data", 1, b"half"), ("eof", 1)]
        bench.do(SendStream(1, b"answer"), CloseStream(1))
        assert await read_all(stream) == b"answer"


async def test_broken_stream_is_told() -> None:
    """A stream that breaks while we write is the engine's to know."""
    async with open_bench() as bench:
        stream = await bench.peer.dial(US)
        await settle()
        stream.close()
        await settle()
        bench.do(SendStream(1, b"answer"))
        await settle()
        text = f"write tcp ->{PEER.host}:1: write: broken pipe"
        assert bench.engine.heard[1:] == [("eof", 1), ("fail", 1, text)]
        assert bench.tasks.statistics().failed == 1
        assert bench.tasks.statistics().open == 0


@pytest.mark.parametrize("limit_of", ["shell", "engine"])
async def test_streams_over_a_limit_are_closed_without_an_answer(limit_of: str) -> None:
    """Both limits hold at their number: the last one is served, the next one closed."""
    async with open_bench() as bench:
        limit = INCOMING_STREAMS_MAX if limit_of == "shell" else 5
        if limit_of == "engine":
            bench.engine.streams_max = limit
        streams = [await bench.peer.dial(US) for _ in range(limit)]
        await settle()
        assert bench.tasks.statistics().open == limit
        assert bench.tasks.statistics().refused == 0
        one_more = await bench.peer.dial(US)
        assert await one_more.receive_some() == b""
        assert bench.tasks.statistics().refused == 1
        if limit_of == "shell":
            # A conversation that ends makes room for the next.
            bench.do(CloseStream(1))
            await streams[0].receive_some()
            await bench.peer.dial(US)
            await settle()
            assert bench.tasks.statistics().accepted == limit + 1


async def test_peer_that_does_not_read_the_answer_is_dropped() -> None:
    """Flushing after the engine's goodbye has a deadline, so nobody can pin our tasks."""
    async with open_bench() as bench:
        bench.network.make_streams = trio.testing.lockstep_stream_pair
        await bench.peer.dial(US)
        await settle()
        bench.do(SendStream(1, b"answer"), CloseStream(1))
        await trio.sleep(FLUSH_SECONDS_MAX - 0.1)
        assert bench.tasks.statistics().open == 1
        await trio.sleep(0.2)
        assert bench.tasks.statistics().open == 0


async def test_rest_of_a_refused_request_is_read_for_a_moment() -> None:
    """A peer still writing reads our answer and not a reset; one that goes on for ever is cut."""
    async with open_bench() as bench:
        bench.engine.react = lambda stream, data: [SendStream(stream, b"no"), CloseStream(stream)]
        stream = await bench.peer.dial(US)
        await stream.send_all(b"begin")
        assert await stream.receive_some() == b"no"
        await stream.send_all(b"more")
        assert await stream.receive_some() == b""
        assert bench.tasks.statistics().open == 1
        await trio.sleep(LINGER_SECONDS_MAX + 0.1)
        assert bench.tasks.statistics().open == 0
        with pytest.raises(StreamError):
            await stream.send_all(b"and more")


async def test_rest_of_a_refused_request_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading on stops at a number of bytes, however quickly they come."""
    monkeypatch.setattr(stream_tasks, "LINGER_BYTES_MAX", 10)
    async with open_bench() as bench:
        bench.engine.react = lambda stream, data: [SendStream(stream, b"no"), CloseStream(stream)]
        stream = await bench.peer.dial(US)
        await stream.send_all(b"begin")
        assert await stream.receive_some() == b"no"
        await stream.send_all(b"123456789")
        await settle()
        assert bench.tasks.statistics().open == 1
        await stream.send_all(b"0")
        await settle()
        assert bench.tasks.statistics().open == 0


async def test_silent_refusal_closes_at_once() -> None:
    """Without an answer there is nothing to protect, and no lingering."""
    async with open_bench() as bench:
        bench.engine.react = lambda stream, data: [CloseStream(stream)]
        stream = await bench.peer.dial(US)
        await stream.send_all(b"rubbish")
        await settle()
        assert bench.tasks.statistics().open == 0
        assert await stream.receive_some() == b""


async def test_cancelling_closes_every_stream() -> None:
    """The tasks end with their nurseries, and the peers see it."""
    async with trio.open_nursery() as outer:
        bench = Bench(outer)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.tasks.accept_streams)
            theirs = await bench.peer.dial(US)
            bench.nursery = nursery
            bench.do(OpenStream(7, PEER, b"request"))
            ours = await bench.peer.accept()
            await settle()
            nursery.cancel_scope.cancel()
        assert bench.tasks.statistics().open == 0
        assert await theirs.receive_some() == b""
        assert await read_all(ours) == b"request"
