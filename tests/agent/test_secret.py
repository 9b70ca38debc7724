"""A secret shows itself to nobody but `reveal`."""

from __future__ import annotations

import json
import pickle

import msgspec
import pytest
from rookery.agent.secret import Secret
from rookery.agent.settings import AgentSettings, Server

TEXT = "cg8StVXbQJ0gPvMd9o7yrg=="


@pytest.mark.parametrize(
    "show", [str, repr, "{}".format, "{!r:>30}".format, lambda secret: f"{secret:s}", ascii]
)
def test_secret_is_not_in_any_text_made_of_it(show: object) -> None:
    """Printing, formatting and representing a secret does not show it."""
    assert TEXT not in show(Secret(TEXT))  # type: ignore[operator]


def test_secret_is_not_in_settings_that_are_printed() -> None:
    """A dump of the settings does not show the gossip key."""
    settings = AgentSettings(server=Server(encrypt=Secret(TEXT)))
    assert TEXT not in repr(settings)
    assert "<redacted>" in repr(settings)


def test_secret_is_not_serialised() -> None:
    """JSON and pickle refuse a secret."""
    with pytest.raises(TypeError):
        json.dumps(Secret(TEXT))
    with pytest.raises(TypeError):
        msgspec.json.encode(Secret(TEXT))
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret(TEXT))


def test_empty_secret_is_false_and_shows_nothing() -> None:
    """An unset secret reads as unset."""
    assert not Secret()
    assert str(Secret()) == ""
    assert Secret(TEXT)


def test_secrets_compare_by_their_text() -> None:
    """Equal texts are equal secrets, with equal hashes; a secret is no string."""
    assert Secret(TEXT) == Secret(TEXT)
    assert hash(Secret(TEXT)) == hash(Secret(TEXT))
    assert Secret(TEXT) != Secret("x")
    assert Secret(TEXT) != TEXT
    assert Secret(TEXT).reveal() == TEXT
