"""How long a suspicion lasts: the Lifeguard timer that confirmations shorten.

The first accuser starts the timer at its maximum. Every further node that says the same on its own
brings it down on a logarithmic curve, and with `k` confirmations it is at its minimum. A lone
accuser, who may be the slow one, thus waits long; a pool that agrees is quick.

Sources: Lifeguard, section "Dynamic Suspicion Timeout"; memberlist: suspicion.go
(remainingSuspicionTime), util.go (suspicionTimeout), state.go (suspectNode, for k).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field


def confirmations_wanted(suspicion_mult: int, nodes: int) -> int:
    """Return k: how many confirmations bring a suspicion to its minimum.

    Two of `suspicion_mult` stand for the accuser and the suspect; a pool too small to give k gives
    0.
    """
    wanted = suspicion_mult - 2
    return 0 if nodes - 2 < wanted else wanted


def suspicion_timeout_min(suspicion_mult: int, nodes: int, probe_interval: float) -> float:
    """Return the shortest suspicion in seconds, for a table of `nodes` entries (our own included).

    `suspicion_mult * max(1, log10(nodes)) * probe_interval`, the logarithm's part cut to a
    thousandth as in Go.
    """
    scale = max(1.0, math.log10(max(1.0, float(nodes))))
    return suspicion_mult * (int(scale * 1000) / 1000) * probe_interval


def suspicion_timeout(confirmations: int, k: int, timeout_min: float, timeout_max: float) -> float:
    """Return the total length of a suspicion in seconds, measured from its start.

    `max(min, max - (max - min) * log(confirmations + 1) / log(k + 1))`, whole milliseconds; `min`
    when k < 1.
    """
    if k < 1:
        return timeout_min
    fraction = math.log(confirmations + 1.0) / math.log(k + 1.0)
    raw = timeout_max - fraction * (timeout_max - timeout_min)
    return max(timeout_min, math.floor(1000.0 * raw) / 1000.0)


@dataclass(slots=True)
class Suspicion:
    """One running suspicion of one node.

    Attributes:
        started: When it began, engine seconds.
        k: Confirmations that bring it to `timeout_min`.
        accuser: Who started it; does not count as a confirmation.
        confirmers: Who confirmed, in order; at most `k` are kept, more make no difference.
    """

    started: float
    k: int
    timeout_min: float
    timeout_max: float
    accuser: str
    confirmers: list[str] = field(default_factory=list)

    def confirm(self, accuser: str) -> bool:
        """Count `accuser`; return whether that was news (and so worth passing on)."""
        if len(self.confirmers) >= self.k:
            return False
        if accuser == self.accuser or accuser in self.confirmers:
            return False
        self.confirmers.append(accuser)
        return True

    @property
    def deadline(self) -> float:
        """When the node is declared dead unless it refutes, engine seconds."""
        return self.started + suspicion_timeout(
            len(self.confirmers), self.k, self.timeout_min, self.timeout_max
        )
