"""What the agent answers to queries by itself."""

from __future__ import annotations

import json

import pytest
from rookery.agent.query_responses import QueryResponses

INFO = {"version": "1", "node": "ä"}


@pytest.mark.parametrize(
    ("texts", "name", "answer"),
    [
        ({}, "uptime", None),
        ({"uptime": "3 days"}, "uptime", b"3 days"),
        ({"uptime": "3 days"}, "load", None),
        ({"uptime": "3 days", "*": "what?"}, "load", b"what?"),
        ({"uptime": "3 days", "*": "what?"}, "uptime", b"3 days"),
        ({"uptime": ""}, "uptime", b""),
        ({"rookery.info": "secret"}, "rookery.info", b"secret"),
        ({"half": "\ud800"}, "half", b"?"),
    ],
)
def test_query_is_answered_by_its_text(
    texts: dict[str, str], name: str, answer: bytes | None
) -> None:
    """Its own, else that of `*`, else nothing."""
    assert QueryResponses(INFO, texts).answer(name) == answer


def test_one_query_is_answered_by_default() -> None:
    """What the agent is, as JSON, also when any other is answered by `*`."""
    answer = QueryResponses(INFO, {"*": "what?"}).answer("rookery.info")
    assert answer is not None
    assert json.loads(answer) == INFO


def test_texts_can_be_read_again() -> None:
    """What was there before is gone."""
    responses = QueryResponses(INFO, {"a": "1"})
    responses.reload({"b": "2"})
    assert (responses.answer("a"), responses.answer("b")) == (None, b"2")
