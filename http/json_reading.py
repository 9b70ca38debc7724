r"""Request bodies of JSON, read as Go's decoder reads them, with its words for what is wrong.

Clients and their tests compare these texts, so the reader follows Go's scanner step by step: of a
body it reads the first value and no more, an object's fields match in any case and the last of a
name counts, `null` leaves a field as it was, what is no Unicode becomes U+FFFD. The first wrong
type is the one reported. We differ where a field that holds others is repeated: Go puts the two
together, here the last one counts as everywhere.

`read_json` gives the value: None, bool, text, `Number` (kept as written), list, or `Object` (pairs
in order, so that nothing is lost before names are matched). `read_fields` then fills in the fields
an endpoint knows; their types are those of `TYPES`. It is written for the small bodies of commands:
`JSON_SIZE_MAX` and `NESTING_MAX` bound it.

Where it comes from (public API): `decodeBody` in Nomad's `command/agent/http.go`; `scanner.go` and
`decode.go` of Go's `encoding/json`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias, Union

from ..agent.quoting import quote

JSON_SIZE_MAX = 16 * 1024
"""Bytes of a body that is read here. The largest there is, a set of tags, has a few hundred. The
event loop waits for the reading: a body of this size, all commas and digits, takes some 20 ms."""

NESTING_MAX = 64
"""Objects and lists inside each other. Endpoints know two levels; Go stops at 10,000, with the same
text."""

_SPACE = re.compile(rb"[ \t\r\n]*")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_LITERALS: Mapping[bytes, tuple[bytes, bool | None]] = {
    b"t": (b"true", True),
    b"f": (b"false", False),
    b"n": (b"null", None),
}
_ESCAPES = {
    b'"': '"',
    b"\\": "\\",
    b"/": "/",
    b"b": "\b",
    b"f": "\f",
    b"n": "\n",
    b"r": "\r",
    b"t": "\t",
}
_SHOWN_BY_GO = {
    "'": "\\'",
    '\\"': '"',
    "\\x07": "\\a",
    "\\x08": "\\b",
    "\\x0b": "\\v",
    "\\x0c": "\\f",
}
"""Characters that Go shows in another way between single quotes than we do between double ones."""

_HEXADECIMAL = frozenset(b"0123456789abcdefABCDEF")
_DIGITS = frozenset(b"0123456789")


class BodyError(ValueError):
    """A body that cannot be read; `str()` is Go's text."""


class Number(NamedTuple):
    """A number as it is written."""

    text: str


class Object(NamedTuple):
    """An object's fields in order, repeated ones too."""

    pairs: list[tuple[str, JsonValue]]


JsonValue: TypeAlias = Union[bool, str, Number, "list[JsonValue]", Object, None]


def read_json(body: bytes | None) -> JsonValue:
    """Return the first value of a body.

    Args:
        body: As `Request.body` has it; None if none was announced.

    Raises:
        BodyError: There is none, or it is no JSON.
    """
    if body is None:
        raise BodyError("Request body is empty")
    if len(body) > JSON_SIZE_MAX:
        raise BodyError(
            f"request body of {len(body)} bytes exceeds the limit of {JSON_SIZE_MAX} bytes"
        )
    return _Reader(body).read()


def read_fields(value: JsonValue, struct: str, fields: Mapping[str, str]) -> dict[str, object]:
    """Return the known fields of a body that were given.

    Args:
        value: The body's value.
        struct: The name of Go's type, with its package, for the error texts.
        fields: Names with their types, keys of `TYPES`.

    Raises:
        BodyError: A field, or the body, is of another type.
    """
    if value is None:
        return {}
    if not isinstance(value, Object):
        raise BodyError(f"json: cannot unmarshal {_kind(value)} into Go value of type {struct}")
    exact = {name: name for name in fields}
    folded = {name.lower(): name for name in fields}
    found: dict[str, object] = {}
    for key, field_value in value.pairs:
        name = exact.get(key) or folded.get(key.lower())
        if name is None or field_value is None:
            continue
        place = f"Go struct field {struct.rpartition('.')[2]}.{name}"
        found[name] = TYPES[fields[name]](field_value, place)
    return found


def _text(value: JsonValue, place: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _mismatch(value, place, "string")
    return value


def _texts(value: JsonValue, place: str) -> list[str]:
    if not isinstance(value, list):
        raise _mismatch(value, place, "[]string")
    return [_text(element, place) for element in value]


def _text_map(value: JsonValue, place: str) -> dict[str, str]:
    if not isinstance(value, Object):
        raise _mismatch(value, place, "map[string]string")
    return {key: _text(element, place) for key, element in value.pairs}


TYPES: Mapping[str, Callable[[JsonValue, str], object]] = {
    "string": _text,
    "[]string": _texts,
    "map[string]string": _text_map,
}
"""Go's name of a type, and what reads it. A new type of field has its place here."""


def _mismatch(value: JsonValue, place: str, wanted: str) -> BodyError:
    return BodyError(f"json: cannot unmarshal {_kind(value)} into {place} of type {wanted}")


def _kind(value: JsonValue) -> str:
    """Return Go's word for the kind of a value that is not null."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, Number):
        return "number"
    return "object" if isinstance(value, Object) else "array"


class _Reader:
    """Reads one value out of bytes, from the left to the right, once."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._depth = 0

    def read(self) -> JsonValue:
        if self._skip_space() == b"":
            raise BodyError("EOF")
        return self._value()

    def _value(self) -> JsonValue:
        character = self._skip_space()
        if character == b'"':
            return self._string()
        if character == b"{":
            return self._nested(self._object)
        if character == b"[":
            return self._nested(self._list)
        if character in _LITERALS:
            return self._literal(character)
        if character == b"-" or character.isdigit():
            return self._number()
        raise self._bad("looking for beginning of value")

    def _nested(self, read: Callable[[], JsonValue]) -> JsonValue:
        self._depth += 1
        if self._depth > NESTING_MAX:
            raise BodyError("exceeded max depth")
        self._at += 1
        value = read()
        self._at += 1
        self._depth -= 1
        return value

    def _object(self) -> Object:
        pairs: list[tuple[str, JsonValue]] = []
        if self._skip_space() == b"}":
            return Object(pairs)
        while True:
            if self._skip_space() != b'"':
                raise self._bad("looking for beginning of object key string")
            key = self._string()
            if self._skip_space() != b":":
                raise self._bad("after object key")
            self._at += 1
            pairs.append((key, self._value()))
            character = self._skip_space()
            if character == b"}":
                return Object(pairs)
            if character != b",":
                raise self._bad("after object key:value pair")
            self._at += 1

    def _list(self) -> list[JsonValue]:
        values: list[JsonValue] = []
        if self._skip_space() == b"]":
            return values
        while True:
            values.append(self._value())
            character = self._skip_space()
            if character == b"]":
                return values
            if character != b",":
                raise self._bad("after array element")
            self._at += 1

    def _literal(self, first: bytes) -> bool | None:
        word, value = _LITERALS[first]
        for position in range(1, len(word)):
            self._at += 1
            if self._here() != word[position : position + 1]:
                name, wanted = word.decode(), chr(word[position])
                raise self._bad(f"in literal {name} (expecting {wanted!r})")
        self._at += 1
        return value

    def _number(self) -> Number:
        match = _NUMBER.match(self._data, self._at)
        end = match.end() if match else self._at + 1  # a lone `-`
        text = self._data[self._at : end]
        self._at = end
        following = self._here()
        if match is None:
            raise self._bad("in numeric literal")
        if following == b"." and b"." not in text and not {*b"eE"} & {*text}:
            self._at += 1
            raise self._bad("after decimal point in numeric literal")
        if following in (b"e", b"E") and not {*b"eE"} & {*text}:
            self._at += 1
            if self._here() in (b"+", b"-"):
                self._at += 1
            raise self._bad("in exponent of numeric literal")
        return Number(text.decode("ascii"))

    def _string(self) -> str:
        parts: list[str] = []
        self._at += 1
        while True:
            plain = _PLAIN.match(self._data, self._at)
            assert plain is not None  # it matches nothing at least
            parts.append(plain[0].decode("utf-8", "replace"))
            self._at = plain.end()
            character = self._here()
            if character == b'"':
                self._at += 1
                return _joined(parts)
            if character != b"\\":
                raise self._bad("in string literal")
            self._at += 1
            parts.append(self._escape())

    def _escape(self) -> str:
        character = self._here()
        if character == b"u":
            for _ in range(4):
                self._at += 1
                if not self._here() or self._here()[0] not in _HEXADECIMAL:
                    raise self._bad("in \\u hexadecimal character escape")
            self._at += 1
            return chr(int(self._data[self._at - 4 : self._at], 16))
        if character not in _ESCAPES:
            raise self._bad("in string escape code")
        self._at += 1
        return _ESCAPES[character]

    def _here(self) -> bytes:
        return self._data[self._at : self._at + 1]

    def _skip_space(self) -> bytes:
        space = _SPACE.match(self._data, self._at)
        assert space is not None  # it matches nothing at least
        self._at = space.end()
        return self._here()

    def _bad(self, where: str) -> BodyError:
        """Return the error for the character here, which is none that may come."""
        character = self._here()
        if not character:
            return BodyError("unexpected EOF")
        shown = quote(chr(character[0]))[1:-1]
        shown = _SHOWN_BY_GO.get(shown, shown)
        return BodyError(f"invalid character '{shown}' {where}")


def _joined(parts: list[str]) -> str:
    """Return a string's parts as one text, halves of a pair put together, lone ones replaced."""
    text = "".join(parts)
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
