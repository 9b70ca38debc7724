"""From exceptions to statuses and texts: the one table of what goes wrong.

A handler raises; it never writes an error itself. An exception is one of

* a `Fault` type listed in `FAULTS`, which fixes status and text;
* a `CodedFault`, which carries both, for errors whose text holds a value;
* an error of the agent listed in `AGENT_FAULTS`, whose own text is told;
* anything with a plain text meant for the client (`PlainFault`): 500, unless the text *ends in*
one
  of the suffixes below, which then is the whole answer. Errors that crossed agents arrive with
  prefixes in front, and the suffix rule hides them;
* anything else: a defect of ours. The client gets a bare 500, the log gets the traceback.

Where it comes from (public API): Nomad's `HTTPServer.wrap` and `CodedError` in
`command/agent/http.go`. We differ in the last case, where it closes the connection without an
answer.
"""

from __future__ import annotations

from typing import NamedTuple

from ..agent.service import (
    EventRefused,
    ForceLeaveError,
    GossipUnavailable,
    KeyringRequestError,
    QueryRefused,
    TagRefused,
)
from ..gossip.serf.tags import TagsTooLarge


class Fault(Exception):
    """Something the client did wrong, or asked for in vain; its type is in `FAULTS`."""


class InvalidMethod(Fault):
    """The endpoint does not have this method."""


class RoleMissing(Fault):
    """The agent lacks the role that could answer."""


class InvalidWait(Fault):
    """`wait` is no duration."""


class InvalidIndex(Fault):
    """`index` is no unsigned number."""


class JoinAddressMissing(Fault):
    """A join without any address."""


class ForceLeaveNodeMissing(Fault):
    """A force-leave of nobody."""


class InvalidPrune(Fault):
    """`prune` is neither true nor false."""


class OperationUnknown(Fault):
    """A subtree has no such operation."""


class CodedFault(Exception):
    """An error with a status of its own; `str()` is the answer's text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class PlainFault(Exception):
    """An error without a status; `str()` is the answer's text, but for the suffix rule."""


class Outcome(NamedTuple):
    """What the client is told.

    Attributes:
        status: The HTTP status.
        text: The body.
        is_defect: Whether it is our own failure, to be logged with its traceback.
    """

    status: int
    text: str
    is_defect: bool = False


FAULTS: dict[type[Fault], Outcome] = {
    InvalidMethod: Outcome(405, "Invalid method"),
    RoleMissing: Outcome(501, "Invalid method"),
    InvalidWait: Outcome(400, "Invalid wait time"),
    InvalidIndex: Outcome(400, "Invalid index"),
    JoinAddressMissing: Outcome(400, "missing address to join"),
    ForceLeaveNodeMissing: Outcome(400, "missing node to force leave"),
    InvalidPrune: Outcome(400, "invalid prune value"),
    OperationUnknown: Outcome(404, "resource not found"),
}

AGENT_FAULTS: dict[type[Exception], int] = {
    EventRefused: 400,
    QueryRefused: 400,
    TagRefused: 400,
    TagsTooLarge: 400,
    ForceLeaveError: 500,
    GossipUnavailable: 500,
    KeyringRequestError: 500,
}
"""What the agent raises and a client is to read."""

SUFFIXES: dict[str, Outcome] = {
    text: Outcome(403, text) for text in ("Permission denied", "ACL token not found")
}

DEFECT = Outcome(500, "Internal Server Error", is_defect=True)


def outcome_of(error: Exception) -> Outcome:
    """Return what to answer for an exception out of a handler."""
    if isinstance(error, Fault):
        return FAULTS.get(type(error), DEFECT)
    if isinstance(error, CodedFault):
        return Outcome(error.status, str(error))
    status = AGENT_FAULTS.get(type(error), 500)
    if status != 500:
        return Outcome(status, str(error))
    if isinstance(error, PlainFault) or type(error) in AGENT_FAULTS:
        text = str(error)
        for suffix, outcome in SUFFIXES.items():
            if text.endswith(suffix):
                return outcome
        return Outcome(500, text)
    return DEFECT


def combined_text(causes: list[str]) -> str:
    """Return several causes as one text, in the form of Go's multierror library."""
    noun = "error" if len(causes) == 1 else "errors"
    listed = "\n\t".join(f"* {cause}" for cause in causes)
    return f"{len(causes)} {noun} occurred:\n\t{listed}\n\n"
