"""Base64 as Go reads it, and where Go says a fault is."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery.agent.go_base64 import IllegalBase64, decode_base64


@given(st.binary(max_size=40), st.integers(0, 80))
def test_what_is_encoded_decodes(data: bytes, position: int) -> None:
    """Also with a line break anywhere."""
    text = base64.b64encode(data).decode()
    assert decode_base64(text) == data
    assert decode_base64(text[:position] + "\r\n" + text[position:]) == data


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("!", 0),
        ("AA!A", 2),
        ("AAAA!", 4),
        ("A", 0),
        ("AA", 0),
        ("AAA", 0),
        ("AAAAA", 4),
        ("AAAA\nAA", 5),
        ("=", 0),
        ("A===", 1),
        ("AA=", 3),
        ("AA=A", 2),
        ("AA==A", 4),
        ("AAA=A", 4),
        ("AAA==", 4),
        ("AAAA=", 4),
        ("AA=\n", 4),
        ("AA-_", 2),
        ("é", 0),
        ("AAAA AAAA", 4),
    ],
)
def test_fault_is_told_where_go_finds_it(text: str, position: int) -> None:
    """As a byte position, in Go's words."""
    with pytest.raises(IllegalBase64, match=rf"^illegal base64 data at input byte {position}$"):
        decode_base64(text)


def fault_of(text: str) -> int:
    """Return the position told for a text, 0 when it is sound."""
    try:
        decode_base64(text)
    except IllegalBase64 as error:
        return int(str(error).rpartition(" ")[2])
    return 0


@given(st.text(max_size=20))
def test_any_text_decodes_or_is_told_where_not(text: str) -> None:
    """The position is within the text, or just behind it."""
    assert 0 <= fault_of(text) <= len(text.encode())
