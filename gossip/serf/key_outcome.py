"""How a key operation over the pool went, in the words of Go's key manager."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class KeyOutcome:
    """How a key operation went.

    Attributes:
        nodes: Live members when it was asked.
        responses: Members that answered.
        failures: Members that said no.
        messages: Member → its words, where it had any.
        keys: Key in base64 → how many members hold it; of a list only.
        primary_keys: Key in base64 → of how many members it is the primary; of a list only.
    """

    nodes: int
    responses: int
    failures: int
    messages: dict[str, str] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    primary_keys: dict[str, int] = field(default_factory=dict)

    @property
    def error(self) -> str | None:
        """Why it failed in Go's words, None when everybody agreed."""
        if self.failures:
            return f"{self.failures}/{self.nodes} nodes reported failure"
        if self.responses != self.nodes:
            return f"{self.responses}/{self.nodes} nodes reported success"
        return None
