"""What the HTTP tests share: a fake agent, and a client that speaks raw bytes over memory streams.

Tests ask for fixtures only (test modules cannot import each other): `service` is the fake agent
the API is built on, `connect` opens connections to it, `exchange` is one request and its answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
import trio
import trio.testing
from rookery.agent.event_ring import EventFeed, EventRing
from rookery.agent.service import Question
from rookery.gossip.serf.key_outcome import KeyOutcome
from rookery.http.api import build_api
from rookery.http.connection import Application, Connection
from rookery.http.counters import Counters
from rookery.http.settings import HttpSettings


class JoinError(NamedTuple):
    """As gossip's: why one address could not be joined."""

    address: str
    message: str


class JoinResult(NamedTuple):
    """As gossip's: what came of a join."""

    joined: int
    errors: tuple[JoinError, ...] = ()


def make_member(name: str, **changes: Any) -> dict[str, Any]:
    """Return one member as it appears on the wire."""
    return {
        "Addr": "127.0.0.1",
        "DelegateCur": 4,
        "DelegateMax": 5,
        "DelegateMin": 2,
        "Name": name,
        "Port": 4648,
        "ProtocolCur": 2,
        "ProtocolMax": 5,
        "ProtocolMin": 1,
        "Status": "alive",
        "Tags": {"role": "nomad", "region": "global"},
    } | changes


@dataclass
class FakeService:
    """An agent that answers what the test put in, and writes down what it was asked."""

    node_name: str = "bacon-mac"
    region: str = "global"
    datacenter: str = "dc1"
    has_server: bool = True
    has_client: bool = False
    response_headers: Mapping[str, str] = field(default_factory=dict)
    members: list[dict[str, Any]] = field(default_factory=lambda: [make_member("bacon-mac.global")])
    version: int = 1
    documents_built: int = 0
    join_result: JoinResult | Exception = field(default_factory=lambda: JoinResult(1))
    joined: list[list[str]] = field(default_factory=list)
    before_join: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
    document: Any = field(default_factory=lambda: {"config": {}, "member": {}, "stats": {}})
    checks: dict[str, tuple[bool, str]] = field(default_factory=lambda: {"server": (True, "ok")})
    health_asked: list[tuple[frozenset[str] | None, bool]] = field(default_factory=list)
    forced: list[tuple[str, bool]] = field(default_factory=list)
    keys_asked: list[tuple[str, str]] = field(default_factory=list)
    key_outcome: KeyOutcome = field(default_factory=lambda: KeyOutcome(1, 1, 0))
    fired: list[tuple[str, bytes, bool]] = field(default_factory=list)
    ring: EventRing = field(default_factory=EventRing)
    questions: list[Question] = field(default_factory=list)
    answers: Answers | None = None
    responded: list[tuple[int, int, bytes]] = field(default_factory=list)
    own_tags: dict[str, str] = field(default_factory=lambda: {"dc": "dc1"})
    tags_changed: list[tuple[dict[str, str], list[str]]] = field(default_factory=list)
    refuses: Exception | None = None
    """What everything under /v1/gossip/, force-leave and the keyring raise."""

    def members_version(self) -> int:
        return self.version

    def members_document(self) -> dict[str, Any]:
        self.documents_built += 1
        return {
            "Members": self.members,
            "ServerDC": self.datacenter,
            "ServerName": self.node_name,
            "ServerRegion": self.region,
        }

    async def join(self, addresses: Sequence[str]) -> JoinResult:
        self.joined.append(list(addresses))
        await self.before_join()
        if isinstance(self.join_result, Exception):
            raise self.join_result
        return self.join_result

    def self_document(self) -> dict[str, Any]:
        if isinstance(self.document, Exception):
            raise self.document
        return dict(self.document)

    async def health(
        self, roles: frozenset[str] | None, *, stale: bool
    ) -> dict[str, tuple[bool, str]]:
        self.health_asked.append((roles, stale))
        await trio.lowlevel.checkpoint()
        if roles is None:
            return self.checks
        return {
            role: self.checks.get(role, (False, f"{role} not enabled"))
            for role in ("server", "client")
            if role in roles
        }

    def _check(self) -> None:
        if self.refuses is not None:
            raise self.refuses

    async def force_leave(self, name: str, *, prune: bool) -> None:
        await trio.lowlevel.checkpoint()
        self._check()
        self.forced.append((name, prune))

    async def keyring(self, operation: str, key_base64: str = "") -> KeyOutcome:
        await trio.lowlevel.checkpoint()
        self.keys_asked.append((operation, key_base64))
        self._check()
        return self.key_outcome

    def fire_event(self, name: str, payload: bytes, coalesce: bool) -> dict[str, Any]:
        self._check()
        self.fired.append((name, payload, coalesce))
        return {"LTime": 7, "Name": name, "Payload": "", "Coalesce": coalesce}

    def events_since(self, index: int | None) -> EventFeed:
        return self.ring.feed(index)

    def query(self, question: Question) -> AsyncIterator[dict[str, Any]]:
        self._check()
        self.questions.append(question)
        assert self.answers is not None, "the test gives the answers"
        return self.answers.documents()

    def reachability(self) -> AsyncIterator[dict[str, Any]]:
        self._check()
        assert self.answers is not None, "the test gives the answers"
        return self.answers.documents()

    def respond(self, ltime: int, query_id: int, payload: bytes) -> None:
        self._check()
        self.responded.append((ltime, query_id, payload))

    def coordinates(self) -> list[dict[str, Any]]:
        return [{"Node": "a", "Vec": [0.5, 0.0], "Error": 1.5, "Adjustment": 0.0, "Height": 1e-05}]

    def rtt(self, one: str, other: str) -> dict[str, Any]:
        return {"From": one, "To": other, "RTT": None if "nobody" in (one, other) else 0.0125}

    def evidence(self, name: str) -> dict[str, Any]:
        if name == "nobody":
            raise LookupError("no member named 'nobody'")
        return {"Name": name, "Status": "failed", "Evidence": []}

    def tags(self) -> dict[str, str]:
        return dict(self.own_tags)

    def set_tags(self, set_tags: Mapping[str, str], delete: Iterable[str]) -> dict[str, str]:
        self._check()
        self.tags_changed.append((dict(set_tags), list(delete)))
        return self.tags()


class Answers:
    """What comes back on the queries of a test, when it says so."""

    def __init__(self) -> None:
        self._sender, self._receiver = trio.open_memory_channel[dict[str, Any]](1000)
        self.closed = 0

    def put(self, **document: Any) -> None:
        self._sender.send_nowait(document)

    def end(self) -> None:
        self._sender.close()

    async def documents(self) -> AsyncIterator[dict[str, Any]]:
        try:
            async for document in self._receiver:
                yield document
        finally:
            self.closed += 1


@dataclass
class Answer:
    """One response, taken apart by hand so that nothing of it is normalised away."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def header(self, name: str) -> str | None:
        """Return the only value of a header, None if there is none."""
        values = [value for found, value in self.headers if found == name.lower()]
        assert len(values) <= 1, values
        return values[0] if values else None


class Client:
    """The client's end of a connection."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.stream = stream
        self._received = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def request(
        self,
        target: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Send a request and read its answer."""
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost:4646"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        await self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        return await self.answer(method)

    async def answer(self, method: str = "GET") -> Answer:
        """Read one answer; the connection must not end before it is complete."""
        while b"\r\n\r\n" not in self._received:
            assert await self._receive(), self._received
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, reason = first.split(" ", 2)
        assert version == "HTTP/1.1"
        pairs = [line.split(":", 1) for line in lines]
        answer = Answer(
            int(status), reason, [(name.lower(), value.strip()) for name, value in pairs], b""
        )
        if answer.header("transfer-encoding") == "chunked":
            return answer  # what follows is read by `chunk`
        if int(status) >= 200 and method != "HEAD":
            size = int(answer.header("content-length") or "0")
            while len(self._received) < size:
                assert await self._receive(), "body is cut short"
            answer.body, self._received = self._received[:size], self._received[size:]
        return answer

    async def chunk(self) -> bytes:
        """Read one chunk of a streamed answer, `b""` for the last one."""
        while b"\r\n" not in self._received:
            assert await self._receive(), "the stream is cut short"
        size_text, _, self._received = self._received.partition(b"\r\n")
        size = int(size_text, 16)
        while len(self._received) < size + 2:
            assert await self._receive(), "the stream is cut short"
        data, end = self._received[:size], self._received[size : size + 2]
        assert end == b"\r\n"
        self._received = self._received[size + 2 :]
        return data

    async def chunks(self) -> list[bytes]:
        """Read the chunks up to the last one."""
        chunks = []
        while data := await self.chunk():
            chunks.append(data)
        return chunks

    async def rest(self) -> bytes:
        """Read until the server ends its half; return what came that nobody asked for."""
        while await self._receive():
            pass
        rest, self._received = self._received, b""
        return rest

    async def _receive(self) -> bytes:
        data = bytes(await self.stream.receive_some(65536))
        self._received += data
        return data


Connect = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def service() -> FakeService:
    """A fake agent with one member and the server role."""
    return FakeService()


@pytest.fixture
def answers(service: FakeService) -> Answers:
    """What comes back on the fake agent's queries."""
    service.answers = Answers()
    return service.answers


@pytest.fixture
def counters() -> Counters:
    """The counters every connection of the test adds to."""
    return Counters()


@pytest.fixture
def connect(service: FakeService, counters: Counters) -> Connect:
    """Return a function that opens a connection, to be entered: its value is the client.

    It takes `settings` and, in place of the API over `service`, an `application`. All connections
    of a test share the API. Writing never blocks, unless `pair` makes other streams. The task of
    the connection must have ended by the end of the block, once the client is closed;
    `client.connection` is it.
    """
    api = build_api(service, counters)  # type: ignore[arg-type]

    @asynccontextmanager
    async def connect(
        settings: HttpSettings | None = None,
        application: Application | None = None,
        *,
        pair: Callable[[], tuple[trio.StapledStream, trio.StapledStream]] = (
            trio.testing.memory_stream_pair
        ),
    ) -> AsyncIterator[Client]:
        ours, theirs = pair()
        connection = Connection(
            theirs,
            application or api,
            settings or HttpSettings(),
            counters,
            client="192.0.2.1",
        )
        client = Client(ours)
        client.connection = connection  # type: ignore[attr-defined]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run)
            yield client
            await ours.aclose()

    return connect


@pytest.fixture
def exchange(connect: Connect) -> Callable[..., Awaitable[Answer]]:
    """Return a function that sends one request on a connection of its own."""

    async def exchange(*arguments: Any, **options: Any) -> Answer:
        async with connect() as client:
            return await client.request(*arguments, **options)

    return exchange


@pytest.fixture
def member() -> Callable[..., dict[str, Any]]:
    """Return a function that makes a member's document."""
    return make_member


@pytest.fixture
def join_result() -> Callable[..., JoinResult]:
    """Return a function that makes a join's result from the count and the messages of failures."""

    def result(joined: int, *messages: str) -> JoinResult:
        return JoinResult(joined, tuple(JoinError("192.0.2.9", text) for text in messages))

    return result
