"""Answers: what handlers return, and how it becomes the head of an HTTP response.

Every answer carries `Vary: Accept-Encoding` and a date. A body has its length declared and, when
the client takes gzip, goes out compressed, whatever its size, status and type. An answer without a
body has neither type nor encoding: Nomad's Go client opens a gzip reader as soon as it sees
`Content-Encoding: gzip`, and fails on nothing.

Errors are bare texts under `text/plain; charset=utf-8`, which is what Go's type sniffing says of
any text that does not begin as HTML. We fix the type instead of sniffing, so that no text a client
chose is ever shown to a browser as a page.

Where it comes from (public API): `HTTPServer.wrap`, `setHeaders` and `http.Redirect`; Go's
`http.DetectContentType`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Protocol

import h11

from .encoding import EMPTY, Body, encode_json

HeaderList = tuple[tuple[bytes, bytes], ...]

JSON_TYPE = b"application/json"
TEXT_TYPE = b"text/plain; charset=utf-8"
HTML_TYPE = b"text/html; charset=utf-8"

_FRAMING = frozenset(
    b"connection content-encoding content-length trailer transfer-encoding upgrade".split()
)
"""Headers that say where an answer ends and how it is packed: a configured value would break every
one."""


_HTML_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;"})

_PHRASES = {status.value: status.phrase for status in HTTPStatus} | {
    # Python renamed these two in 3.13.
    413: "Request Entity Too Large",
    414: "Request URI Too Long",
}


def phrase_of(status: int) -> str:
    """Return the words of a status, as Go has them; `""` for a number nobody has named."""
    return _PHRASES.get(status, "")


@dataclass(frozen=True, slots=True)
class Response:
    """One answer.

    Attributes:
        status: The HTTP status.
        body: Its bytes; `EMPTY` for none.
        content_type: None if it has no body.
        headers: Others of its own, names in any case.
        configured: The operator's headers; one of the answer's own of the same name wins.
    """

    status: int
    body: Body = EMPTY
    content_type: bytes | None = None
    headers: HeaderList = ()
    configured: HeaderList = ()

    def with_configured(self, headers: HeaderList) -> Response:
        """Return this answer with the operator's headers."""
        return replace(self, configured=headers) if headers else self


def json_response(document: Any, *, is_pretty: bool = False) -> Response:
    """Answer 200 with a JSON document."""
    return Response(200, Body(encode_json(document, is_pretty=is_pretty)), JSON_TYPE)


def text_response(status: int, text: str) -> Response:
    """Answer with a bare text: no envelope, no newline."""
    return Response(status, Body(text.encode("utf-8", "replace")), TEXT_TYPE)


def html_response(page: str) -> Response:
    """Answer 200 with a page."""
    return Response(200, Body(page.encode()), HTML_TYPE)


def empty_response(status: int) -> Response:
    """Answer without a body, and so without a type."""
    return Response(status)


def redirect_response(method: str, status: int, location: str) -> Response:
    """Send the client elsewhere; `location` is an escaped path, perhaps with a query string.

    Only who looks (GET, HEAD) gets a body with the link.
    """
    headers = ((b"Location", location.encode("ascii")),)
    if method not in ("GET", "HEAD"):
        return Response(status, headers=headers)
    page = f'<a href="{location.translate(_HTML_ESCAPES)}">{phrase_of(status)}</a>.\n\n'
    return Response(status, Body(page.encode("ascii")), HTML_TYPE, headers)


def configured_headers(headers: Mapping[str, str]) -> tuple[HeaderList, list[str]]:
    """Turn the operator's headers into what can be sent, and the names of those that never can.

    Line breaks in a value become spaces, as Go has it.
    """
    sendable: list[tuple[bytes, bytes]] = []
    unusable: list[str] = []
    for name, value in headers.items():
        try:
            pair = (name.encode("ascii"), " ".join(value.split()).encode())
            h11.Response(status_code=200, headers=[pair])
        except (UnicodeEncodeError, h11.LocalProtocolError):
            unusable.append(name)
            continue
        if pair[0].lower() in _FRAMING:
            unusable.append(name)
        else:
            sendable.append(pair)
    return tuple(sendable), unusable


class AnyResponse(Protocol):
    """What the head of an answer is made from, whole or streamed."""

    @property
    def status(self) -> int: ...
    @property
    def content_type(self) -> bytes | None: ...
    @property
    def headers(self) -> HeaderList: ...
    @property
    def configured(self) -> HeaderList: ...


def response_head(
    response: AnyResponse, *, body_size: int | None, is_compressed: bool, closes: bool
) -> h11.Response:
    """Build the head of an answer.

    Args:
        response: The answer.
        body_size: Bytes of the body as it goes out; None if it comes in chunks, nobody knows how
            many.
        is_compressed: Whether that is the gzip form.
        closes: Whether the connection ends after it.
    """
    return _head(
        response.status,
        response.content_type,
        response.headers,
        response.configured,
        body_size,
        is_compressed,
        closes,
        int(time.time()),
    )


@lru_cache(maxsize=128)
def _head(
    status: int,
    content_type: bytes | None,
    headers: HeaderList,
    configured: HeaderList,
    body_size: int | None,
    is_compressed: bool,
    closes: bool,
    second: int,
) -> h11.Response:
    """Build a head, once a second for each kind of answer: checking headers is dear."""
    own: list[tuple[bytes, bytes]] = [(b"Vary", b"Accept-Encoding")]
    if content_type is not None:
        own.append((b"Content-Type", content_type))
    own.extend(headers)
    taken = {name.lower() for name, _ in own} - {b"vary"}
    own.extend(pair for pair in configured if pair[0].lower() not in taken)
    if b"date" not in {name.lower() for name, _ in own}:
        own.append((b"Date", formatdate(second, usegmt=True).encode("ascii")))
    if body_size is None:
        own.append((b"Transfer-Encoding", b"chunked"))
    else:
        own.append((b"Content-Length", b"%d" % body_size))
    if is_compressed:
        own.append((b"Content-Encoding", b"gzip"))
    if closes:
        own.append((b"Connection", b"close"))
    return h11.Response(status_code=status, reason=phrase_of(status).encode("ascii"), headers=own)
