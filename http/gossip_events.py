"""User events: /v1/gossip/event fires one, /v1/gossip/events shows what has happened in the pool.

Events are numbered by the agent. A reader gives the last number it has seen (`since`) and gets all
that came after it, then what is still to come; if it was away for too long, a `lost` record comes
first. Without `since` it gets what is still to come only. `follow=false` gives what is there and
ends; then `since` defaults to the beginning.

Sources: `serf event` and `serf monitor`; Nomad's `/v1/event/stream` for the form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .gossip_parameters import ACTING, READING, boolean, check_request, number, required
from .json_lines import lines_response, streamed_lines
from .parameters import INDEX_MAX
from .request import Request
from .responses import Response, json_response
from .streaming import StreamedResponse, StreamPlaces

if TYPE_CHECKING:
    from ..agent.service import AgentService

EVENT_STREAMS_MAX = 64
"""Event streams open at once on one agent. Each has a connection and up to some 200 KiB of buffers,
and every event is encoded for each. An agent is followed by a handful of programs; whoever has more
can put one reader in front."""


class FireEvent:
    """PUT or POST /v1/gossip/event?name=…&coalesce=…; the body is the payload."""

    def __init__(self, service: AgentService) -> None:
        self._service = service

    def answer(self, request: Request) -> Response:
        """Send a user event to everybody."""
        check_request(request, self._service, ACTING)
        parameters = request.parameters
        name = required(parameters, "name", "event name")
        coalesce = boolean(parameters, "coalesce", default=True)
        document = self._service.fire_event(name, request.body or b"", coalesce)
        return json_response(document, is_pretty=parameters.is_pretty)


class Events:
    """GET /v1/gossip/events?since=…&follow=…; a line an event."""

    def __init__(self, service: AgentService) -> None:
        self._service = service
        self._places = StreamPlaces(EVENT_STREAMS_MAX, "event streams")

    def answer(self, request: Request) -> Response | StreamedResponse:
        """Show events, and follow them if asked to."""
        check_request(request, self._service, READING)
        parameters = request.parameters
        since = number(parameters, "since", value_max=INDEX_MAX)
        if not boolean(parameters, "follow", default=True):
            return lines_response(self._service.events_since(since or 0).ready())
        release = self._places.take()
        feed = self._service.events_since(since)
        return streamed_lines(feed, is_endless=True, close=release, ready=feed.ready)
