"""Streams of JSON: one compact document a line, as Nomad's event stream has them.

A line is on its way as soon as its document exists. A stream that is silent for a while says `{}`,
which readers skip. It is also what tells us of a client whose host is gone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

from .encoding import Body, encode_json
from .responses import Response
from .streaming import Outlet, StreamedResponse

LINES_TYPE = b"application/x-ndjson"

_PIECE_SIZE = 16 * 1024
"""Bytes from which on lines are not put together any more."""

HEARTBEAT = b"{}\n"

HEARTBEAT_INTERVAL = 10.0
"""Seconds of silence after which a heartbeat is written; that of Nomad's event stream. Clients may
take a stream that says nothing for some of these as dead."""


def encode_line(document: Any) -> bytes:
    """Return a document as one line."""
    return encode_json(document) + b"\n"


def _pieces(line: bytes, documents: Sequence[Any]) -> Iterator[bytes]:
    """Yield lines put together, no more at once than makes sense to hold and to write."""
    lines, size = [line], len(line)
    for document in documents:
        if size >= _PIECE_SIZE:
            yield b"".join(lines)
            lines, size = [], 0
        line = encode_line(document)
        lines.append(line)
        size += len(line)
    yield b"".join(lines)


def lines_response(documents: Iterable[Any]) -> Response:
    """Answer 200 with documents that are all there."""
    return Response(200, Body(b"".join(map(encode_line, documents))), LINES_TYPE)


def streamed_lines(
    documents: AsyncIterator[Any],
    *,
    is_endless: bool,
    close: Callable[[], None],
    ready: Callable[[], Sequence[Any]] = tuple,
) -> StreamedResponse:
    """Answer 200 with documents as they come.

    Args:
        documents: Closed at the end, if it is a generator.
        is_endless: Whether they have no end of their own.
        close: Called at the very end in any case.
        ready: Takes out the documents that are there already, behind the one just given: in a
            flood they go together, which costs a fraction.
    """

    async def produce(outlet: Outlet) -> None:
        async with AsyncExitStack() as stack:
            if hasattr(documents, "aclose"):
                stack.push_async_callback(documents.aclose)
            async for document in documents:
                for piece in _pieces(encode_line(document), ready()):
                    await outlet.send(piece)

    return StreamedResponse(
        produce,
        LINES_TYPE,
        heartbeat=HEARTBEAT,
        heartbeat_interval=HEARTBEAT_INTERVAL,
        is_endless=is_endless,
        close=close,
    )
