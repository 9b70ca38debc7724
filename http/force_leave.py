"""PUT or POST /v1/agent/force-leave?node=…&prune=…: tell the pool that a failed member has left.

Check order: method, server role, (token: `agent:write`, with the ACLs), `node`, `prune`. Success is
200 without a body, whatever the member's status and even if nobody knows it. It is answered when
the pool has been told, which takes at most 5 s; a client that goes away does not stop it.

Where it comes from (public API): Nomad's `AgentForceLeaveRequest` in
`command/agent/agent_endpoint.go`; `prune` is of Nomad 1.7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .faults import ForceLeaveNodeMissing, InvalidPrune, RoleMissing
from .request import Request
from .responses import Response, empty_response

if TYPE_CHECKING:
    from ..agent.service import AgentService


class ForceLeave:
    """The endpoint."""

    def __init__(self, service: AgentService) -> None:
        self._service = service

    async def answer(self, request: Request) -> Response:
        """Have the member named forced out."""
        request.require_method("PUT", "POST")
        if not self._service.has_server:
            raise RoleMissing
        parameters = request.parameters
        node = parameters.first("node")
        if not node:
            raise ForceLeaveNodeMissing
        try:
            prune = parameters.boolean("prune") or False
        except ValueError:
            raise InvalidPrune from None
        await self._service.force_leave(node, prune=prune)
        return empty_response(200)
