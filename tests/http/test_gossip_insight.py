"""/v1/gossip/coordinates, /rtt, /evidence and /tags."""

from __future__ import annotations

import pytest
from rookery.agent.service import GossipUnavailable, TagRefused
from rookery.gossip.serf.tags import TagsTooLarge

COORDINATES = "/v1/gossip/coordinates"
RTT = "/v1/gossip/rtt"
EVIDENCE = "/v1/gossip/evidence"
TAGS = "/v1/gossip/tags"


async def test_coordinates_are_a_list(exchange) -> None:
    """Numbers always show a fraction."""
    answer = await exchange(COORDINATES)
    assert (answer.status, answer.header("content-type")) == (200, "application/json")
    assert answer.text == (
        '[{"Adjustment":0.0,"Error":1.5,"Height":0.00001,"Node":"a","Vec":[0.5,0.0]}]'
    )


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("from=a&to=b", '{"From":"a","RTT":0.0125,"To":"b"}'),
        ("to=b", '{"From":"bacon-mac.global","RTT":0.0125,"To":"b"}'),
        ("from=&to=b&to=c", '{"From":"bacon-mac.global","RTT":0.0125,"To":"b"}'),
        ("from=a&to=nobody", '{"From":"a","RTT":null,"To":"nobody"}'),
    ],
)
async def test_round_trip_is_estimated_in_seconds(exchange, query, text) -> None:
    """From this agent unless told otherwise; what cannot be estimated is null."""
    answer = await exchange(f"{RTT}?{query}")
    assert (answer.status, answer.text) == (200, text)


async def test_evidence_is_of_one_member(exchange) -> None:
    """As the agent gives it."""
    answer = await exchange(f"{EVIDENCE}?node=a.global")
    assert (answer.status, answer.text) == (
        200,
        '{"Evidence":[],"Name":"a.global","Status":"failed"}',
    )


async def test_stranger_is_404(exchange) -> None:
    """With Nomad's text for nodes nobody knows."""
    answer = await exchange(f"{EVIDENCE}?node=nobody")
    assert (answer.status, answer.text) == (404, 'Unknown node "nobody"')


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (RTT, "missing node to estimate the round trip to"),
        (f"{RTT}?from=a", "missing node to estimate the round trip to"),
        (EVIDENCE, "missing node to show evidence of"),
        (f"{EVIDENCE}?node=", "missing node to show evidence of"),
    ],
)
async def test_missing_node_is_400(exchange, target, text) -> None:
    """Nothing to look for."""
    answer = await exchange(target)
    assert (answer.status, answer.text) == (400, text)


@pytest.mark.parametrize(
    ("path", "good"),
    [
        (COORDINATES, ["GET"]),
        (RTT, ["GET"]),
        (EVIDENCE, ["GET"]),
        (TAGS, ["GET", "PUT", "POST"]),
    ],
)
async def test_method_then_role_are_checked_first(service, exchange, path, good) -> None:
    """Whatever the parameters and the body are."""
    service.has_server = False
    for method in {"GET", "PUT", "POST", "DELETE", "HEAD"}.difference(good):
        assert (await exchange(path, method)).status == 405
    for method in good:
        answer = await exchange(path, method, body=b"{")
        assert (answer.status, answer.text) == (501, "Invalid method")


async def test_pretty(exchange) -> None:
    """Indents these answers too."""
    assert (await exchange(f"{TAGS}?pretty")).text == '{\n    "dc": "dc1"\n}\n'
    assert (await exchange(f"{COORDINATES}?pretty")).text.startswith("[\n    {\n        ")


# Tags


async def test_tags_are_shown(service, exchange) -> None:
    """Nothing is changed by looking, body or not."""
    answer = await exchange(TAGS, body=b'{"Set":{"a":"b"}}')
    assert (answer.status, answer.text) == (200, '{"dc":"dc1"}')
    assert service.tags_changed == []


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize(
    ("body", "changes"),
    [
        (b'{"Set":{"a":"b","c":""},"Delete":["d"]}', ({"a": "b", "c": ""}, ["d"])),
        (b'{"delete":["d","e"]}', ({}, ["d", "e"])),
        (b"{}", ({}, [])),
        (b"null", ({}, [])),
        (b'{"Set":null,"Delete":null,"x":1}', ({}, [])),
    ],
)
async def test_tags_are_changed(service, exchange, method, body, changes) -> None:
    """The answer is what they are then."""
    answer = await exchange(TAGS, method, body=body)
    assert (answer.status, answer.text) == (200, '{"dc":"dc1"}')
    assert service.tags_changed == [changes]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "Request body is empty"),
        (b" ", "EOF"),
        (b"{", "unexpected EOF"),
        (
            b'{"Set":{"a":1}}',
            "json: cannot unmarshal number into Go struct field TagsRequest.Set of type string",
        ),
        (
            b'{"Delete":"a"}',
            "json: cannot unmarshal string into Go struct field TagsRequest.Delete"
            " of type []string",
        ),
    ],
)
async def test_unreadable_change_is_400(service, exchange, body, text) -> None:
    """With the decoder's reason."""
    answer = await exchange(TAGS, "PUT", body=body)
    assert (answer.status, answer.text) == (400, f"Invalid request: {text}")
    assert service.tags_changed == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TagRefused('tag "dc" is the agent\'s own and cannot be changed'), 400),
        (TagsTooLarge(600), 400),
        (GossipUnavailable("the pool is not running"), 500),
    ],
)
async def test_refused_change_has_the_agents_text(service, exchange, error, status) -> None:
    """Tags that are not the operator's, or too many."""
    service.refuses = error
    answer = await exchange(TAGS, "PUT", body=b'{"Set":{"dc":"x"}}')
    assert (answer.status, answer.text) == (status, str(error))
