"""GET /v1/agent/health: which roles are asked for, and the two shapes of the answer."""

from __future__ import annotations

import pytest

HEALTH = "/v1/agent/health"


async def test_all_well_is_200_in_sorted_order(service, exchange) -> None:
    """Keys sorted at both levels, as JSON."""
    service.checks = {"server": (True, "ok"), "client": (True, "ok")}
    answer = await exchange(HEALTH)
    assert answer.status == 200
    assert answer.header("content-type") == "application/json"
    assert answer.text == (
        '{"client":{"message":"ok","ok":true},"server":{"message":"ok","ok":true}}'
    )


async def test_anything_else_is_500_in_declared_order(service, exchange) -> None:
    """`ok` before `message`, `text/plain`, never indented."""
    service.checks = {"server": (True, "ok"), "client": (False, "no known servers")}
    for query in ("", "?pretty"):
        answer = await exchange(HEALTH + query)
        assert answer.status == 500
        assert answer.header("content-type") == "text/plain; charset=utf-8"
        assert answer.text == (
            '{"client":{"ok":false,"message":"no known servers"},'
            '"server":{"ok":true,"message":"ok"}}'
        )


async def test_pretty_indents_the_good_answer(exchange) -> None:
    """When all is well `pretty` counts."""
    answer = await exchange(HEALTH + "?pretty")
    assert answer.text == (
        '{\n    "server": {\n        "message": "ok",\n        "ok": true\n    }\n}\n'
    )


@pytest.mark.parametrize(
    ("query", "roles"),
    [
        ("", None),
        ("?type=server", {"server"}),
        ("?type=client", {"client"}),
        ("?type=client&type=server", {"client", "server"}),
        ("?type=foo&type=server", {"server"}),
        ("?type=foo", set()),
        ("?type=", set()),
        ("?type", set()),
        ("?type=SERVER", set()),
    ],
)
async def test_type_names_the_roles(service, exchange, query, roles) -> None:
    """All values count, presence counts even when empty, unknown values name nothing."""
    await exchange(HEALTH + query)
    assert service.health_asked == [(None if roles is None else frozenset(roles), False)]


async def test_naming_nothing_is_well(exchange) -> None:
    """`?type=foo` asks for no role, and none of none is ill."""
    answer = await exchange(HEALTH + "?type=foo")
    assert (answer.status, answer.text) == (200, "{}")


async def test_lacking_role_has_failed(exchange) -> None:
    """A role asked for by name must be there; the other one is left out."""
    answer = await exchange(HEALTH + "?type=client")
    assert (answer.status, answer.text) == (
        500,
        '{"client":{"ok":false,"message":"client not enabled"}}',
    )


@pytest.mark.parametrize("query", ["stale", "stale=", "stale=false", "stale=0"])
async def test_presence_alone_means_stale(service, exchange, query) -> None:
    """Whatever its value, `stale` asks for an answer at once."""
    await exchange(f"{HEALTH}?{query}")
    assert service.health_asked == [(None, True)]


async def test_checks_come_in_order(service, exchange) -> None:
    """Method, `wait`, `index`; then only the roles."""
    answer = await exchange(HEALTH + "?wait=x", "PUT")
    assert (answer.status, answer.text) == (405, "Invalid method")
    answer = await exchange(HEALTH + "?wait=x&index=x")
    assert (answer.status, answer.text) == (400, "Invalid wait time")
    answer = await exchange(HEALTH + "?index=x")
    assert (answer.status, answer.text) == (400, "Invalid index")
    assert service.health_asked == []
