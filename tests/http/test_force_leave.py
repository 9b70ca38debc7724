"""PUT|POST /v1/agent/force-leave: check order, `prune`, an answer without a body."""

from __future__ import annotations

import pytest
from rookery.agent.service import ForceLeaveError, GossipUnavailable

FORCE_LEAVE = "/v1/agent/force-leave"


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_success_has_no_body_at_all(service, exchange, method) -> None:
    """Neither type nor encoding, even for who takes gzip: Go's client would choke on them."""
    answer = await exchange(f"{FORCE_LEAVE}?node=a.global", method, {"Accept-Encoding": "gzip"})
    assert (answer.status, answer.body, answer.header("content-length")) == (200, b"", "0")
    assert answer.header("content-type") is None
    assert answer.header("content-encoding") is None
    assert service.forced == [("a.global", False)]


@pytest.mark.parametrize(
    ("query", "prune"),
    [
        ("", False),
        ("&prune", False),
        ("&prune=", False),
        ("&prune=0", False),
        ("&prune=False", False),
        ("&prune=1", True),
        ("&prune=t", True),
        ("&prune=TRUE&prune=0", True),
    ],
)
async def test_prune_is_a_boolean(service, exchange, query, prune) -> None:
    """In any of Go's spellings; absent and empty are false, the first value counts."""
    assert (await exchange(f"{FORCE_LEAVE}?node=a{query}", "PUT")).status == 200
    assert service.forced == [("a", prune)]


@pytest.mark.parametrize("value", ["yes", "tRUE", "2", "-1", "%20"])
async def test_prune_that_is_none_is_refused(service, exchange, value) -> None:
    """With Nomad's text, after the node was found to be there."""
    answer = await exchange(f"{FORCE_LEAVE}?node=a&prune={value}", "PUT")
    assert (answer.status, answer.text) == (400, "invalid prune value")
    assert service.forced == []


@pytest.mark.parametrize("query", ["", "?node=", "?node=&node=a", "?Node=a", "?prune=x"])
async def test_node_is_needed(service, exchange, query) -> None:
    """Only the first value counts, and it is looked at before `prune`."""
    answer = await exchange(FORCE_LEAVE + query, "PUT")
    assert (answer.status, answer.text) == (400, "missing node to force leave")
    assert service.forced == []


async def test_server_role_is_checked_before_the_node(service, exchange) -> None:
    """Without the role it is 501 with the words of a wrong method."""
    service.has_server = False
    answer = await exchange(FORCE_LEAVE, "PUT")
    assert (answer.status, answer.text) == (501, "Invalid method")


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_method_is_checked_first(service, exchange, method) -> None:
    """Even where nothing could be forced."""
    service.has_server = False
    answer = await exchange(FORCE_LEAVE, method)
    assert (answer.status, answer.text) == (405, "" if method == "HEAD" else "Invalid method")


@pytest.mark.parametrize(
    "error",
    [
        ForceLeaveError("timed out broadcasting node removal"),
        GossipUnavailable("the pool is not running"),
    ],
)
async def test_failure_is_500_with_its_text(service, exchange, error) -> None:
    """As the agent words it."""
    service.refuses = error
    answer = await exchange(f"{FORCE_LEAVE}?node=a", "PUT")
    assert (answer.status, answer.text) == (500, str(error))


async def test_body_and_blocking_parameters_are_ignored(service, exchange) -> None:
    """A body is thrown away whatever it says."""
    answer = await exchange(f"{FORCE_LEAVE}?node=a&wait=x&index=x", "PUT", body=b"{not json")
    assert (answer.status, service.forced) == (200, [("a", False)])
