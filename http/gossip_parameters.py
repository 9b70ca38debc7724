"""What the endpoints under /v1/gossip/ have in common: their checks, and readings of parameters.

They are ours; docs/gossip-api.md describes them. Each checks, in this order, its method (405), the
server role (501, with the words Nomad has for it), (the token: `agent:read` to look, `agent:write`
to act, with the ACLs), and its parameters (400).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..agent.durations import parse_duration
from .faults import CodedFault, RoleMissing
from .parameters import Parameters
from .request import Request

if TYPE_CHECKING:
    from ..agent.service import AgentService

READING = ("GET",)
ACTING = ("PUT", "POST")


def check_request(request: Request, service: AgentService, methods: tuple[str, ...]) -> None:
    """Check what comes before the parameters.

    Raises:
        InvalidMethod: The method is none of these.
        RoleMissing: The agent is no server, and so has no part in the pool.
    """
    request.require_method(*methods)
    if not service.has_server:
        raise RoleMissing


def required(parameters: Parameters, name: str, what: str) -> str:
    """Return a parameter that must be there.

    Raises:
        CodedFault: It is not, or empty; the text says that `what` is missing.
    """
    value = parameters.first(name)
    if not value:
        raise CodedFault(400, f"missing {what}")
    return value


def boolean(parameters: Parameters, name: str, *, default: bool) -> bool:
    """Return a yes or no.

    Raises:
        CodedFault: It is neither.
    """
    try:
        value = parameters.boolean(name)
    except ValueError:
        raise CodedFault(400, f"invalid {name} value") from None
    return default if value is None else value


def number(parameters: Parameters, name: str, *, value_max: int) -> int | None:
    """Return a number from 0 on, None when it was not given.

    Raises:
        CodedFault: It is none, or too large.
    """
    text = parameters.first(name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(value_max))):
        raise CodedFault(400, f"invalid {name} value")
    if int(text) > value_max:
        raise CodedFault(400, f"invalid {name} value")
    return int(text)


def duration(parameters: Parameters, name: str) -> float | None:
    """Return seconds, None when they were not given.

    Raises:
        CodedFault: It is no duration, or none that anything can take.
    """
    text = parameters.first(name)
    if not text:
        return None
    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = -1.0
    if seconds <= 0:
        raise CodedFault(400, f"invalid {name} value")
    return seconds
