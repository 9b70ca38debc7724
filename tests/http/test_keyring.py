"""/v1/agent/keyring/…: operations, bodies, failures with Nomad's texts."""

from __future__ import annotations

import json

import pytest
from rookery.agent.service import KeyringRequestError
from rookery.gossip.serf.key_outcome import KeyOutcome

KEYRING = "/v1/agent/keyring"
KEY = "cg8StVXbQJ0gPvMd9o7yrg=="
BODY = json.dumps({"Key": KEY}).encode()


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "FOO"])
async def test_list_counts_keys(service, exchange, method) -> None:
    """Any method will do, and a body is not looked at; the answer is exact to the byte."""
    service.key_outcome = KeyOutcome(3, 3, 0, {"a.global": "truncated"}, {KEY: 3}, {KEY: 3})
    answer = await exchange(f"{KEYRING}/list", method, body=b"{not json")
    assert (answer.status, answer.header("content-type")) == (200, "application/json")
    assert answer.text == (
        '{"Keys":{"cg8StVXbQJ0gPvMd9o7yrg==":3},"Messages":{"a.global":"truncated"},"NumNodes":3}'
    )
    assert service.keys_asked == [("list", "")]


@pytest.mark.parametrize("operation", ["install", "use", "remove"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_changes_take_the_key_from_the_body(service, exchange, operation, method) -> None:
    """Its name in any case; the answer's maps are there, and empty."""
    answer = await exchange(f"{KEYRING}/{operation}", method, body=BODY.replace(b"Key", b"kEY"))
    assert answer.text == '{"Keys":{},"Messages":{},"NumNodes":1}'
    assert service.keys_asked == [(operation, KEY)]


async def test_pretty(exchange) -> None:
    """Indented, empty maps as they are, one newline at the end."""
    answer = await exchange(f"{KEYRING}/list?pretty")
    assert answer.text == '{\n    "Keys": {},\n    "Messages": {},\n    "NumNodes": 1\n}\n'


@pytest.mark.parametrize(
    ("headers", "body", "text"),
    [
        ({}, b"", "Request body is empty"),
        ({"Content-Length": "0"}, b"", "Request body is empty"),
        ({}, b"  ", "EOF"),
        ({}, b'{"Key":"a', "unexpected EOF"),
        ({}, b"{Key:1}", "invalid character 'K' looking for beginning of object key string"),
        (
            {},
            b'{"Key":1}',
            "json: cannot unmarshal number into Go struct field KeyringRequest.Key of type string",
        ),
        ({}, b"[]", "json: cannot unmarshal array into Go value of type structs.KeyringRequest"),
    ],
)
async def test_undecodable_body_is_500(service, exchange, headers, body, text) -> None:
    """With the decoder's text; nothing is asked of the pool."""
    answer = await exchange(f"{KEYRING}/install", "PUT", headers, body)
    assert (answer.status, answer.text) == (500, text)
    assert answer.header("content-type") == "text/plain; charset=utf-8"
    assert service.keys_asked == []


@pytest.mark.parametrize("body", [b"{}", b"null", b'{"Key":null}', b'{"Keys":"x"}'])
async def test_body_without_a_key_is_the_empty_key(service, exchange, body) -> None:
    """The pool says what is wrong with it."""
    service.refuses = KeyringRequestError("1/1 nodes reported failure")
    answer = await exchange(f"{KEYRING}/use", "PUT", body=body)
    assert (answer.status, answer.text) == (500, "1/1 nodes reported failure")
    assert service.keys_asked == [("use", "")]


@pytest.mark.parametrize(
    "text", ["illegal base64 data at input byte 4", "2/3 nodes reported success"]
)
async def test_failure_is_500_with_its_text(service, exchange, text) -> None:
    """Of the key or of the members."""
    service.refuses = KeyringRequestError(text)
    answer = await exchange(f"{KEYRING}/install", "PUT", body=BODY)
    assert (answer.status, answer.text) == (500, text)


@pytest.mark.parametrize("name", ["", "nope", "List", "list/", "list/x", "installs"])
async def test_unknown_operation_is_404(service, exchange, name) -> None:
    """Names are exact; the body is not looked at."""
    answer = await exchange(f"{KEYRING}/{name}", "PUT", body=b"{")
    assert (answer.status, answer.text) == (404, "resource not found")
    assert service.keys_asked == []


async def test_server_role_is_checked_first(service, exchange) -> None:
    """Before the operation's name."""
    service.has_server = False
    answer = await exchange(f"{KEYRING}/nope")
    assert (answer.status, answer.text) == (501, "Invalid method")


async def test_bare_path_is_sent_to_the_subtree(exchange) -> None:
    """With the query string, whatever the method."""
    for method in ("GET", "PUT"):
        answer = await exchange(f"{KEYRING}?a=1", method)
        assert (answer.status, answer.header("location")) == (301, f"{KEYRING}/?a=1")


async def test_members_words_are_made_fit_for_json(service, exchange) -> None:
    """A name that is no UTF-8 does not break the answer."""
    service.key_outcome = KeyOutcome(1, 1, 0, {"a\udcff": "m"})
    assert '"a\ufffd":"m"' in (await exchange(f"{KEYRING}/list")).text
