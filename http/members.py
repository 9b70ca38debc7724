"""GET /v1/agent/members: the member table.

Check order: method, `wait` and `index`, then the answer. It is the API's busiest endpoint and its
largest answer, so the encoded document is kept (plain, pretty and their gzip forms) until the
table changes; a request that finds it unchanged costs no encoding at all.

Where it comes from (public API): Nomad's `AgentMembersRequest` in
`command/agent/agent_endpoint.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .encoding import Body, encode_json
from .request import Request
from .responses import JSON_TYPE, Response

if TYPE_CHECKING:
    from ..agent.service import AgentService


class Members:
    """The endpoint and its kept answers."""

    def __init__(self, service: AgentService) -> None:
        self._service = service
        self._version: int | None = None
        self._bodies: dict[bool, Body] = {}

    def answer(self, request: Request) -> Response:
        """Answer with every member this agent knows, whatever its status."""
        request.require_method("GET")
        parameters = request.parameters
        parameters.check_blocking()
        return Response(200, self._body(is_pretty=parameters.is_pretty), JSON_TYPE)

    def _body(self, *, is_pretty: bool) -> Body:
        version = self._service.members_version()
        if version != self._version:
            self._version = version
            self._bodies.clear()
        body = self._bodies.get(is_pretty)
        if body is None:
            body = Body(encode_json(self._service.members_document(), is_pretty=is_pretty))
            self._bodies[is_pretty] = body
        return body
