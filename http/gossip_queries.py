"""Queries under /v1/gossip/: `query` asks, `respond` answers, `reachability` looks who is there.

What comes back is streamed, a line each, until a last line of type `done`.
A stream that ends without `done` was cut short: the agent stopped. A client that goes away ends its
query.

Sources: `serf query` and `serf reachability`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..agent.quoting import quote
from ..agent.service import Question
from ..gossip.serf.asking import RELAY_FACTOR_MAX
from ..gossip.serf.queries import INTERNAL_PREFIX
from .faults import CodedFault
from .gossip_parameters import ACTING, boolean, check_request, duration, number, required
from .json_lines import streamed_lines
from .parameters import INDEX_MAX
from .request import Request
from .responses import Response, empty_response
from .streaming import StreamedResponse, StreamPlaces

if TYPE_CHECKING:
    from ..agent.service import AgentService

QUERY_STREAMS_MAX = 64
"""Queries of HTTP clients open at once on one agent. The core has 256 places, and key operations
need some of them too; each query makes every member send answers to this agent."""


class Queries:
    """PUT or POST /v1/gossip/query, and /v1/gossip/reachability, which is one too."""

    def __init__(self, service: AgentService) -> None:
        self._service = service
        self._places = StreamPlaces(QUERY_STREAMS_MAX, "queries")

    def answer_query(self, request: Request) -> StreamedResponse:
        """Ask `?name=…&node=…&tag=…&ack=…&relay=…&timeout=…`; the body is the payload."""
        check_request(request, self._service, ACTING)
        question = _read_question(request)
        release = self._places.take()
        try:
            documents = self._service.query(question)
        except BaseException:
            release()
            raise
        return streamed_lines(documents, is_endless=False, close=release)

    def answer_reachability(self, request: Request) -> StreamedResponse:
        """Ask every live member for an ack."""
        check_request(request, self._service, ACTING)
        release = self._places.take()
        try:
            documents = self._service.reachability()
        except BaseException:
            release()
            raise
        return streamed_lines(documents, is_endless=False, close=release)


class Respond:
    """PUT or POST /v1/gossip/respond?ltime=…&id=…; the body is the payload."""

    def __init__(self, service: AgentService) -> None:
        self._service = service

    def answer(self, request: Request) -> Response:
        """Answer a query that the events told of."""
        check_request(request, self._service, ACTING)
        parameters = request.parameters
        ltime = number(parameters, "ltime", value_max=INDEX_MAX)
        query_id = number(parameters, "id", value_max=2**32 - 1)
        if ltime is None or query_id is None:
            raise CodedFault(400, "missing ltime and id of the query")
        try:
            self._service.respond(ltime, query_id, request.body or b"")
        except LookupError as error:
            raise CodedFault(404, str(error)) from error
        except ValueError as error:
            raise CodedFault(400, str(error)) from error
        return empty_response(200)


def _read_question(request: Request) -> Question:
    """Return what a request asks.

    Raises:
        CodedFault: A parameter is missing or none that can be asked.
    """
    parameters = request.parameters
    name = required(parameters, "name", "query name")
    if name.startswith(INTERNAL_PREFIX):
        # Some of them kill Go members when they are not exactly right.
        raise CodedFault(400, f"query names beginning with {INTERNAL_PREFIX} are Serf's own")
    return Question(
        name=name,
        payload=request.body or b"",
        nodes=tuple(filter(None, parameters.all("node"))),
        tags=_read_tags(parameters.all("tag")),
        wants_acks=boolean(parameters, "ack", default=False),
        relay_factor=number(parameters, "relay", value_max=RELAY_FACTOR_MAX) or 0,
        timeout=duration(parameters, "timeout"),
    )


def _read_tags(texts: list[str]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for text in filter(None, texts):
        tag, equals, expression = text.partition("=")
        if not tag or not equals:
            raise CodedFault(400, f"invalid tag value {quote(text)}: must be name=expression")
        if tag in tags:
            raise CodedFault(400, f"invalid tag value {quote(text)}: the tag is given twice")
        tags[tag] = expression
    return tags
