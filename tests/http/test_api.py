"""What every request has in common: errors become answers, and each request is logged."""

from __future__ import annotations

import re

import pytest
import structlog.testing
from rookery.http.api import Api
from rookery.http.faults import CodedFault, PlainFault
from rookery.http.request import Request
from rookery.http.responses import empty_response
from rookery.http.routing import Endpoint, WaitingEndpoint

SELF = "/v1/agent/self"


async def test_request_is_logged_with_query_and_duration(exchange) -> None:
    """One debug line for each request to a /v1 endpoint, with the path as it was sent."""
    with structlog.testing.capture_logs() as logs:
        await exchange(SELF + "?pretty&x=%zz")
    (entry,) = logs
    assert entry.pop("log_level") == "debug"
    assert re.fullmatch(r"[0-9.]+(ns|µs|ms|s)|0s", entry.pop("duration"))
    assert entry == {"event": "request complete", "method": "GET", "path": SELF + "?pretty&x=%zz"}


@pytest.mark.parametrize(
    "target", ["/", "/ui/", "/ui", "/nope", "/v1/agent/nope", "//v1/agent/self"]
)
async def test_what_is_no_endpoint_is_not_logged(exchange, target) -> None:
    """Redirects, the page and unknown paths leave no line."""
    with structlog.testing.capture_logs() as logs:
        await exchange(target)
    assert logs == []


async def test_clients_errors_are_debug_lines(exchange) -> None:
    """A 4xx says why at debug, before the line that every request gets."""
    with structlog.testing.capture_logs() as logs:
        await exchange(SELF, "PUT")
    assert logs[0] == {
        "event": "request failed",
        "log_level": "debug",
        "method": "PUT",
        "path": SELF,
        "error": "Invalid method",
        "code": 405,
    }
    assert [entry["event"] for entry in logs] == ["request failed", "request complete"]


async def test_own_errors_are_error_lines(service, exchange) -> None:
    """A 5xx is an error, with its text in the log and in the answer."""
    service.document = PlainFault("No cluster leader")
    with structlog.testing.capture_logs() as logs:
        answer = await exchange(SELF)
    assert (answer.status, answer.text) == (500, "No cluster leader")
    assert (logs[0]["event"], logs[0]["log_level"], logs[0]["code"]) == (
        "request failed",
        "error",
        500,
    )
    assert "exc_info" not in logs[0]


async def test_hidden_prefix_stays_in_the_log(service, exchange) -> None:
    """The suffix rule shortens what the client reads, not what the log says."""
    service.document = PlainFault("rpc error: Permission denied")
    with structlog.testing.capture_logs() as logs:
        answer = await exchange(SELF)
    assert (answer.status, answer.text) == (403, "Permission denied")
    assert (logs[0]["log_level"], logs[0]["error"]) == ("debug", "rpc error: Permission denied")


async def test_crash_is_a_bare_500(service, connect) -> None:
    """The traceback goes to the log; the client learns nothing, and its connection lives on."""
    service.document = RuntimeError("password in here")
    async with connect() as client:
        with structlog.testing.capture_logs() as logs:
            answer = await client.request(SELF)
        assert (answer.status, answer.text) == (500, "Internal Server Error")
        assert answer.header("content-type") == "text/plain; charset=utf-8"
        assert logs[0]["log_level"] == "error"
        assert logs[0]["exc_info"] is service.document
        service.document = {"stats": {}}
        assert (await client.request(SELF)).status == 200


async def test_crash_of_a_waiting_handler_is_a_500_too(service, exchange) -> None:
    """Also an exception group out of a handler's own tasks."""
    service.join_result = ExceptionGroup("tasks", [OSError("x")])
    answer = await exchange("/v1/agent/join?address=a", "PUT")
    assert (answer.status, answer.text) == (500, "Internal Server Error")


async def test_coded_fault_keeps_its_code(service, connect) -> None:
    """An error with a code of its own is answered with it, by either kind of endpoint."""

    def refuse(request: Request) -> None:
        raise CodedFault(415, "Prometheus is not enabled")

    async def refuse_later(request: Request) -> None:
        refuse(request)

    api = Api([Endpoint("/v1/a", refuse), WaitingEndpoint("/v1/b", refuse_later)], service)
    async with connect(application=api) as client:
        for path in ("/v1/a", "/v1/b"):
            answer = await client.request(path)
            assert (answer.status, answer.text) == (415, "Prometheus is not enabled")


async def test_empty_answer_has_neither_type_nor_encoding(service, connect) -> None:
    """A 200 with nothing to say must not be announced as gzip: Go's client would fail on it."""
    api = Api([Endpoint("/v1/a", lambda _: empty_response(200))], service)
    async with connect(application=api) as client:
        answer = await client.request("/v1/a", "PUT", {"Accept-Encoding": "gzip"})
    assert (answer.status, answer.header("content-length")) == (200, "0")
    assert answer.header("content-type") is None
    assert answer.header("content-encoding") is None
