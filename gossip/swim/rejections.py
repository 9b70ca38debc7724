"""Counting what was refused, and saying so without flooding.

Every refusal is counted under its reason. The owner hears of the first of a reason at once, then
at most one summary in `NOTICE_INTERVAL`, with the number since: a million bad packets make a
handful of log lines. Reasons are constants of our own code, so the table of counts is bounded;
what the peer sent is only in `detail`, which is cut.
"""

from __future__ import annotations

from collections import deque

from ..addresses import Address
from ..notices import InputRejected, Notice

NOTICE_INTERVAL = 10.0
"""Seconds between two notices of one reason."""

DETAIL_SIZE_MAX = 200
"""Characters of a detail that are kept: what a peer sent may be 64 KiB."""


class Rejections:
    """Refusals by reason, reported into the engine's notices."""

    __slots__ = ("_notices", "_reported", "counts")

    def __init__(self, notices: deque[Notice]) -> None:
        self._notices = notices
        self._reported: dict[str, tuple[float, int]] = {}
        self.counts: dict[str, int] = {}

    def record(self, reason: str, source: Address | None, detail: str, *, now: float) -> None:
        """Count one refusal."""
        reason = str(reason)
        count = self.counts.get(reason, 0) + 1
        self.counts[reason] = count
        last = self._reported.get(reason)
        if last is None or now - last[0] >= NOTICE_INTERVAL:
            reported = 0 if last is None else last[1]
            self._reported[reason] = (now, count)
            cut = detail if len(detail) <= DETAIL_SIZE_MAX else detail[:DETAIL_SIZE_MAX] + "…"
            self._notices.append(InputRejected(reason, source, cut, count - reported))
