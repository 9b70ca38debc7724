"""Looking into the pool: coordinates, round-trip times, why a member has its status; and our tags.

All under /v1/gossip/ and GET, but for `tags`, which PUT and POST change.

Sources: `serf rtt` and `serf tags`; evidence is ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ..agent.quoting import quote
from .faults import CodedFault
from .gossip_parameters import ACTING, READING, check_request, required
from .json_reading import BodyError, read_fields, read_json
from .request import Request
from .responses import Response, json_response

if TYPE_CHECKING:
    from ..agent.service import AgentService

_TAG_FIELDS = {"Set": "map[string]string", "Delete": "[]string"}


class Insight:
    """The endpoints that only look."""

    def __init__(self, service: AgentService) -> None:
        self._service = service

    def answer_coordinates(self, request: Request) -> Response:
        """Show where members stand in the network: a list, by name."""
        check_request(request, self._service, READING)
        return json_response(self._service.coordinates(), is_pretty=request.parameters.is_pretty)

    def answer_rtt(self, request: Request) -> Response:
        """Estimate the round trip between `?from=…` (default: this agent) and `&to=…`."""
        check_request(request, self._service, READING)
        parameters = request.parameters
        other = required(parameters, "to", "node to estimate the round trip to")
        own = f"{self._service.node_name}.{self._service.region}"
        document = self._service.rtt(parameters.first("from") or own, other)
        return json_response(document, is_pretty=parameters.is_pretty)

    def answer_evidence(self, request: Request) -> Response:
        """Show why `?node=…` has its status."""
        check_request(request, self._service, READING)
        parameters = request.parameters
        node = required(parameters, "node", "node to show evidence of")
        try:
            document = self._service.evidence(node)
        except LookupError:
            raise CodedFault(404, f"Unknown node {quote(node)}") from None
        return json_response(document, is_pretty=parameters.is_pretty)


class Tags:
    """GET, PUT or POST /v1/gossip/tags; the body is `{"Set":{…},"Delete":[…]}`."""

    def __init__(self, service: AgentService) -> None:
        self._service = service

    def answer(self, request: Request) -> Response:
        """Show this agent's tags, changed before if asked to."""
        check_request(request, self._service, READING + ACTING)
        if request.method in READING:
            tags = self._service.tags()
        else:
            try:
                fields = read_fields(read_json(request.body), "api.TagsRequest", _TAG_FIELDS)
            except BodyError as error:
                raise CodedFault(400, f"Invalid request: {error}") from error
            tags = self._service.set_tags(
                cast("dict[str, str]", fields.get("Set", {})),
                cast("list[str]", fields.get("Delete", [])),
            )
        return json_response(tags, is_pretty=request.parameters.is_pretty)
