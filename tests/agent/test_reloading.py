"""Settings read again: what differs, and what is taken over."""

from __future__ import annotations

import msgspec
from rookery.agent.reloading import RELOADABLE, changed_settings, take_over
from rookery.agent.settings import DEV_MODE, AgentSettings, Gossip, Server, ServerJoin

NEW = msgspec.structs.replace(
    DEV_MODE,
    name="other",
    log_level="ERROR",
    gossip=Gossip(label="x", tags={"a": "1"}),
    server=Server(enabled=True, bootstrap_expect=1, server_join=ServerJoin(retry_max=3)),
)


def test_settings_that_differ_are_named_with_their_section() -> None:
    """Sections within sections too."""
    assert changed_settings(DEV_MODE, NEW) == [
        "name",
        "log_level",
        "server.server_join.retry_max",
        "gossip.label",
        "gossip.tags",
    ]
    assert changed_settings(NEW, NEW) == []


def test_only_the_named_ones_are_taken_over() -> None:
    """The rest stays what the agent runs with."""
    effective = take_over(DEV_MODE, NEW, ["log_level", "gossip.tags"])
    assert changed_settings(DEV_MODE, effective) == ["log_level", "gossip.tags"]
    assert effective.gossip.tags == {"a": "1"}


def test_reloadable_settings_exist() -> None:
    """A name misspelt here would never be applied."""
    for name in RELOADABLE:
        take_over(AgentSettings(), AgentSettings(), [name])
