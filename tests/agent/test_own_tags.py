"""The agent's own tags: three layers, and what must not be changed."""

from __future__ import annotations

import pytest
from rookery.agent.own_tags import PROTECTED, OwnTags, TagRefused
from rookery.agent.server_tags import server_tags
from rookery.agent.settings import AgentSettings, Server

BASE = OwnTags({"role": "nomad"}, {"rack": "7", "row": "1"})


def test_settings_add_to_what_the_agent_needs() -> None:
    """Its own tags win."""
    assert BASE.merged() == {"role": "nomad", "rack": "7", "row": "1"}
    assert OwnTags({"role": "nomad"}, {"role": "x"}).merged() == {"role": "nomad"}


def test_changes_stay_over_settings_read_again() -> None:
    """A tag that was set or deleted stays so; all others follow the settings."""
    changed = BASE.with_changes({"rack": "8"}, ["row", "nothing"])
    assert changed.merged() == {"role": "nomad", "rack": "8"}
    reloaded = changed.with_settings({"rack": "9", "row": "2", "new": "1"})
    assert reloaded.merged() == {"role": "nomad", "rack": "8", "new": "1"}
    assert BASE.merged()["rack"] == "7"


def test_of_set_and_delete_the_set_wins() -> None:
    """As Serf has it."""
    assert BASE.with_changes({"a": "1"}, ["a"]).merged()["a"] == "1"
    assert BASE.with_changes({}, ["a"]).with_changes({"a": "2"}, []).merged()["a"] == "2"


@pytest.mark.parametrize("name", sorted(PROTECTED))
def test_tags_of_the_agent_cannot_be_changed(name: str) -> None:
    """Neither set nor deleted, whether it carries them or not."""
    for changes in (({name: "x"}, []), ({}, [name])):
        with pytest.raises(TagRefused, match=f'"{name}" is the agent'):
            BASE.with_changes(*changes)


def test_all_tags_of_a_server_are_protected() -> None:
    """Whatever it may carry."""
    settings = AgentSettings(server=Server(enabled=True, bootstrap_expect=1))
    assert set(server_tags(settings, server_id="x", rpc_host="h", rpc_port=1)) <= PROTECTED


def test_tag_needs_a_name() -> None:
    """An empty one would be nobody's."""
    with pytest.raises(TagRefused, match="needs a name"):
        BASE.with_changes({"": "x"}, [])
