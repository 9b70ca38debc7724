"""GET /v1/agent/self: the agent about itself.

Only the method is checked. The document (configuration, member, statistics) is the service's; it
is never kept, because its statistics change all the time.

Where it comes from (public API): Nomad's `AgentSelfRequest` in `command/agent/agent_endpoint.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .request import Request
from .responses import Response, json_response

if TYPE_CHECKING:
    from ..agent.service import AgentService


class AgentSelf:
    """The endpoint."""

    def __init__(self, service: AgentService) -> None:
        self._service = service

    def answer(self, request: Request) -> Response:
        """Answer with the self document."""
        request.require_method("GET")
        return json_response(self._service.self_document(), is_pretty=request.parameters.is_pretty)
