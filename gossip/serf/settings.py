"""Settings of the Serf layer, around those of SWIM."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..swim.settings import SwimSettings
from .events import USER_EVENT_SIZE_MAX
from .members import Member
from .snapshot import Remembered

Admission = Callable[[Sequence[Member]], str | None]
"""Looks at the members a push-pull or alive message shows; a text refuses to be one pool with
them, and says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SerfSettings:
    """How one member takes part."""

    swim: SwimSettings
    """Who we are on the wire, and all timing."""

    tags: Mapping[str, str] = field(default_factory=dict)
    """What we say about ourselves; encoded at most 512 bytes."""

    admit: Admission | None = None
    """Refuses pools and nodes that we must not be mixed with; None admits all. Must be pure and
    quick: it sees every new node and every push-pull."""

    reconnect_interval: float = 30.0
    """Seconds between tries to reach somebody who is missing. Shorter heals sooner; each try is a
    TCP dial."""

    reconnect_timeout: float = 86400.0
    """Seconds a failed member stays in the table. Serf has a day, Nomad three."""

    tombstone_timeout: float = 86400.0
    """Seconds a member that left stays in the table, so that old gossip about it is recognised."""

    user_event_size_limit: int = 512
    """Bytes of a user event that we send, before and after encoding; Serf's default. At most 9216,
    and what does not fit a gossip packet is never sent."""

    has_coordinates: bool = True
    """Put our coordinate into acks and learn from those of others."""

    resolves_conflicts: bool = True
    """Hold a vote when our own name is claimed by another address. Nomad has it off."""

    remembered: Remembered | None = None
    """What an earlier life of ours knew: clocks go on from there and its members are looked
    for."""

    def __post_init__(self) -> None:
        """Refuse what could not work."""
        for name in ("reconnect_interval", "reconnect_timeout", "tombstone_timeout"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0 seconds, not {getattr(self, name)}")
        if not 0 < self.user_event_size_limit <= USER_EVENT_SIZE_MAX:
            raise ValueError(
                f"user_event_size_limit must be 1 to {USER_EVENT_SIZE_MAX} bytes,"
                f" not {self.user_event_size_limit}"
            )
