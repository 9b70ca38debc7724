"""msgpack as the Go peers use it: structs as maps of sorted keys, in the old spec.

Writing: `pack` yields raw strings only (never str8 or bin). The caller builds each dict with its
keys in byte order, so that our bytes equal Go's. Text is `str`; bytes that are not UTF-8 come in as
lone surrogates ("surrogateescape") and go out as the very bytes they were, so that a foreign name
is passed on unharmed.

Reading: one object is unpacked with `raw=True`, so every text or byte string arrives as `bytes`,
and is then taken apart by a *shape*: the struct's field names in declaration order, each with a
converter. A converter turns what msgpack gave into the field's value or raises `MalformedInput`;
None (nil on the wire, or a missing key) gives the zero value. What is accepted follows the readers
of go-msgpack v1.1 and v2 (the wider of the generations): str8 and bin for text, byte lists as
arrays of numbers, structs as arrays in declaration order, nil anywhere, unknown keys, bytes after
the object. What all generations refuse is refused: negative or oversized numbers, floats for
integers, numbers for text, keys that are no strings. One rarity which they accept is refused: a
list as a map key.

Lengths: msgpack's decoder reserves memory for an array when it sees the header. `_array_max`
therefore bounds what all array headers in the data could reserve together; strings and maps reserve
nothing. Nesting is bounded to about a thousand by the decoder itself.

From: go-msgpack `codec/decode.go`, `codec/msgpack.go` (v0.5.5, v1.1.5, v2.1.5), run against the
same inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from itertools import chain
from typing import Any, Final, TypeAlias, TypeVar

# msgpack ships no type information; everything that comes out of it goes through the converters.
import msgpack  # type: ignore[import-untyped]

from .errors import MalformedInput, Reason
from .limits import ARRAY_ELEMENTS_MAX, ARRAY_RESERVE_MAX, MAP_PAIRS_MAX, OBJECT_SIZE_MAX

T = TypeVar("T")

Convert: TypeAlias = Callable[[object], T]
Shape: TypeAlias = tuple[tuple[bytes, Convert[Any]], ...]
"""The fields of a Go struct in declaration order: name on the wire, converter."""

U8_MAX: Final = 0xFF
U16_MAX: Final = 0xFFFF
U32_MAX: Final = 0xFFFFFFFF
U64_MAX: Final = 0xFFFFFFFFFFFFFFFF
I64_MAX: Final = 0x7FFFFFFFFFFFFFFF
I64_MIN: Final = -I64_MAX - 1

_UNPACKER_SIZE_MIN: Final = 4096
"""Bytes a stream decoder has room for at first. It grows; its own choice would be a megabyte."""

_PIECE_SIZE: Final = 16384
"""Bytes given to the stream decoder at a time, so that it never holds much more than one object."""

_packer = msgpack.Packer(use_bin_type=False, unicode_errors="surrogateescape")


def pack(value: object) -> bytes:
    """Encode dicts, lists, text, bytes, numbers, booleans and None in the old msgpack spec.

    Raises:
        ValueError: Text with a lone surrogate that stands for no byte, or a number over 64 bits.
    """
    try:
        packed: bytes = _packer.pack(value)
    except OverflowError as error:
        raise ValueError(str(error)) from error
    return packed


# --- converters: what msgpack gave -> the field's value ---


def to_u8(value: object) -> int:
    """Read an 8 bit number."""
    return _to_unsigned(value, U8_MAX)


def to_u16(value: object) -> int:
    """Read a 16 bit number."""
    return _to_unsigned(value, U16_MAX)


def to_u32(value: object) -> int:
    """Read a 32 bit number."""
    if type(value) is int and 0 <= value <= U32_MAX:  # by far the most frequent: no second call
        return value
    return _to_unsigned(value, U32_MAX)


def to_u64(value: object) -> int:
    """Read a 64 bit number."""
    return _to_unsigned(value, U64_MAX)


def to_i64(value: object) -> int:
    """Read a signed number (Go's `int` and `int64`)."""
    if type(value) is int and I64_MIN <= value <= I64_MAX:
        return value
    if value is None:
        return 0
    raise _bad(value, "a signed 64 bit number")


def to_bool(value: object) -> bool:
    """Read a boolean; 0 and 1 count."""
    if value is True or value is False:
        return value
    if value is None:
        return False
    if type(value) is int and 0 <= value <= 1:
        return value == 1
    raise _bad(value, "a boolean")


def to_float(value: object) -> float:
    """Read a float; whole numbers count."""
    if type(value) is float or (type(value) is int and I64_MIN <= value <= U64_MAX):
        return float(value)
    if value is None:
        return 0.0
    raise _bad(value, "a float")


def to_octets(value: object) -> bytes:
    """Read bytes; nil gives none."""
    if type(value) is bytes:
        return value
    if value is None:
        return b""
    if type(value) is list or type(value) is dict:
        return bytes(map(to_u8, _elements(value)))
    raise _bad(value, "bytes")


def to_octets_or_none(value: object) -> bytes | None:
    """Read bytes, keeping nil apart from empty."""
    return None if value is None else to_octets(value)


def to_text(value: object) -> str:
    """Read text; bytes that are not UTF-8 become lone surrogates."""
    if type(value) is bytes:
        return value.decode("utf-8", "surrogateescape")
    if value is None:
        return ""
    if type(value) is list:
        return bytes(map(to_u8, value)).decode("utf-8", "surrogateescape")
    raise _bad(value, "text")


def to_list(value: object, convert: Convert[T]) -> tuple[T, ...]:
    """Read a list, each element through `convert`; nil gives an empty one."""
    if value is None:
        return ()
    if type(value) is list or type(value) is dict:
        return tuple(map(convert, _elements(value)))
    raise _bad(value, "a list")


def _elements(value: list[object] | dict[object, object]) -> Iterable[object]:
    """Return a list's elements. A map counts as keys and values in turn, as Go reads it."""
    return value if isinstance(value, list) else chain.from_iterable(value.items())


def to_map(value: object, convert: Convert[T]) -> dict[str, T]:
    """Read a map with text keys, each value through `convert`; nil gives an empty one."""
    if type(value) is dict:
        return {to_text(key): convert(item) for key, item in value.items()}
    if value is None:
        return {}
    raise _bad(value, "a map")


def to_struct(value: object, shape: Shape) -> list[Any]:
    """Take a struct apart into its fields' values, in the order of `shape`.

    Returns:
        One value per field: what its converter made of it, the zero value where it is missing.
    """
    if type(value) is dict:
        for key in value:
            if type(key) is not bytes and key is not None:
                raise _bad(key, "a field name")
        get = value.get
        try:
            return [convert(get(key)) for key, convert in shape]
        except MalformedInput as error:
            raise _with_field_name(error, [get(key) for key, _ in shape], shape) from None
    if type(value) is list:
        # Missing elements are zero values, surplus ones are ignored.
        items = value[: len(shape)] + [None] * (len(shape) - len(value))
    elif value is None:
        items = [None] * len(shape)
    else:
        raise _bad(value, "a struct")
    try:
        return [convert(item) for item, (_, convert) in zip(items, shape, strict=True)]
    except MalformedInput as error:
        raise _with_field_name(error, items, shape) from None


def _to_unsigned(value: object, maximum: int) -> int:
    if type(value) is int and 0 <= value <= maximum:
        return value
    if value is None:
        return 0
    raise _bad(value, f"a number from 0 to {maximum}")


def _bad(value: object, wanted: str) -> MalformedInput:
    # A number has at most 20 digits; anything else may be as long as the packet.
    got = str(value) if isinstance(value, (int, float)) else type(value).__name__
    return MalformedInput(Reason.BAD_FIELD, f"{got} is not {wanted}")


def _with_field_name(error: MalformedInput, items: list[Any], shape: Shape) -> MalformedInput:
    """Name the field that made `error`: converting once more is cheaper than noting it always."""
    for item, (key, convert) in zip(items, shape, strict=True):
        try:
            convert(item)
        except MalformedInput:
            return MalformedInput(error.reason, f"{key.decode()}: {error.detail}")
    return error


# --- whole objects ---


def unpack_untrusted(data: bytes) -> object:
    """Unpack the first msgpack object in `data`; what follows it is ignored, as in Go.

    Raises:
        MalformedInput: No msgpack, incomplete, nested too deeply, or over the limits.
    """
    try:
        value: object = msgpack.unpackb(
            data,
            raw=True,
            strict_map_key=False,
            max_array_len=_array_max(data),
            max_map_len=MAP_PAIRS_MAX,
        )
    except msgpack.ExtraData as extra:
        value = extra.unpacked
    except (ValueError, TypeError) as error:
        # ValueError: bad or incomplete bytes, limits, nesting. TypeError: a list as a map key.
        raise MalformedInput(Reason.BAD_MSGPACK, _text(error)) from None
    return value


def unpack_struct_untrusted(data: bytes, shape: Shape) -> list[Any]:
    """Unpack one struct; see `to_struct`.

    Raises:
        MalformedInput: As `unpack_untrusted`, or a field that cannot be read.
    """
    return to_struct(unpack_untrusted(data), shape)


def pack_struct(fields: Mapping[str, object]) -> bytes:
    """Encode a struct whose fields may come in any order: a convenience for rare messages."""
    return pack(dict(sorted(fields.items())))


def _array_max(data: bytes) -> int:
    """Return the longest array to allow, so that all headers together reserve little.

    Only the array16 and array32 headers (dc, dd) can declare more than 15 elements. These byte
    values also occur inside strings, so the count is an upper bound of the headers.
    """
    headers = data.count(b"\xdc") + data.count(b"\xdd")
    if headers * ARRAY_ELEMENTS_MAX <= ARRAY_RESERVE_MAX:
        return ARRAY_ELEMENTS_MAX
    return max(15, ARRAY_RESERVE_MAX // headers)


def _text(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:200]


class Container(Enum):
    """What a header announces."""

    NIL = "nil"
    LIST = "list"
    MAP = "map"


class NeedMore(Exception):
    """What arrived so far ends inside the object. Not an error: it never leaves this package."""


class ObjectReader:
    """Reads msgpack objects and raw bytes off a byte stream that arrives in pieces.

    Nothing is reserved from a declared length: an object counts once it is there, and one that is
    still incomplete after `OBJECT_SIZE_MAX` bytes is refused. Longer byte strings are read by
    `read_octets` and `read_raw`, whose callers say how long they may be.

    The methods that read raise `NeedMore`, with everything left as it was, while bytes are missing,
    and `MalformedInput`, after which the reader is of no more use. Each byte is looked at a bounded
    number of times, however small the pieces are.
    """

    __slots__ = ("_base", "_buffer", "_fed", "_origin", "_start", "_unpacker")

    def __init__(self, data: bytes = b"") -> None:
        # Positions count from the first byte ever fed. The buffer keeps what has not been read,
        # and a little more, so that cutting its front off stays rare.
        self._buffer = bytearray(data)
        self._base = 0  # position of the buffer's first byte
        self._start = 0  # position of what is read next
        self._unpacker: Any = None  # only while objects are being read
        self._origin = 0  # position at which it began
        self._fed = 0  # position up to which it has the bytes

    def feed(self, data: bytes) -> None:
        """Add what arrived."""
        self._buffer += data

    def peek(self) -> int:
        """Return the next byte and leave it there."""
        index = self._start - self._base
        if index >= len(self._buffer):
            raise NeedMore
        return self._buffer[index]

    def read_raw(self, size: int) -> bytes:
        """Return the next `size` bytes. They are awaited, so `size` has been checked before."""
        index = self._start - self._base
        if len(self._buffer) - index < size:
            raise NeedMore
        raw = bytes(memoryview(self._buffer)[index : index + size])
        self._skip(size)
        return raw

    def read_rest(self) -> bytes:
        """Return all bytes that are there and not yet read."""
        return self.read_raw(len(self._buffer) - (self._start - self._base))

    def read_object(self) -> object:
        """Return the next object."""
        unpacker = self._open()
        while True:
            try:
                value: object = unpacker.unpack()
            except msgpack.OutOfData:
                self._supply()
            except (ValueError, TypeError) as error:
                raise MalformedInput(Reason.BAD_MSGPACK, _text(error)) from None
            else:
                self._advance(self._origin + unpacker.tell())
                return value

    def read_struct(self, shape: Shape) -> list[Any]:
        """Return the next struct's fields; see `to_struct`."""
        return to_struct(self.read_object(), shape)

    def read_header(self, elements_max: int) -> tuple[Container, int]:
        """Read the start of a list or map whose elements are then read one by one.

        Returns:
            The kind and the number of elements or pairs; `Container.NIL` and 0 for nil.

        Raises:
            MalformedInput: Something else, or more than `elements_max` elements are declared.
        """
        first = self.peek()
        if first == 0xC0:
            self._skip(1)
            return Container.NIL, 0
        if 0x80 <= first <= 0x8F:
            kind, size, count = Container.MAP, 1, first & 0x0F
        elif 0x90 <= first <= 0x9F:
            kind, size, count = Container.LIST, 1, first & 0x0F
        elif first in _WIDE_HEADERS:
            kind, size = _WIDE_HEADERS[first]
            count = self._number_at(1, size - 1)
        else:
            raise MalformedInput(Reason.BAD_FIELD, f"{first:#04x} starts no list, map or nil")
        if count > elements_max:
            raise MalformedInput(Reason.TOO_MANY, f"{count} elements, at most {elements_max}")
        self._skip(size)
        return kind, count

    def read_octets(self, size_max: int) -> bytes | None:
        """Return the next object if it is a byte string; None, and nothing is read, if it is not.

        Raises:
            MalformedInput: It declares more than `size_max` bytes.
        """
        first = self.peek()
        if 0xA0 <= first <= 0xBF:
            size, length = 1, first & 0x1F
        elif first in _STRING_HEADERS:
            size = _STRING_HEADERS[first]
            length = self._number_at(1, size - 1)
        else:
            return None
        if length > size_max:
            raise MalformedInput(Reason.TOO_LARGE, f"{length} bytes, at most {size_max}")
        if len(self._buffer) - (self._start - self._base) < size + length:
            raise NeedMore
        self._skip(size)
        return self.read_raw(length)

    def _number_at(self, offset: int, size: int) -> int:
        index = self._start - self._base + offset
        if len(self._buffer) < index + size:
            raise NeedMore
        return int.from_bytes(self._buffer[index : index + size], "big")

    def _open(self) -> Any:
        """Return the unpacker; a new one if bytes were read without it since."""
        if self._unpacker is None:
            self._unpacker = msgpack.Unpacker(
                raw=True,
                strict_map_key=False,
                read_size=_UNPACKER_SIZE_MIN,
                max_buffer_size=2 * OBJECT_SIZE_MAX,
                max_array_len=ARRAY_ELEMENTS_MAX,
                max_map_len=MAP_PAIRS_MAX,
            )
            self._origin = self._fed = self._start
        return self._unpacker

    def _supply(self) -> None:
        """Give the unpacker more bytes of the object it is reading."""
        given = self._fed - self._start
        if given >= OBJECT_SIZE_MAX:
            raise MalformedInput(Reason.TOO_LARGE, f"one object has over {OBJECT_SIZE_MAX} bytes")
        index = self._fed - self._base
        piece = self._buffer[index : index + min(_PIECE_SIZE, OBJECT_SIZE_MAX - given)]
        if not piece:
            raise NeedMore
        self._unpacker.feed(piece)
        self._fed += len(piece)

    def _skip(self, size: int) -> None:
        """Note that bytes were read without the unpacker, which does not know of that."""
        self._unpacker = None
        self._advance(self._start + size)

    def _advance(self, position: int) -> None:
        """Note what was read, and let go of it."""
        self._start = position
        used = position - self._base
        if used >= _PIECE_SIZE:
            del self._buffer[:used]
            self._base = position


_WIDE_HEADERS: Final = {
    0xDC: (Container.LIST, 3),
    0xDD: (Container.LIST, 5),
    0xDE: (Container.MAP, 3),
    0xDF: (Container.MAP, 5),
}
"""Kind and size of the headers that do not hold their number in one byte."""

_STRING_HEADERS: Final = {0xC4: 2, 0xC5: 3, 0xC6: 5, 0xD9: 2, 0xDA: 3, 0xDB: 5}
"""Size of the headers of byte strings (bin and str families), the number included."""
