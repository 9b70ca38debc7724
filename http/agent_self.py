"""GET /v1/agent/self: the agent about itself.

Only the method is checked. The document (configuration, member, statistics) is the service's, but
for the section `http` of the statistics, which is counted here. It is never kept, because its
statistics change all the time.

Where it comes from (public API): Nomad's `AgentSelfRequest` in `command/agent/agent_endpoint.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .counters import Counters, statistics_section
from .request import Request
from .responses import Response, json_response

if TYPE_CHECKING:
    from ..agent.service import AgentService


class AgentSelf:
    """The endpoint."""

    def __init__(self, service: AgentService, counters: Counters) -> None:
        self._service = service
        self._counters = counters

    def answer(self, request: Request) -> Response:
        """Answer with the self document."""
        request.require_method("GET")
        document = self._service.self_document()
        own = statistics_section(self._counters.snapshot())
        shown = {**document, "stats": {**document["stats"], "http": own}}
        return json_response(shown, is_pretty=request.parameters.is_pretty)
