r"""Bodies of JSON: values, fields, limits, and the texts of Go's decoder.

The texts were recorded from `encoding/json` of Go 1.26; some sixty thousand mutated bodies agreed
with it when this was written, but for the one difference the reader's own head names.
"""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery.http.json_reading import (
    JSON_SIZE_MAX,
    NESTING_MAX,
    BodyError,
    JsonValue,
    Number,
    Object,
    read_fields,
    read_json,
)

FIELDS = {"Key": "string", "Delete": "[]string", "Set": "map[string]string"}


def read(body: bytes | None) -> dict[str, object]:
    """Read a body of the fields above."""
    return read_fields(read_json(body), "main.KeyringRequest", FIELDS)


def plain(value: JsonValue) -> object:
    """Return a value as the standard library has it."""
    if isinstance(value, Number):
        return json.loads(value.text)
    if isinstance(value, Object):
        return {key: plain(field) for key, field in value.pairs}
    if isinstance(value, list):
        return [plain(element) for element in value]
    return value


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (None, "Request body is empty"),
        (b"", "EOF"),
        (b" \t\r\n", "EOF"),
        (b'{"Key":1', "unexpected EOF"),
        (b'{"Key":"abc', "unexpected EOF"),
        (b"{", "unexpected EOF"),
        (b"[1", "unexpected EOF"),
        (b"nul", "unexpected EOF"),
        (b"-", "unexpected EOF"),
        (b"1.", "unexpected EOF"),
        (b"1e", "unexpected EOF"),
        (b'"\\u12', "unexpected EOF"),
        (b'{"Key":}', "invalid character '}' looking for beginning of value"),
        (b"{Key:1}", "invalid character 'K' looking for beginning of object key string"),
        (b'{"Key":1,}', "invalid character '}' looking for beginning of object key string"),
        (b'{"Key" 1}', "invalid character '1' after object key"),
        (b'{"Key":"a" "b"}', "invalid character '\"' after object key:value pair"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b'{"Key":"a\x01"}', "invalid character '\\x01' in string literal"),
        (b'{"Key":"a\n"}', "invalid character '\\n' in string literal"),
        (b'{"Key":"\\x"}', "invalid character 'x' in string escape code"),
        (b'{"Key":"\\u12g4"}', "invalid character 'g' in \\u hexadecimal character escape"),
        (b"-x", "invalid character 'x' in numeric literal"),
        (b"1.x", "invalid character 'x' after decimal point in numeric literal"),
        (b"1e+x", "invalid character 'x' in exponent of numeric literal"),
        (b"truE", "invalid character 'E' in literal true (expecting 'e')"),
        (b"'x'", "invalid character '\\'' looking for beginning of value"),
        (b"\xff", "invalid character 'ÿ' looking for beginning of value"),
        (b"\x07", "invalid character '\\a' looking for beginning of value"),
    ],
)
def test_what_is_no_json_is_told_in_gos_words(body: bytes | None, text: str) -> None:
    """The first thing wrong decides."""
    with pytest.raises(BodyError) as caught:
        read(body)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"Key":8.5}', "number into Go struct field KeyringRequest.Key of type string"),
        (b'{"Key":true}', "bool into Go struct field KeyringRequest.Key of type string"),
        (b'{"Key":[]}', "array into Go struct field KeyringRequest.Key of type string"),
        (b'{"key":{}}', "object into Go struct field KeyringRequest.Key of type string"),
        (b"[]", "array into Go value of type main.KeyringRequest"),
        (b'"x"', "string into Go value of type main.KeyringRequest"),
        (b"01", "number into Go value of type main.KeyringRequest"),
        (b'{"Delete":"a"}', "string into Go struct field KeyringRequest.Delete of type []string"),
        (b'{"Delete":[1]}', "number into Go struct field KeyringRequest.Delete of type string"),
        (b'{"Set":[]}', "array into Go struct field KeyringRequest.Set of type map[string]string"),
        (b'{"Set":{"a":1}}', "number into Go struct field KeyringRequest.Set of type string"),
        (
            b'{"Delete":1,"Key":2}',
            "number into Go struct field KeyringRequest.Delete of type []string",
        ),
    ],
)
def test_wrong_types_are_told_in_gos_words(body: bytes, text: str) -> None:
    """With the field's own name, whatever its case in the body; the first one counts."""
    with pytest.raises(BodyError) as caught:
        read(body)
    assert str(caught.value) == f"json: cannot unmarshal {text}"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"null", {}),
        (b"{}", {}),
        (b'{"Key":null,"Set":null}', {}),
        (b'{"KEY":"a","other":[{"Key":1}]}', {"Key": "a"}),
        (b'{"Key":"a","key":"b"}', {"Key": "b"}),
        (b'{"Key":"a"} {"Key":"b"', {"Key": "a"}),
        (b'{"Delete":["a",null],"Set":{"k":null}}', {"Delete": ["a", ""], "Set": {"k": ""}}),
        (b'{"Key":"\\u00e9\\ud83d\\ude00\\ud83d\\n\\/"}', {"Key": "é\U0001f600\ufffd\n/"}),
        (b'{"Key":"a\xffb"}', {"Key": "a\ufffdb"}),
    ],
)
def test_fields_are_read_as_go_reads_them(body: bytes, fields: dict[str, object]) -> None:
    """Any case, the last one, nothing for null, nothing unknown, nothing after the first value."""
    assert read(body) == fields


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v, max_size=3)
)


@given(st.dictionaries(st.text(), values | st.dictionaries(st.text(), values, max_size=3)))
def test_any_json_is_read(document: dict[str, object]) -> None:
    """What the standard library writes comes back the same."""
    assert plain(read_json(json.dumps(document).encode())) == document
    assert plain(read_json(json.dumps(document, ensure_ascii=False).encode())) == document


@given(st.binary() | st.text(alphabet='{}[]":,\\ \ntrue0123-+.eu').map(str.encode))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """Nothing else is raised."""
    with contextlib.suppress(BodyError):
        read(body)


def test_size_at_the_limit() -> None:
    """A body of exactly the limit is read; a byte more is refused, naming both sizes."""
    body = b'{"Key":"' + b"x" * (JSON_SIZE_MAX - 10) + b'"}'
    assert len(body) == JSON_SIZE_MAX
    assert read(body)
    with pytest.raises(BodyError, match="body of 16385 bytes exceeds the limit of 16384 bytes"):
        read(body + b" ")


def test_nesting_at_the_limit() -> None:
    """As deep as may be is read; one deeper is refused."""
    depth = NESTING_MAX
    assert read_json(b"[" * depth + b"]" * depth)
    with pytest.raises(BodyError, match="exceeded max depth"):
        read_json(b"[" * (depth + 1) + b"]" * (depth + 1))
