"""Headers of every answer: compression, the operator's own, and what must be absent."""

from __future__ import annotations

import gzip
from email.utils import parsedate_to_datetime

import pytest
import structlog.testing
from rookery.http.responses import configured_headers, phrase_of, text_response

SELF = "/v1/agent/self"


@pytest.mark.parametrize(
    ("target", "method", "status", "plain"),
    [
        ("/v1/gossip/tags", "GET", 200, b'{"dc":"dc1"}'),
        (SELF, "PUT", 405, b"Invalid method"),
        ("/v1/agent/members?wait=x", "GET", 400, b"Invalid wait time"),
        ("/ui", "GET", 301, b'<a href="/ui/">Moved Permanently</a>.\n\n'),
        ("/ui/", "GET", 200, b"<html><p>Nomad UI is disabled</p></html>"),
    ],
)
async def test_any_body_is_compressed_for_who_asks(exchange, target, method, status, plain) -> None:
    """Any size, any status, any type; and not for who does not ask."""
    answer = await exchange(target, method, {"Accept-Encoding": "deflate, gzip;q=0.1"})
    assert answer.status == status
    assert answer.header("content-encoding") == "gzip"
    assert gzip.decompress(answer.body) == plain
    for refusing in ({}, {"Accept-Encoding": "gzip;q=0, *"}):
        answer = await exchange(target, method, refusing)
        assert answer.header("content-encoding") is None
        assert answer.body == plain
        assert answer.header("vary") == "Accept-Encoding"


async def test_head_has_the_headers_of_its_body(exchange) -> None:
    """A 405 to HEAD has no body, but says how long it would be."""
    answer = await exchange(SELF, "HEAD")
    assert (answer.status, answer.header("content-length")) == (405, "14")


async def test_every_answer_is_dated(exchange) -> None:
    """`Date` is present and readable; there is no `Server`."""
    for target in (SELF, "/nope", "/"):
        answer = await exchange(target)
        assert parsedate_to_datetime(answer.header("date")).year >= 2024
        assert answer.header("server") is None


async def test_configured_headers_are_on_api_answers_only(service, exchange) -> None:
    """On every answer of a /v1 endpoint, errors included; not on redirects, the page, or 404s."""
    service.response_headers = {"X-Test": "a b", "Access-Control-Allow-Origin": "*"}
    for target, method in ((SELF, "GET"), (SELF, "PUT"), ("/v1/agent/members?index=x", "GET")):
        answer = await exchange(target, method)
        assert answer.header("x-test") == "a b"
        assert answer.header("access-control-allow-origin") == "*"
    for target in ("/", "/ui/", "/ui", "/nope", "/v1/agent/nope", "/v1//agent/self"):
        assert (await exchange(target)).header("x-test") is None


async def test_handlers_own_header_wins(service, exchange) -> None:
    """A configured type does not replace that of an answer; a configured Vary and Date stand."""
    service.response_headers = {"content-type": "x/y", "Vary": "Origin", "Date": "today"}
    answer = await exchange(SELF)
    assert answer.header("content-type") == "application/json"
    assert [value for name, value in answer.headers if name == "vary"] == [
        "Accept-Encoding",
        "Origin",
    ]
    assert answer.header("date") == "today"


async def test_changed_headers_show_at_once(service, connect) -> None:
    """A reload of the settings reaches connections that are open."""
    async with connect() as client:
        for value in ("1", "2"):
            service.response_headers = {"X-Test": value}
            assert (await client.request(SELF)).header("x-test") == value
        service.response_headers = {}
        assert (await client.request(SELF)).header("x-test") is None


async def test_unusable_headers_are_left_out_and_named(service, exchange) -> None:
    """A header that cannot be sent costs one warning, not every answer."""
    service.response_headers = {"X Test": "a", "Content-Length": "7", "X-Good": "a\r\nX-Bad: b"}
    with structlog.testing.capture_logs() as logs:
        answer = await exchange(SELF)
    assert answer.status == 200
    assert answer.header("x-good") == "a X-Bad: b"
    assert answer.header("x-bad") is None
    warnings = [entry for entry in logs if entry["log_level"] == "warning"]
    assert [entry["names"] for entry in warnings] == [["Content-Length", "X Test"]]


@pytest.mark.parametrize(
    "name", ["", "X:", "X\n", "Ü", "connection", "Content-Encoding", "TRANSFER-ENCODING", "Upgrade"]
)
def test_unusable_header(name: str) -> None:
    """Impossible names, and headers that would break the framing, cannot be configured."""
    assert configured_headers({name: "x", "X-Good": "ü"}) == (
        ((b"X-Good", "ü".encode()),),
        [name],
    )


def test_value_that_cannot_be_sent() -> None:
    """A NUL has no place in a header."""
    assert configured_headers({"X-Test": "a\0b"}) == ((), ["X-Test"])


def test_text_of_an_error_is_always_sent() -> None:
    """An error text with bytes that are no UTF-8 still goes out."""
    assert text_response(400, "lookup \udcff: ü").body.plain == "lookup ?: ü".encode()


def test_statuses_have_gos_words() -> None:
    """The words do not change with the Python version, and an unknown status has none."""
    assert phrase_of(413) == "Request Entity Too Large"
    assert phrase_of(431) == "Request Header Fields Too Large"
    assert phrase_of(599) == ""
