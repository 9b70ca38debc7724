"""The fake agent of these tests has the shape of the real one, so that neither can drift alone."""

from __future__ import annotations

import inspect

import pytest
from rookery.agent.service import AgentService
from rookery.gossip.pool import JoinError, JoinResult

METHODS = [
    "members_version",
    "members_document",
    "join",
    "self_document",
    "health",
    "force_leave",
    "keyring",
    "fire_event",
    "events_since",
    "query",
    "reachability",
    "respond",
    "coordinates",
    "rtt",
    "evidence",
    "tags",
    "set_tags",
]


@pytest.mark.parametrize("name", METHODS)
def test_fake_has_the_methods_of_the_real_service(service, name) -> None:
    """The same parameters in the same order, and async where the real one is."""
    fake, real = getattr(type(service), name), getattr(AgentService, name)
    assert [(p.name, p.kind) for p in inspect.signature(fake).parameters.values()] == [
        (p.name, p.kind) for p in inspect.signature(real).parameters.values()
    ]
    assert inspect.iscoroutinefunction(fake) == inspect.iscoroutinefunction(real)


def test_fake_has_the_attributes_of_the_real_service(service) -> None:
    """What the fake holds in place of an agent's facts is what the real one is made from."""
    taken = set(inspect.signature(AgentService.__init__).parameters)
    for name in ("node_name", "region", "datacenter", "has_server", "has_client"):
        assert name in taken
        assert hasattr(service, name)
    assert "response_headers" in taken


def test_fake_join_result_has_the_fields_of_the_real_one(join_result) -> None:
    """The join endpoint reads `joined` and `errors`, and of each error its message."""
    real = JoinResult(joined=1, errors=(JoinError(address="a", message="b"),))
    fake = join_result(1, "b")
    assert (fake.joined, [error.message for error in fake.errors]) == (
        real.joined,
        [error.message for error in real.errors],
    )
