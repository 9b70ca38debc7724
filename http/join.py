"""PUT or POST /v1/agent/join?address=…&address=…: join pools.

Check order: method, server role, at least one `address` key; no token is asked for. From there the
answer is 200 even when every join failed: `num_joined` counts the push-pulls that worked, and
`error` holds the causes only if none did. It takes as long as the slowest address; a client that
goes away does not stop it.

Where it comes from (public API): Nomad's `AgentJoinRequest` in `command/agent/agent_endpoint.go`.
"""

from __future__ import annotations

from ..agent.service import AgentService, JoinUnavailable
from .faults import JoinAddressMissing, RoleMissing, combined_text
from .request import Request
from .responses import Response, json_response


class Join:
    """The endpoint."""

    def __init__(self, service: AgentService) -> None:
        self._service = service

    async def answer(self, request: Request) -> Response:
        """Join the pools at every address given, in order."""
        request.require_method("PUT", "POST")
        if not self._service.has_server:
            raise RoleMissing
        parameters = request.parameters
        addresses = parameters.all("address")
        if not addresses:
            raise JoinAddressMissing
        try:
            result = await self._service.join(addresses)
        except JoinUnavailable as error:
            joined, text = 0, str(error)
        else:
            joined = result.joined
            causes = [failure.message for failure in result.errors]
            text = combined_text(causes) if not joined and causes else ""
        return json_response({"error": text, "num_joined": joined}, is_pretty=parameters.is_pretty)
