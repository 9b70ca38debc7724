"""Query strings are read by the rules of agents' clients: Go's decoding, Nomad's tolerance."""

from __future__ import annotations

from urllib.parse import quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rookery.http.faults import InvalidIndex, InvalidWait
from rookery.http.parameters import Parameters


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", []),
        ("address=a&address=b&address=c", ["a", "b", "c"]),
        ("address=b&x=1&address=a", ["b", "a"]),
        ("address", [""]),
        ("address=", [""]),
        ("address=a=b", ["a=b"]),
        ("address=10.0.0.1%3A4648", ["10.0.0.1:4648"]),
        ("address=a+b%20c", ["a b c"]),
        ("address=a%2Bb", ["a+b"]),
        ("%61ddress=a", ["a"]),
        ("&&address=a&", ["a"]),
        ("address=%c3%BC", ["ü"]),
        ("address=%ff", ["\udcff"]),
        # Dropped, and only they: bad escapes in value or key, and pairs with a semicolon.
        ("address=%zz&address=b", ["b"]),
        ("address=%4&address=b", ["b"]),
        ("address=%&address=b", ["b"]),
        ("address%=a&address=b", ["b"]),
        ("address=a;b&address=c", ["c"]),
        ("address=a;address=b", []),
        ("address=a%3Bb", ["a;b"]),
        ("Address=a", []),
    ],
)
def test_all_values_of_a_key_survive_in_order(query: str, expected: list[str]) -> None:
    """Decoding keeps every good pair, in order, and drops bad ones without touching the others."""
    assert Parameters(query).all("address") == expected
    assert Parameters(query).first("address") == (expected[0] if expected else "")
    assert Parameters(query).has("address") == bool(expected)


def test_dropped_pair_does_not_make_its_key_present() -> None:
    """A key whose only value has a bad escape was never given."""
    parameters = Parameters("pretty=%zz&stale=%")
    assert not parameters.is_pretty
    assert not parameters.has("stale")


@pytest.mark.parametrize(
    ("query", "is_on"),
    [
        ("", False),
        ("pretty", True),
        ("pretty=", True),
        ("pretty=1", True),
        ("pretty=true", True),
        ("pretty=false", True),
        ("pretty=00", True),
        ("pretty=0", False),
        ("pretty=0&pretty=1", False),
        ("pretty=1&pretty=0", True),
        ("prettY", False),
    ],
)
def test_pretty_is_on_for_all_but_zero(query: str, is_on: bool) -> None:
    """`pretty` is on when present, unless its first value is `0`."""
    assert Parameters(query).is_pretty is is_on


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_true_words(text: str) -> None:
    """Go's words for true, and no others, are true."""
    assert Parameters(f"plain={text}").boolean("plain") is True


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False"])
def test_false_words(text: str) -> None:
    """Go's words for false, and no others, are false."""
    assert Parameters(f"plain={text}").boolean("plain") is False


@pytest.mark.parametrize("query", ["", "plain", "plain=", "plain=&plain=1"])
def test_empty_boolean_is_absent(query: str) -> None:
    """An empty first value is no value."""
    assert Parameters(query).boolean("plain") is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [("no", '"no"'), ("yes", '"yes"'), ("tRUE", '"tRUE"'), ("2", '"2"'), ("%22%0a", '"\\"\\n"')],
)
def test_other_booleans_are_errors_with_go_text(value: str, shown: str) -> None:
    """The error text is that of Go's strconv, with the value quoted."""
    with pytest.raises(ValueError, match="ParseBool") as caught:
        Parameters(f"plain={value}").boolean("plain")
    assert str(caught.value) == f"strconv.ParseBool: parsing {shown}: invalid syntax"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1),
        ("-7", -7),
        ("%2B7", 7),
        ("007", 7),
        ("", 0),
        ("x", 0),
        ("1.5", 0),
        ("1s", 0),
        (" 1", 0),
        ("1_0", 0),
        ("--1", 0),
        ("+", 0),
        ("٣", 0),
        (str(2**63 - 1), 2**63 - 1),
        (str(2**63), 0),
        (str(-(2**63)), -(2**63)),
        (str(-(2**63) - 1), 0),
        ("9" * 10_000, 0),
    ],
)
def test_bad_integers_are_zero(text: str, expected: int) -> None:
    """A signed decimal in 64 bits counts, anything else is 0 without an error."""
    assert Parameters(f"seconds={text}").integer("seconds") == expected


@pytest.mark.parametrize(
    "wait",
    ["60s", "500ms", "1m30s", "0", "-5s", "%2B5s", "1h", "1.5s", ".5s", "5us", "5%C2%B5s", ""],
)
def test_go_durations_are_good_waits(wait: str) -> None:
    """Whatever Go reads as a duration passes, and so does nothing."""
    Parameters(f"wait={wait}").check_blocking()


@pytest.mark.parametrize(
    "wait", ["60", "s", "5x", "+5s", "5s+", "5 s", "1d", ".s", "-", "5s5", "٣s", "9999999999h"]
)
def test_other_waits_are_refused(wait: str) -> None:
    """A number without a unit, and anything else Go does not read, is a bad wait."""
    # An unescaped plus is a space, so `+5s` is no duration either.
    with pytest.raises(InvalidWait):
        Parameters(f"wait={wait}").check_blocking()


@pytest.mark.parametrize("index", ["0", "1", "007", str(2**64 - 1), ""])
def test_unsigned_decimals_are_good_indexes(index: str) -> None:
    """Everything up to 64 bits passes."""
    Parameters(f"index={index}").check_blocking()


@pytest.mark.parametrize(
    "index", ["-1", "%2B1", "x", "1.0", "0x1", "1_0", " 1", "٣", str(2**64), "9" * 10_000]
)
def test_other_indexes_are_refused(index: str) -> None:
    """A sign, a letter or a 65th bit is a bad index; a very long one costs no time."""
    with pytest.raises(InvalidIndex):
        Parameters(f"index={index}").check_blocking()


def test_wait_is_checked_before_index() -> None:
    """With both bad, the answer is about `wait`; repeated keys count by their first value."""
    with pytest.raises(InvalidWait):
        Parameters("index=x&wait=x").check_blocking()
    Parameters("index=1&index=x&wait=1s&wait=x").check_blocking()


KEYS = st.text(st.characters(codec="utf-8"), max_size=8)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(KEYS, KEYS), max_size=8))
def test_encoded_pairs_decode_to_themselves(pairs: list[tuple[str, str]]) -> None:
    """Whatever an encoder wrote comes back: every key with its values in order."""
    parameters = Parameters("&".join(f"{quote_plus(k)}={quote_plus(v)}" for k, v in pairs))
    for key, _ in pairs:
        assert parameters.all(key) == [value for found, value in pairs if found == key]


@settings(deadline=None, max_examples=60)
@given(
    st.text(st.sampled_from("awi%2f&=;+xdntepry \x00ü"), max_size=60)
    | st.text(max_size=60)
    | st.binary(max_size=60).map(lambda data: data.decode("latin-1"))
)
def test_no_query_string_is_too_strange(query: str) -> None:
    """Any text is read without an error but the two that are meant."""
    parameters = Parameters(query)
    for key in ("a", "wait", "index", "pretty", "", "x"):
        assert parameters.has(key) == bool(parameters.all(key))
        assert isinstance(parameters.first(key), str)
        assert isinstance(parameters.integer(key), int)
    assert parameters.is_pretty in (True, False)
    try:
        parameters.check_blocking()
    except (InvalidWait, InvalidIndex):
        assert parameters.first("wait") or parameters.first("index")
