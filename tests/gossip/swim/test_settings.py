"""The three profiles, number by number, and what settings refuse."""

from __future__ import annotations

import pytest
from rookery.gossip.swim.settings import PROFILES, SwimSettings
from rookery.gossip.wire.limits import LABEL_SIZE_MAX, META_SIZE_MAX, NODE_NAME_SIZE_MAX

FIELDS = (
    "stream_timeout",
    "indirect_checks",
    "retransmit_mult",
    "suspicion_mult",
    "suspicion_timeout_max_mult",
    "push_pull_interval",
    "probe_interval",
    "probe_timeout",
    "awareness_score_max",
    "gossip_nodes",
    "gossip_interval",
    "gossip_to_the_dead_time",
    "packet_budget",
    "dead_node_reclaim_time",
    "compression",
)

TABLE = {
    "lan": (10.0, 3, 4, 4, 6, 30.0, 1.0, 0.5, 8, 3, 0.2, 30.0, 1400, 0.0, True),
    "wan": (30.0, 3, 4, 6, 6, 60.0, 5.0, 3.0, 8, 4, 0.5, 60.0, 1400, 0.0, True),
    "local": (1.0, 1, 2, 3, 6, 15.0, 1.0, 0.2, 8, 3, 0.1, 15.0, 1400, 0.0, True),
}


def settings(profile: str = "lan", **values: object) -> SwimSettings:
    return SwimSettings.profile(
        profile, **{"node_name": "own", "address": bytes(4), "port": 7946, **values}
    )


@pytest.mark.parametrize("profile", TABLE)
def test_profiles_are_those_of_memberlist(profile: str) -> None:
    """All members of a pool must time alike, so each number counts."""
    made = settings(profile)
    assert tuple(getattr(made, field) for field in FIELDS) == TABLE[profile]


def test_every_profile_is_tested() -> None:
    """A profile that is added needs its row above."""
    assert set(PROFILES) == set(TABLE)


def test_values_may_be_set_over_a_profile() -> None:
    """What is given wins, the rest is the profile's."""
    made = settings("wan", probe_interval=2.0)
    assert made.probe_interval == 2.0
    assert made.suspicion_mult == 6


@pytest.mark.parametrize(
    "values",
    [
        {"node_name": "n" * NODE_NAME_SIZE_MAX},
        {"address": bytes(16)},
        {"port": 1},
        {"port": 65535},
        {"label": "l" * LABEL_SIZE_MAX},
        {"indirect_checks": 0},
        {"dead_node_reclaim_time": 0.0},
        {"packet_budget": META_SIZE_MAX + 1},
    ],
)
def test_values_at_their_limit_are_taken(values: dict[str, object]) -> None:
    """A limit is the last value that works."""
    for key, value in values.items():
        assert getattr(settings(**values), key) == value


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"node_name": ""}, "node_name"),
        ({"node_name": "n" * (NODE_NAME_SIZE_MAX + 1)}, "node_name"),
        ({"node_name": "ä" * (NODE_NAME_SIZE_MAX // 2 + 1)}, "node_name"),
        ({"address": b""}, "address"),
        ({"address": bytes(5)}, "address"),
        ({"port": 0}, "port"),
        ({"port": 65536}, "port"),
        ({"versions": bytes(5)}, "versions"),
        ({"versions": bytes(6)}, "versions"),
        ({"label": "l" * (LABEL_SIZE_MAX + 1)}, "label"),
        ({"label": "ä" * 128}, "label"),
        ({"stream_timeout": 0.0}, "stream_timeout"),
        ({"push_pull_interval": -1.0}, "push_pull_interval"),
        ({"probe_interval": 0.0}, "probe_interval"),
        ({"probe_interval": float("nan")}, "probe_interval"),
        ({"probe_timeout": 0.0}, "probe_timeout"),
        ({"gossip_interval": 0.0}, "gossip_interval"),
        ({"retransmit_mult": 0}, "retransmit_mult"),
        ({"suspicion_mult": 0}, "suspicion_mult"),
        ({"suspicion_timeout_max_mult": 0}, "suspicion_timeout_max_mult"),
        ({"awareness_score_max": 0}, "awareness_score_max"),
        ({"gossip_nodes": 0}, "gossip_nodes"),
        ({"indirect_checks": -1}, "indirect_checks"),
        ({"gossip_to_the_dead_time": -1.0}, "gossip_to_the_dead_time"),
        ({"settling_delay": -1.0}, "settling_delay"),
        ({"dead_node_reclaim_time": -1.0}, "dead_node_reclaim_time"),
        ({"packet_budget": META_SIZE_MAX}, "packet_budget"),
        ({"packet_budget": 65001}, "packet_budget"),
        ({"nodes_max": 0}, "nodes_max"),
    ],
)
def test_impossible_values_are_refused_by_name(values: dict[str, object], name: str) -> None:
    """The error says which setting is wrong."""
    with pytest.raises(ValueError, match=name):
        settings(**values)


def test_unknown_profile_is_refused_with_the_known_ones() -> None:
    """The error says what to write instead."""
    with pytest.raises(ValueError, match="lan, wan, local"):
        settings("moon")
