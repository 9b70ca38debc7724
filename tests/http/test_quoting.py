"""Quoted text: one printable line, whatever was sent."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rookery.http.quoting import quoted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", '""'),
        ("node-1", '"node-1"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("\n\t\r", '"\\n\\t\\r"'),
        ("\x00\x07\x1f\x7f", '"\\x00\\x07\\x1f\\x7f"'),
        ("ü 日本", '"ü 日本"'),
        ("\x85\u2028", '"\\u0085\\u2028"'),
        ("\U000e0001", '"\\U000e0001"'),
        ("\udcff", '"\\xff"'),
    ],
)
def test_text_is_quoted(text: str, expected: str) -> None:
    """Quotes and control characters are escaped, printable characters of any script stay."""
    assert quoted(text) == expected


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_quoted_text_is_one_printable_line(data: bytes) -> None:
    """No bytes can break out of the quotes or of the line."""
    text = quoted(data.decode("utf-8", "surrogateescape"))
    assert text.isprintable()
    assert '"' not in text[1:-1].replace("\\\\", "").replace('\\"', "")
