"""From a path to who answers it.

A route is exact, unless its path ends in `/`: then it has the whole subtree, the longest such
route winning. A path that is not clean (`//`, `.`, `..`) is sent to its clean form, and the bare
name of a subtree to the subtree, both with 301 and the query string kept. So there is one URL for
each thing, and the handlers never see another.

Where it comes from (public API): Go's `http.ServeMux`, with which Nomad routes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from .request import Request
from .responses import Response, empty_response, redirect_response
from .streaming import StreamedResponse
from .urls import clean_path, escape_path


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A route whose handler answers at once.

    Attributes:
        path: Exact, or a subtree if it ends in `/`.
        answer: The handler. It raises what faults.py knows.
        reads_body: Whether it gets the request's body; other bodies are thrown away.
    """

    path: str
    answer: Callable[[Request], Response | StreamedResponse]
    reads_body: bool = False


@dataclass(frozen=True, slots=True)
class WaitingEndpoint:
    """A route whose handler may wait: for peers, for time. The client is watched meanwhile."""

    path: str
    answer: Callable[[Request], Awaitable[Response | StreamedResponse]]
    reads_body: bool = False


AnyEndpoint = Endpoint | WaitingEndpoint


class Router:
    """The table of routes."""

    def __init__(self, endpoints: Iterable[AnyEndpoint]) -> None:
        self._exact: dict[str, AnyEndpoint] = {}
        self._subtrees: list[AnyEndpoint] = []
        for endpoint in endpoints:
            if endpoint.path in self._exact:
                raise ValueError(f"two endpoints for {endpoint.path}")
            self._exact[endpoint.path] = endpoint
            if endpoint.path.endswith("/"):
                self._subtrees.append(endpoint)
        self._subtrees.sort(key=lambda endpoint: len(endpoint.path), reverse=True)

    def find(self, request: Request) -> AnyEndpoint | Response:
        """Return the endpoint for a request, or the answer if none is to be asked."""
        path = request.path
        if endpoint := self._exact.get(path):
            return endpoint
        cleaned = clean_path(path)
        if cleaned + "/" in self._exact:
            return self._moved(request, cleaned + "/")
        if cleaned != path:
            return self._moved(request, cleaned)
        for endpoint in self._subtrees:
            if path.startswith(endpoint.path):
                return endpoint
        return empty_response(404)

    @staticmethod
    def _moved(request: Request, path: str) -> Response:
        location = escape_path(path)
        if request.query:
            location += "?" + request.query
        return redirect_response(request.method, 301, location)
