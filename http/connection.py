"""One client's connection: requests in, answers out, one after the other.

How it works. h11 holds the protocol's state and has no I/O; this module moves bytes between it and
a trio stream. A turn of the loop reads a head, checks it, finds who answers, reads the body
(always to its end: what an endpoint has no use for is counted and thrown away), has it answered
and writes the answer. Requests sent ahead stay in h11's buffer until their turn.

Time. Each phase has its deadline (settings.py): waiting for a request, its head, its body, writing
the answer. One cancel scope spans the connection and only its deadline moves, which is cheaper
than a scope for each step; what to do when it strikes depends on the phase. Waiting costs one
timer and no wake-up. A client that says nothing is closed without a word; one that stops in the
middle is told 408.

Refusals. What cannot be read as a request of ours (malformed, oversized, slow) gets a short text
and the connection ends, since nobody knows where the next request would begin. Before closing we
say that we are done and read on for a moment, lest the kernel's reset destroys the answer.

Leaving. While a waiting handler works, or a stream is written, the connection is read: what arrives
is a request sent ahead, and an end or a break sets `Request.disconnected`. Handlers that answer at
once are not worth that.

Streams (streaming.py) are written by one loop: take what waits, write it as a chunk under the
write time-out, wait for more without any.

What it leaves out: `Upgrade`, and `Connection: keep-alive` for HTTP/1.0 (closed after one answer);
`Expect: 100-continue` is honoured. A target holds printable ASCII only, as RFC 3986 has it; other
bytes have to come escaped (Go takes them raw).

Where it comes from: RFC 9112; the connection loop of h11's trio example; the refusals' texts and
the lingering are those of Go's `net/http` server (`conn.serve`, `closeWriteAndWait`). We are
stricter than Go where a proxy in front could be made to disagree with us about where a request
ends: two framings, or chunks in HTTP/1.0, are 400.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Protocol

import h11
import structlog
import trio

from .counters import Counters
from .encoding import accepts_gzip
from .request import Request
from .responses import Response, phrase_of, response_head, text_response
from .routing import AnyEndpoint, Endpoint, WaitingEndpoint
from .settings import RECEIVE_SIZE, HttpSettings
from .streaming import GzipChunks, Outlet, StreamedResponse
from .urls import BadTarget

_log = structlog.get_logger("http")

_CONTINUE = h11.InformationalResponse(status_code=100, reason=b"Continue", headers=[])

_DETAIL_SIZE_MAX = 200
"""Characters of a refusal's reason that are logged: it can quote what the client sent."""

_COPY_SIZE_MAX = 64 * 1024
"""Answers below this go out as one copy of head and body: one system call, one packet. Above it
the copy costs more than the call."""

_DISCONNECTED = (trio.BrokenResourceError, trio.ClosedResourceError)


class Application(Protocol):
    """What a connection serves; `api.Api` is the real one."""

    def find(self, request: Request) -> AnyEndpoint | Response: ...
    def answer_nowait(
        self, endpoint: Endpoint, request: Request
    ) -> Response | StreamedResponse: ...
    async def answer(
        self, endpoint: WaitingEndpoint, request: Request
    ) -> Response | StreamedResponse: ...


class Phase(Enum):
    """What a connection waits for. All but work, and a stream's next chunk, has a deadline."""

    IDLE = "request"
    HEAD = "head"
    BODY = "body"
    WORKING = "work"
    STREAMING = "stream"
    WRITING = "writing"


class Refused(Exception):
    """A request that is not worked on. `status` goes to the client, the text into the log."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Connection:
    """A connection from its first byte to its last."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        application: Application,
        settings: HttpSettings,
        counters: Counters,
        *,
        client: str = "",
    ) -> None:
        """Take over a stream.

        Args:
            stream: Closed when `run` ends.
            application: Who answers.
            settings: Limits and time-outs.
            counters: Where requests and refusals are counted.
            client: The client's address, for the log.
        """
        self._stream = stream
        self._application = application
        self._settings = settings
        self._counters = counters
        self._client = client
        self._http = h11.Connection(h11.SERVER, settings.head_size_max)
        self._method = ""
        self._is_draining = False
        self._phase = Phase.IDLE
        self._scope = trio.CancelScope()
        self._endless: Outlet | None = None

    async def run(self) -> None:
        """Serve until either side ends it. Errors of the client's doing stay in here."""
        try:
            refusal = await self._serve()
            if refusal is not None:
                await self._refuse(refusal)
        except _DISCONNECTED as error:
            _log.debug("client_gone", client=self._client, reason=str(error))
        finally:
            await self._stream.aclose()

    @property
    def idle_until(self) -> float | None:
        """When the wait for a request will have lasted too long; None while there is one."""
        if self._phase is not Phase.IDLE or self._is_draining:
            return None
        return self._scope.deadline

    def begin_drain(self) -> None:
        """Take no new request: end now if idle, else after the request being worked on.

        A stream without an end gets one.
        """
        self._is_draining = True
        if self._phase is Phase.IDLE:
            self._scope.cancel()
        elif self._endless is not None:
            self._endless.end()

    async def _serve(self) -> Refused | None:
        """Serve requests until there are no more; return why, if the client is to be told."""
        try:
            with self._scope:
                while await self._serve_request():
                    pass
                return None
        except Refused as refusal:
            return refusal
        if self._phase is Phase.WRITING:
            raise trio.BrokenResourceError("the client does not read")
        if self._phase is Phase.IDLE:
            return None
        return Refused(408, f"no complete {self._phase.value} in time")

    async def _serve_request(self) -> bool:
        """Serve one request; return whether another one may follow."""
        self._method = ""  # until it is known: what is no request is not answered as the last one
        head = await self._read_head()
        if head is None:
            return False
        request = self._check_head(head)
        target = self._application.find(request)
        keeps = not isinstance(target, Response) and target.reads_body
        request.body = await self._read_body(request, head, keeps=keeps)
        response: Response | StreamedResponse
        if isinstance(target, Response):
            response = target
        elif isinstance(target, Endpoint):
            response = self._application.answer_nowait(target, request)
        else:
            self._enter(Phase.WORKING, math.inf)
            response = await self._answer_watching(target, request)
        self._counters.requests += 1
        self._enter(Phase.WRITING, self._settings.write_timeout)
        if isinstance(response, StreamedResponse):
            await self._stream_out(response, request)
        else:
            await self._send(response, request.header(b"accept-encoding"), closes=self._is_draining)
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    def _enter(self, phase: Phase, seconds: float) -> None:
        """Begin a phase that may last so many seconds."""
        self._phase = phase
        self._scope.deadline = trio.current_time() + seconds

    # Reading

    async def _read_head(self) -> h11.Request | None:
        """Wait for a request's head; None when the connection is to end without another word.

        Raises:
            Refused: What came is no head, or too large.
        """
        event = self._next_event()
        if event is h11.NEED_DATA:
            if self._http.trailing_data[0]:
                self._enter(Phase.HEAD, self._settings.head_timeout)
            elif self._is_draining:
                return None
            else:
                self._enter(Phase.IDLE, self._settings.idle_timeout)
            while event is h11.NEED_DATA:
                self._http.receive_data(await self._receive())
                event = self._next_event()
                if event is h11.NEED_DATA and self._phase is Phase.IDLE:
                    self._enter(Phase.HEAD, self._settings.head_timeout)
        if isinstance(event, h11.ConnectionClosed):
            return None
        assert isinstance(event, h11.Request)  # all else comes after a head
        return event

    def _check_head(self, head: h11.Request) -> Request:
        """Check a head against the limits, and take it apart.

        Raises:
            Refused: It is none we work on.
        """
        self._method = head.method.decode("ascii")
        settings = self._settings
        headers = list(head.headers)
        if len(head.target) > settings.target_size_max:
            raise Refused(414, f"target of {len(head.target)} bytes")
        if len(headers) > settings.header_count_max:
            raise Refused(431, f"{len(headers)} headers")
        size = len(head.target) + sum([len(name) + len(value) for name, value in headers])
        if size > settings.head_size_max:
            raise Refused(431, f"head of {size} bytes")  # it came complete, in one piece
        if head.http_version not in (b"1.1", b"1.0"):
            raise Refused(505, f"version {head.http_version!r}")
        if head.method == b"CONNECT":
            # A success would turn the connection into a tunnel, and any method gets one on /ui/.
            raise Refused(405, "CONNECT")
        try:
            return Request(self._method, head.target.decode("ascii"), headers)
        except BadTarget as error:
            raise Refused(400, f"bad target {error}") from error

    async def _read_body(self, request: Request, head: h11.Request, *, keeps: bool) -> bytes | None:
        """Read the request to its end.

        Returns:
            The body, if one was announced and `keeps` asks for it.

        Raises:
            Refused: It is malformed or too large.
        """
        announced = _announced_size(request, head.http_version)
        if announced == 0:
            self._next_event()  # the end of the request, which needs no more bytes
            return None
        if announced is not None and announced > self._settings.body_size_max:
            raise Refused(413, f"body of {announced} bytes announced")
        self._enter(Phase.BODY, self._settings.body_timeout)
        if self._http.they_are_waiting_for_100_continue:
            await self._stream.send_all(self._http.send(_CONTINUE))
        size = chunks = 0
        kept = bytearray()
        while True:
            event = self._next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._receive())
            elif isinstance(event, h11.Data):
                size += len(event.data)
                chunks += event.chunk_start
                if size > self._settings.body_size_max:
                    raise Refused(413, "body too large")
                if chunks > self._settings.chunk_count_max:
                    raise Refused(413, "body in too many chunks")
                if keeps:
                    kept += event.data
            else:
                return bytes(kept) if keeps else None

    async def _receive(self) -> bytes:
        """Read from the client.

        Bytes that cross the deadline of the phase come too late: they were not worked on, and the
        next checkpoint would cut us off in the middle of it.
        """
        data = await self._stream.receive_some(RECEIVE_SIZE)
        if self._scope.cancel_called:
            await trio.lowlevel.checkpoint_if_cancelled()
        return bytes(data)

    def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Ask h11 for what comes next.

        Raises:
            Refused: What came is not HTTP.
        """
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise Refused(error.error_status_hint, str(error)) from error

    # Answering

    async def _answer_watching(
        self, endpoint: WaitingEndpoint, request: Request
    ) -> Response | StreamedResponse:
        """Have a waiting endpoint answer while the client is watched."""
        response: Response | StreamedResponse | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, request)
                response = await self._application.answer(endpoint, request)
                nursery.cancel_scope.cancel()
        except BaseException:
            if isinstance(response, StreamedResponse):
                response.close()  # cut off between the answer and its first byte
            raise
        assert response is not None  # all other ends of the block raise
        return response

    async def _watch(self, request: Request) -> None:
        """Read ahead until the client is gone, or so much has come that it must wait."""
        size = len(self._http.trailing_data[0])
        reason = "it has closed its end"
        try:
            while size < self._settings.pipelined_size_max:
                data = await self._receive()
                self._http.receive_data(data)
                if not data:
                    break
                size += len(data)
            else:
                return
        except _DISCONNECTED as error:
            reason = str(error)
        _log.debug("client_gone", client=self._client, reason=reason)
        request.disconnected.set()

    async def _send(self, response: Response, accept_encoding: bytes, *, closes: bool) -> None:
        """Write an answer in one piece."""
        body, is_compressed = response.body.plain, False
        if body and accepts_gzip(accept_encoding):
            body, is_compressed = response.body.compressed, True
        head = response_head(
            response, body_size=len(body), is_compressed=is_compressed, closes=closes
        )
        data = self._http.send(head)
        if body and self._method != "HEAD":
            # With a length announced h11 hands the body back as it is, and the end is no bytes.
            self._http.send(h11.Data(data=body))
        else:
            body = b""
        self._http.send(h11.EndOfMessage())
        if len(body) < _COPY_SIZE_MAX:
            await self._stream.send_all(data + body)
        else:
            await self._stream.send_all(data)
            await self._stream.send_all(body)

    # Streaming

    async def _stream_out(self, response: StreamedResponse, request: Request) -> None:
        """Write a streamed answer; unless it came to its end, h11 shows that it did not."""
        self._counters.streams_open += 1
        outlet = Outlet(self._settings.stream_buffer_size_max)
        if response.is_endless:
            self._endless = outlet
            if self._is_draining:
                outlet.end()
        broken: Exception | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_stream, request, nursery.cancel_scope)
                if self._method == "HEAD":
                    outlet.end()
                else:
                    nursery.start_soon(
                        self._produce, response, request, outlet, nursery.cancel_scope
                    )
                try:
                    await self._write_stream(response, request, outlet)
                except _DISCONNECTED as error:
                    broken = error
                nursery.cancel_scope.cancel()
            if broken is not None:
                raise broken  # here, so that it comes bare and not in a group
        finally:
            self._endless = None
            self._counters.streams_open -= 1
            response.close()

    async def _watch_stream(self, request: Request, scope: trio.CancelScope) -> None:
        """End a stream as soon as its client is gone."""
        await self._watch(request)
        if request.disconnected.is_set():
            scope.cancel()

    async def _produce(
        self,
        response: StreamedResponse,
        request: Request,
        outlet: Outlet,
        scope: trio.CancelScope,
    ) -> None:
        """Have a stream's producer work; what it raises cuts the stream off."""
        try:
            await response.produce(outlet)
        except Exception as error:
            _log.error("stream_failed", path=request.target, client=self._client, exc_info=error)
            scope.cancel()
        outlet.end()

    async def _write_stream(
        self, response: StreamedResponse, request: Request, outlet: Outlet
    ) -> None:
        """Write a head, at once, and what comes out of an outlet, to its end."""
        is_compressed = accepts_gzip(request.header(b"accept-encoding"))
        head = response_head(
            response, body_size=None, is_compressed=is_compressed, closes=self._is_draining
        )
        await self._write(self._http.send(head))
        packer = GzipChunks() if is_compressed and self._method != "HEAD" else None
        interval = response.heartbeat_interval if response.heartbeat else math.inf
        while True:
            self._enter(Phase.STREAMING, math.inf)
            data = response.heartbeat
            with trio.move_on_after(interval):
                data = await outlet.receive()
            if not data:
                break
            if packer is not None:
                data = packer.compress(data)
            await self._write(self._http.send(h11.Data(data=data)))
        end = self._http.send(h11.Data(data=packer.finish())) if packer is not None else b""
        await self._write(end + self._http.send(h11.EndOfMessage()))

    async def _write(self, data: bytes) -> None:
        """Write part of a stream, in its time."""
        self._enter(Phase.WRITING, self._settings.write_timeout)
        await self._stream.send_all(data)

    # Refusing

    async def _refuse(self, refusal: Refused) -> None:
        """Say why, end our half, and throw away what still comes, for a moment."""
        self._counters.refusals[refusal.status] += 1
        _log.debug(
            "request_refused",
            client=self._client,
            code=refusal.status,
            reason=str(refusal)[:_DETAIL_SIZE_MAX],
        )
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        text = f"{refusal.status} {phrase_of(refusal.status)}"
        with trio.move_on_after(self._settings.linger_timeout):
            await self._send(text_response(refusal.status, text), b"", closes=True)
            if isinstance(self._stream, trio.abc.HalfCloseableStream):
                await self._stream.send_eof()
            size = 0
            while size < self._settings.linger_size_max:
                data = await self._stream.receive_some(RECEIVE_SIZE)
                if not data:
                    break
                size += len(data)


def _announced_size(request: Request, version: bytes) -> int | None:
    """Return how much body a request announces: 0 for none, None for chunks without a total.

    Raises:
        Refused: It leaves room for two opinions about where its body ends.
    """
    size: int | None = 0
    framings = 0
    for name, value in request.headers:
        if name == b"content-length":
            framings += 1
            size = int(value)
        elif name == b"transfer-encoding":
            framings += 1
            size = None
    if framings > 1 or (size is None and version == b"1.0"):
        raise Refused(400, "ambiguous body framing")
    return size
