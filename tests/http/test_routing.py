"""Paths: exact routes and subtrees, 404 without a body, redirects to the one clean URL."""

from __future__ import annotations

import pytest
from rookery.http.faults import InvalidMethod
from rookery.http.request import Request
from rookery.http.responses import Response, empty_response
from rookery.http.routing import Endpoint, Router


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/",
        "/v1/agent",
        "/v1/agent/",
        "/v1/agent/nope",
        "/v1/agent/self/",
        "/v1/agent/members/x",
        "/v1/Agent/self",
        "/v2/agent/self",
        "/agent/self",
        "/favicon.ico",
        "/debug/pprof/",
        "/v1/agent/self%20",
        "/v1/agent%252Fself",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS"])
async def test_unknown_path_is_404_without_a_body(exchange, path, method) -> None:
    """Nothing there: no body, no type, no encoding, and never `Invalid method`."""
    answer = await exchange(path, method, {"Accept-Encoding": "gzip"})
    assert (answer.status, answer.body) == (404, b"")
    assert answer.header("content-length") == "0"
    assert answer.header("content-type") is None
    assert answer.header("content-encoding") is None
    assert answer.header("vary") == "Accept-Encoding"


@pytest.mark.parametrize("path", ["/v1/agent/self", "/v1/agent%2Fself", "/v1/%61gent/self"])
async def test_known_path_is_found_however_it_is_escaped(exchange, path) -> None:
    """Routes are compared with the decoded path."""
    assert (await exchange(path)).status == 200


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("//v1/agent/self", "/v1/agent/self"),
        ("/v1//agent/self?pretty=1&x=%zz", "/v1/agent/self?pretty=1&x=%zz"),
        ("/v1/./agent/self", "/v1/agent/self"),
        ("/v1/agent/../agent/self", "/v1/agent/self"),
        ("/v1/agent/%2e%2e/x/", "/v1/x/"),
        ("/../../etc/passwd", "/etc/passwd"),
        ("//evil.example/%2e%2e//x", "/x"),
        ("//evil.example", "/evil.example"),
        ("/a%20b//%22%3E", "/a%20b/%22%3E"),
        ("/ui", "/ui/"),
        ("/ui?x=1", "/ui/?x=1"),
        ("//ui", "/ui/"),
        ("//", "/"),
    ],
)
async def test_unclean_path_is_redirected(exchange, target, location) -> None:
    """301 to the clean path on this very host, with the query string as it was."""
    answer = await exchange(target)
    shown = location.replace("&", "&amp;")
    assert (answer.status, answer.header("location")) == (301, location)
    assert answer.header("content-type") == "text/html; charset=utf-8"
    assert answer.text == f'<a href="{shown}">Moved Permanently</a>.\n\n'


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "FOO"])
async def test_redirect_of_a_writer_has_no_body(exchange, method) -> None:
    """Any method is redirected; only those who read get the page with the link."""
    answer = await exchange("//v1/agent/join?address=x", method)
    assert (answer.status, answer.body) == (301, b"")
    assert answer.header("location") == "/v1/agent/join?address=x"
    assert answer.header("content-type") is None


async def test_redirect_page_cannot_be_broken_out_of(exchange) -> None:
    """Quotes and angle brackets of a query string stay text in the page."""
    answer = await exchange("//?a=\"'><script>&b")
    assert answer.header("location") == "/?a=\"'><script>&b"
    assert answer.text == (
        '<a href="/?a=&#34;&#39;&gt;&lt;script&gt;&amp;b">Moved Permanently</a>.\n\n'
    )


@pytest.mark.parametrize(
    ("target", "location"), [("/", "/ui/"), ("/?ott=x", "/ui/?ott=x"), ("/?", "/ui/")]
)
async def test_root_leads_to_the_page(exchange, target, location) -> None:
    """`/` is a temporary redirect to `/ui/` that keeps the query string."""
    answer = await exchange(target)
    assert (answer.status, answer.header("location")) == (307, location)
    assert answer.text == f'<a href="{location}">Temporary Redirect</a>.\n\n'


@pytest.mark.parametrize("path", ["/ui/", "/ui/jobs", "/ui/a/b?c"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_page_is_one_line(exchange, path, method) -> None:
    """Everything below `/ui/` is the same page."""
    answer = await exchange(path, method)
    assert (answer.status, answer.text) == (200, "<html><p>Nomad UI is disabled</p></html>")
    assert answer.header("content-type") == "text/html; charset=utf-8"


def answering(status: int) -> Response:
    return empty_response(status)


def test_longest_subtree_wins() -> None:
    """Of nested subtrees the inner one answers, whatever the order they were given in."""
    outer = Endpoint("/a/", lambda _: answering(1))
    inner = Endpoint("/a/b/", lambda _: answering(2))
    exact = Endpoint("/a/b/c", lambda _: answering(3))
    for endpoints in ([outer, inner, exact], [exact, inner, outer]):
        router = Router(endpoints)
        assert router.find(Request("GET", "/a/")) is outer
        assert router.find(Request("GET", "/a/x")) is outer
        assert router.find(Request("GET", "/a/b/x/y")) is inner
        assert router.find(Request("GET", "/a/b/c")) is exact


def test_without_a_root_unknown_paths_are_404() -> None:
    """A table that has no route for `/` answers by itself."""
    assert Router([]).find(Request("GET", "/x")) == empty_response(404)


def test_two_endpoints_of_one_path_are_refused() -> None:
    """A second endpoint would silently shadow the first."""
    endpoint = Endpoint("/a", lambda _: answering(1))
    with pytest.raises(ValueError, match="/a"):
        Router([endpoint, endpoint])


def test_methods_are_compared_exactly() -> None:
    """`get` is not `GET`."""
    Request("GET", "/").require_method("PUT", "GET")
    for method in ("get", "Get", "GETS", ""):
        with pytest.raises(InvalidMethod):
            Request(method, "/").require_method("PUT", "GET")
