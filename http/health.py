"""GET /v1/agent/health: are the agent's roles well?

Check order: method, `wait` and `index`, then the check; no token is looked at. `type`, when given,
names the roles to check (its values count all, and a value that names no role names nothing). All
well is 200; anything else is 500 with the same facts, but as `text/plain`, each role's `ok` before
its `message`, and never indented. Clients read the body whatever the status.

Where it comes from (public API): Nomad's `HealthRequest` in `command/agent/agent_endpoint.go`.
"""

from __future__ import annotations

from ..agent.service import CLIENT_ROLE, SERVER_ROLE, AgentService
from .encoding import Body, encode_json
from .request import Request
from .responses import TEXT_TYPE, Response, json_response

_ROLES = frozenset({CLIENT_ROLE, SERVER_ROLE})


class Health:
    """The endpoint."""

    def __init__(self, service: AgentService) -> None:
        self._service = service

    async def answer(self, request: Request) -> Response:
        """Answer with the state of the roles asked for."""
        request.require_method("GET")
        parameters = request.parameters
        parameters.check_blocking()
        roles = _ROLES.intersection(parameters.all("type")) if parameters.has("type") else None
        checked = await self._service.health(roles, stale=parameters.has("stale"))
        # The failing answer keeps this order; the good one is sorted, which is the same for the
        # roles.
        document = {
            role: {"ok": is_ok, "message": message}
            for role, (is_ok, message) in sorted(checked.items())
        }
        if all(is_ok for is_ok, _ in checked.values()):
            return json_response(document, is_pretty=parameters.is_pretty)
        return Response(500, Body(encode_json(document, is_sorted=False)), TEXT_TYPE)
