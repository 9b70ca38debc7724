"""Texts of others, made fit to show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery.agent.quoting import quote, readable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", '""'),
        ("a b", '"a b"'),
        ('say "hi"\\', '"say \\"hi\\"\\\\"'),
        ("a\nb\tc\r", '"a\\nb\\tc\\r"'),
        ("\x1b[31m", '"\\x1b[31m"'),
        ("\x7f", '"\\x7f"'),
        ("né", '"né"'),
        ("\u2028", '"\\u2028"'),
        ("\U000e0001", '"\\U000e0001"'),
        ("\udcff", '"\\xff"'),
    ],
)
def test_quoted_text_is_gos(text: str, shown: str) -> None:
    """Everything that does not print is escaped."""
    assert quote(text) == shown


@given(st.text())
def test_quoted_text_prints(text: str) -> None:
    """Whatever it was, the result is one line that can be written anywhere."""
    shown = quote(text)
    assert shown.isprintable()
    shown.encode()


@pytest.mark.parametrize(
    ("text", "shown"), [("plain", "plain"), ("né", "né"), ("a\udcffb", "a\ufffdb")]
)
def test_bytes_that_are_no_text_become_the_replacement_character(text: str, shown: str) -> None:
    """Undecodable bytes of a peer do not break an encoder."""
    assert readable(text) == shown
    readable(text).encode()
