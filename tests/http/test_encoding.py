"""JSON and gzip bodies have the form that Nomad's clients compare with."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rookery.http.encoding import EMPTY, Body, accepts_gzip, encode_json


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, b"{}"),
        ([], b"[]"),
        ("", b'""'),
        ({"b": 1, "a": [1, 2], "Z": None, "_": True}, b'{"Z":null,"_":true,"a":[1,2],"b":1}'),
        ({"\uffff": 1, "\U0001f600": 2}, '{"\uffff":1,"\U0001f600":2}'.encode()),
        ([{"b": 1, "a": 2}], b'[{"a":2,"b":1}]'),
        ({"f": 99.0, "g": 0.5, "i": 2**63 - 1}, b'{"f":99.0,"g":0.5,"i":9223372036854775807}'),
        ("<redacted> & co", b'"<redacted> & co"'),
        ('/\\"', b'"/\\\\\\""'),
        ("\n\r\t\b\f\x00\x1f", b'"\\n\\r\\t\\b\\f\\u0000\\u001f"'),
        ("ü日\U0001f600", '"ü日\U0001f600"'.encode()),
        ("a\u2028b\u2029", b'"a\\u2028b\\u2029"'),
        ("a\udcffb", b'"a\\ufffdb"'),
        (b"\xe2\x82".decode("utf-8", "surrogateescape"), b'"\\ufffd\\ufffd"'),
        (
            {"k\udcff": ["\udcfe\u2028", 1.0, {"b": "\n", "a": None}]},
            b'{"k\\ufffd":["\\ufffd\\u2028",1.0,{"a":null,"b":"\\n"}]}',
        ),
    ],
)
def test_json_is_compact_sorted_and_utf8(document: Any, expected: bytes) -> None:
    """Keys in byte order, floats with a fraction, text raw but for what must be escaped."""
    assert encode_json(document) == expected


def test_pretty_json_has_four_spaces_and_a_newline() -> None:
    """Indented by four, `": "` after keys, empty containers closed up, one newline at the end."""
    document = {"b": {}, "a": [], "c": {"x": [1, {"y": None}]}, "d": "a,b:{}[]"}
    assert encode_json(document, is_pretty=True).decode() == (
        "{\n"
        '    "a": [],\n'
        '    "b": {},\n'
        '    "c": {\n'
        '        "x": [\n'
        "            1,\n"
        "            {\n"
        '                "y": null\n'
        "            }\n"
        "        ]\n"
        "    },\n"
        '    "d": "a,b:{}[]"\n'
        "}\n"
    )


@pytest.mark.parametrize("text", ["ok", "no \udcff"])
def test_unsorted_json_keeps_its_order(text: str) -> None:
    """The failing health answer keeps the order it was made in, also with odd bytes in it."""
    encoded = encode_json({"ok": False, "message": text}, is_sorted=False)
    assert encoded.startswith(b'{"ok":false,"message":"')


TEXTS = st.binary(max_size=12).map(lambda data: data.decode("utf-8", "surrogateescape"))
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def marked(document: Any) -> Any:
    """Return a document with every byte that is no UTF-8 replaced, as its reader will see it."""
    if isinstance(document, str):
        return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in document)
    if isinstance(document, list):
        return [marked(item) for item in document]
    if isinstance(document, dict):
        return {marked(key): marked(value) for key, value in document.items()}
    return document


@settings(deadline=None, max_examples=60)
@given(DOCUMENTS, st.booleans())
def test_any_document_reads_back(document: Any, is_pretty: bool) -> None:
    """Whatever text peers put into it, an answer is UTF-8 and JSON, and means the same."""
    encoded = encode_json(document, is_pretty=is_pretty)
    text = encoded.decode("utf-8")
    assert "\u2028" not in text
    keys = marked(document)
    if keys == document:  # replaced keys may fall together
        assert json.loads(text) == document
    else:
        json.loads(text)


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (b"", False),
        (b"gzip", True),
        (b"GZIP", True),
        (b"gzip, deflate, br", True),
        (b"deflate,gzip;q=0.5", True),
        (b"gzip ; q=0.001", True),
        (b"gzip;q=0", False),
        (b"gzip;q=0.0", False),
        (b"gzip;q=-1", False),
        (b"gzip;q=x", False),
        (b"gzip;x=1", True),
        (b"gzip;q=1, gzip;q=0", False),
        (b"x-gzip", False),
        (b"*", False),
        (b"identity", False),
        (b",;,", False),
        (b"\xff\xfe", False),
    ],
)
def test_gzip_must_be_named_with_a_weight(header: bytes, accepted: bool) -> None:
    """Only `gzip` itself with a weight above zero counts; a wildcard does not."""
    assert accepts_gzip(header) is accepted


def test_body_is_compressed_once() -> None:
    """The gzip form decodes to the plain one, and is kept: the same object at each use."""
    body = Body(b'{"Members":[]}' * 100)
    assert gzip.decompress(body.compressed) == body.plain
    assert len(body.compressed) < len(body.plain) / 10
    assert body.compressed is body.compressed
    assert EMPTY.plain == b""
