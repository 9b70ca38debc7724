"""The API over one agent: its table of endpoints, and what every request to it has in common.

`build_api` is where a new endpoint is added. `Api` takes a request from its route to its answer:
it calls the handler, turns what it raises into an answer (faults.py), puts the operator's headers
on answers of `/v1` endpoints, and logs each request to one: `request complete` at debug, after
`request failed`, which is an error only when it is ours. Clients that watch the log stream wait
for these lines.

Redirects, unknown paths and the UI are no API: they carry no such headers and leave no line.

Where it comes from (public API): Nomad's `registerHandlers` and `wrap` in `command/agent/http.go`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import structlog
import trio

from ..agent.durations import format_duration
from .agent_self import AgentSelf
from .counters import Counters
from .faults import outcome_of
from .force_leave import ForceLeave
from .gossip_events import Events, FireEvent
from .gossip_insight import Insight, Tags
from .gossip_queries import Queries, Respond
from .health import Health
from .join import Join
from .keyring import Keyring
from .members import Members
from .request import Request
from .responses import HeaderList, Response, configured_headers, text_response
from .routing import AnyEndpoint, Endpoint, Router, WaitingEndpoint
from .streaming import StreamedResponse
from .ui import answer_root, answer_ui

if TYPE_CHECKING:
    from ..agent.service import AgentService

_log = structlog.get_logger("http")


def build_api(service: AgentService, counters: Counters) -> Api:
    """Return the API of an agent; `counters` are shown among its statistics."""
    insight, queries = Insight(service), Queries(service)
    return Api(
        [
            Endpoint("/v1/agent/members", Members(service).answer),
            Endpoint("/v1/agent/self", AgentSelf(service, counters).answer),
            WaitingEndpoint("/v1/agent/join", Join(service).answer),
            WaitingEndpoint("/v1/agent/health", Health(service).answer),
            WaitingEndpoint("/v1/agent/force-leave", ForceLeave(service).answer),
            WaitingEndpoint("/v1/agent/keyring/", Keyring(service).answer, reads_body=True),
            Endpoint("/v1/gossip/event", FireEvent(service).answer, reads_body=True),
            Endpoint("/v1/gossip/events", Events(service).answer),
            Endpoint("/v1/gossip/query", queries.answer_query, reads_body=True),
            Endpoint("/v1/gossip/respond", Respond(service).answer, reads_body=True),
            Endpoint("/v1/gossip/reachability", queries.answer_reachability),
            Endpoint("/v1/gossip/coordinates", insight.answer_coordinates),
            Endpoint("/v1/gossip/rtt", insight.answer_rtt),
            Endpoint("/v1/gossip/evidence", insight.answer_evidence),
            Endpoint("/v1/gossip/tags", Tags(service).answer, reads_body=True),
            Endpoint("/", answer_root),
            Endpoint("/ui/", answer_ui),
        ],
        service,
    )


class Api:
    """Routes requests and answers them; never raises but `Cancelled`."""

    def __init__(self, endpoints: list[AnyEndpoint], service: AgentService) -> None:
        self._router = Router(endpoints)
        self._service = service
        self._headers_given: Mapping[str, str] = {}
        self._headers: HeaderList = ()

    def find(self, request: Request) -> AnyEndpoint | Response:
        """Return who answers a request, or its answer if that is settled by its path."""
        return self._router.find(request)

    def answer_nowait(self, endpoint: Endpoint, request: Request) -> Response | StreamedResponse:
        """Answer a request by an endpoint that does not wait."""
        started = trio.current_time()
        response: Response | StreamedResponse
        try:
            response = endpoint.answer(request)
        except Exception as error:
            response = self._fail(error, request)
        return self._finish(endpoint, request, response, started)

    async def answer(
        self, endpoint: WaitingEndpoint, request: Request
    ) -> Response | StreamedResponse:
        """Answer a request by an endpoint that may wait."""
        started = trio.current_time()
        response: Response | StreamedResponse
        try:
            response = await endpoint.answer(request)
        except Exception as error:
            response = self._fail(error, request)
        return self._finish(endpoint, request, response, started)

    def _fail(self, error: Exception, request: Request) -> Response:
        outcome = outcome_of(error)
        log = _log.bind(
            method=request.method,
            path=request.target,
            error=str(error) or outcome.text,
            code=outcome.status,
        )
        if outcome.is_defect:
            log.error("request failed", exc_info=error)
        elif 400 <= outcome.status < 500:
            log.debug("request failed")
        else:
            log.error("request failed")
        return text_response(outcome.status, outcome.text)

    def _finish(
        self,
        endpoint: AnyEndpoint,
        request: Request,
        response: Response | StreamedResponse,
        started: float,
    ) -> Response | StreamedResponse:
        if not endpoint.path.startswith("/v1/"):
            return response

        def log() -> None:
            _log.debug(
                "request complete",
                method=request.method,
                path=request.target,
                duration=format_duration(trio.current_time() - started),
            )

        if isinstance(response, StreamedResponse):
            response = response.with_close(log)
        else:
            log()
        return response.with_configured(self._configured())

    def _configured(self) -> HeaderList:
        """The operator's headers, made sendable once for each value they take."""
        given = self._service.response_headers
        if given != self._headers_given:
            self._headers, unusable = configured_headers(given)
            self._headers_given = dict(given)
            if unusable:
                _log.warning("response_headers_unusable", names=sorted(unusable))
        return self._headers
