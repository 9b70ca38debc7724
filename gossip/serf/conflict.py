"""Who keeps a contested name: a vote of the pool, asked by each of those who claim it.

When somebody claims our name at another address, we ask everybody which address they know the name
by. Members of that very name have no vote. With fewer than half of the votes for us we lose, and
the owner should shut down: two nodes of one name make the whole pool flap.

Unlike Go, an agent that gets no vote at all stays: nobody's silence is a majority against us, and
two agents alone would otherwise both go.
Source: serf serf.go (resolveNodeConflict).
"""

from __future__ import annotations

from collections.abc import Callable

from ..notices import NameConflictLost
from ..swim.outbox import Outbox
from ..wire.errors import MalformedInput
from .asking import Asking, PendingQuery, QueryRefused, Question
from .messages import ConflictResponse, decode_serf_message_untrusted


class ConflictVote:
    """Asks for a vote about our own name, one at a time."""

    def __init__(
        self, own_name: str, address: bytes, port: int, asking: Asking, outbox: Outbox
    ) -> None:
        self._own_name = own_name
        self._address = address
        self._port = port
        self._asking = asking
        self._outbox = outbox
        self._is_running = False

    def start(self, *, now: float) -> None:
        """Ask, unless a vote is under way."""
        if self._is_running:
            return
        votes: list[bool] = []

        def take(_sender: str, payload: bytes) -> None:
            try:
                response = decode_serf_message_untrusted(payload)
            except MalformedInput:
                return  # no vote
            if isinstance(response, ConflictResponse):
                member = response.member
                votes.append(
                    member is not None
                    and (member.address, member.port) == (self._address, self._port)
                )

        question = Question(
            name="_serf_conflict", payload=self._own_name.encode("utf-8", "surrogateescape")
        )
        try:
            self._asking.ask(question, now=now, on_response=take, on_finished=self._finisher(votes))
        except QueryRefused as error:
            self._outbox.remark("conflict_vote_not_held", "warning", error=str(error))
            return
        self._is_running = True

    def _finisher(self, votes: list[bool]) -> Callable[[PendingQuery, float], None]:
        def finish(_pending: PendingQuery, _now: float) -> None:
            self._is_running = False
            matching, majority = sum(votes), len(votes) // 2 + 1
            if not votes:
                self._outbox.remark("conflict_vote_without_voters", "warning", node=self._own_name)
            elif matching >= majority:
                self._outbox.remark(
                    "conflict_vote_won", "warning", matching=matching, votes=len(votes)
                )
            else:
                self._outbox.notices.append(NameConflictLost(self._own_name, matching, len(votes)))

        return finish
