"""LZW: Go's very bytes, whatever other encoders may write, and a hard stop at the limit."""

from __future__ import annotations

import contextlib
import random
import tracemalloc
from itertools import islice, pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rookery.gossip.wire.errors import MalformedInput, Reason
from rookery.gossip.wire.lzw import compress, compressed_size_min, decompress

from .lzw_codes import CLEAR, END, FIRST, encode_slowly, pack_codes, zeros

PROPERTY = settings(max_examples=150, deadline=None, derandomize=True)
NO_LIMIT = 1 << 30


@pytest.mark.parametrize(
    ("plain", "compressed"),
    [
        (b"", "000302"),
        (b"a", "00c30404"),
        (b"aaaa", "00c3080c1310"),
        (b"abababab", "00c3881148504c40"),
    ],
)
def test_small_inputs_compress_as_in_go(plain: bytes, compressed: str) -> None:
    """Known outputs of Go's encoder, in both directions, and not below the computed minimum."""
    assert compressed_size_min(plain) <= len(compressed) // 2
    assert compress(plain).hex() == compressed
    assert decompress(bytes.fromhex(compressed), len(plain)) == plain


def mixed(size: int, kinds: int, seed: int) -> bytes:
    """Return bytes of that many different values."""
    return bytes(random.Random(seed).choices(range(kinds), k=size))


@pytest.mark.parametrize("kinds", [1, 2, 16, 256])
@pytest.mark.parametrize("size", [2, 255, 256, 257, 1000, 9000])
def test_encoder_equals_the_specification(size: int, kinds: int) -> None:
    """Our encoder gives what one written down from the format's rules gives, code by code."""
    plain = mixed(size, kinds, size)
    compressed = compress(plain)
    assert compressed == encode_slowly(plain)
    assert decompress(compressed, size) == plain


def without_repeated_pairs(size: int) -> bytes:
    """Return bytes of which no two follow each other twice: each becomes a code of its own."""
    pairs = (
        pair for a in range(256) for pair in (a, *(x for b in range(a + 1, 256) for x in (a, b)))
    )
    return bytes(islice(pairs, size))


# The width changes after 255, 767 and 1791 codes; the table is full, and cleared, after 3838.
@pytest.mark.parametrize("codes", [255, 767, 1791, 3838, 3838 + 255, 2 * 3838])
@pytest.mark.parametrize("more", [-1, 0, 1, 2])
def test_width_changes_and_clears_stand_where_go_puts_them(codes: int, more: int) -> None:
    """With just as many codes as matter, a few more or less, also if nothing follows a clear."""
    plain = without_repeated_pairs(codes + more)
    compressed = compress(plain)
    assert compressed == encode_slowly(plain)
    assert decompress(compressed, len(plain)) == plain
    assert len(compressed) == compressed_size_min(plain) or codes + more > 255


@PROPERTY
@given(st.binary(max_size=400) | st.text("ab", max_size=3000).map(str.encode))
@example(b"a" * 5000)
def test_decompressing_undoes_compressing(plain: bytes) -> None:
    """Whatever is compressed comes out again, and is what the slow encoder makes of it."""
    compressed = compress(plain)
    assert compressed == encode_slowly(plain)
    assert decompress(compressed, len(plain)) == plain


@PROPERTY
@given(st.binary(max_size=300))
def test_arbitrary_bytes_decompress_or_are_malformed(data: bytes) -> None:
    """Bytes that nobody compressed raise just the one error, or are within the limit."""
    with contextlib.suppress(MalformedInput):
        assert len(decompress(data, 10_000)) <= 10_000


FOREIGN = {
    "no clear in front": ([97, 98, FIRST, END], b"abab"),
    "clears at any time": ([97, CLEAR, 98, FIRST, CLEAR, CLEAR, 99, END], b"abbbc"),
    "clear at the end": ([97, CLEAR, END], b"a"),
    "nothing": ([END], b""),
    "the string that the code itself defines": ([97, FIRST, FIRST + 1, END], b"aaaaaa"),
    "literals only": ([CLEAR, *range(255, -1, -1), END], bytes(range(255, -1, -1))),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_encoders_streams_are_read(name: str) -> None:
    """Streams that Go's reader accepts although Go's writer would not write them."""
    codes, plain = FOREIGN[name]
    assert decompress(pack_codes(codes), len(plain)) == plain
    assert decompress(pack_codes(codes) + b"what follows", len(plain)) == plain


@pytest.mark.parametrize("codes_since_clear", [200, 255, 600, 767, 1500, 1791, 3000, 3838, 5000])
def test_clear_at_any_width_starts_over(codes_since_clear: int) -> None:
    """After a clear codes have nine bits and only literals are known, whatever the width was."""
    literals = [number % 251 for number in range(codes_since_clear)]
    codes = [*literals, CLEAR, 97, FIRST, CLEAR, 98, 98, FIRST, END]
    assert decompress(pack_codes(codes), NO_LIMIT) == bytes(literals) + b"aaabbbb"


@pytest.mark.parametrize("surplus", [0, 1, 2, 700, 3000])
def test_full_table_is_used_on_without_a_clear(surplus: int) -> None:
    """Code 4095 is the last to be defined; later codes may use all and define none."""
    codes = [number % 251 for number in range(3839)]
    codes += [4095, FIRST, 97, 4094] * (surplus // 4 + 1)
    plain = decompress(pack_codes([*codes, END]), NO_LIMIT)
    pairs = [bytes((a, b)) for a, b in pairwise(codes[:3839])]
    strings = {FIRST + i: pair for i, pair in enumerate(pairs)} | {97: b"a"}
    assert plain == bytes(codes[:3839]) + b"".join(strings[code] for code in codes[3839:])


MALFORMED = {
    "empty": b"",
    "no end code": pack_codes([CLEAR, 97, 98]),
    "cut off": pack_codes([CLEAR, 97, 98, END])[:-1],
    "first code is a string": pack_codes([CLEAR, FIRST, END]),
    "first code after a clear is a string": pack_codes([97, 97, FIRST, CLEAR, FIRST, END]),
    "code beyond the next": pack_codes([CLEAR, 97, FIRST + 1, END]),
    "highest code at once": pack_codes([CLEAR, 511, END]),
    "garbage": b"\xff" * 20,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_stream_is_refused(name: str) -> None:
    """Undefined codes and a missing end are bad compression."""
    with pytest.raises(MalformedInput) as caught:
        decompress(MALFORMED[name], NO_LIMIT)
    assert caught.value.reason == Reason.BAD_COMPRESSION


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1000, 5000, 100_000])
def test_output_ends_at_its_limit(size: int) -> None:
    """Output of just the limit is returned, one byte more is refused."""
    for plain in (mixed(size, 256, 3), mixed(size, 3, 4), bytes(size)):
        assert decompress(compress(plain), size) == plain
        if size:
            with pytest.raises(MalformedInput) as caught:
                decompress(compress(plain), size - 1)
            assert caught.value.reason == Reason.DECOMPRESSED_TOO_LARGE


@pytest.mark.parametrize("size_max", [10_000, 131_072, 4_000_000])
def test_bomb_stops_at_its_limit_without_the_memory_of_what_it_holds(size_max: int) -> None:
    """A bomb of 200 MB is refused with little more memory than the limit, and soon."""
    bomb = zeros(200_000_000)
    assert len(bomb) < 200_000
    tracemalloc.start()
    try:
        with pytest.raises(MalformedInput) as caught:
            decompress(bomb, size_max)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.reason == Reason.DECOMPRESSED_TOO_LARGE
    # The output so far, the table of its strings (each was put out once), and one group over.
    assert peak < 2 * size_max + 600_000


def test_every_code_is_dealt_with_once() -> None:
    """Clears and other codes one by one, in all positions to each other, keep their place."""
    rng = random.Random(7)
    for _ in range(40):
        codes: list[int] = []
        plain = b""
        for _ in range(rng.randrange(1, 40)):
            run = [rng.randrange(256) for _ in range(rng.choice((0, 1, 2, 3, 300)))]
            codes += run
            plain += bytes(run)
            codes.append(CLEAR)
        assert decompress(pack_codes([*codes, END]), len(plain)) == plain
