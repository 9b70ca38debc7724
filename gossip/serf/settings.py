"""Settings of the Serf layer, around those of SWIM."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..swim.settings import SwimSettings
from .members import Member

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
