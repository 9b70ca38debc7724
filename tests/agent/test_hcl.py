"""Reading HCL: plain data with lines, and nothing else."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery.agent.hcl import TEXT_SIZE_MAX, HclError, HclReader, Lines, cache_directory

Read = Callable[[str], tuple[dict[str, Any], Lines]]


@pytest.fixture(scope="session")
def read_hcl() -> Read:
    """Read with one parser for all tests; building it takes a second."""
    reader = HclReader()
    reader.read("")
    return reader.read


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("# only a comment\n// and another\n/* and\none more */", {}),
        ('name = "web-1"', {"name": "web-1"}),
        (
            "a = 1\nb = -2\nc = 1.5\nd = true\ne = false\nf = null",
            {"a": 1, "b": -2, "c": 1.5, "d": True, "e": False, "f": None},
        ),
        ("ports { http = 1 }", {"ports": {"http": 1}}),
        ("ports {\n  http = 1\n  rpc  = 2\n}", {"ports": {"http": 1, "rpc": 2}}),
        ('a {\n b {\n  c = "d"\n }\n}', {"a": {"b": {"c": "d"}}}),
        ('a = [1, "two", [3],\n {\n four = 4 }]', {"a": [1, "two", [3], {"four": 4}]}),
        ('h = { "X-Frame-Options" = "DENY", b: 2 }', {"h": {"X-Frame-Options": "DENY", "b": 2}}),
        ('h { X-Frame-Options = "DENY" }', {"h": {"X-Frame-Options": "DENY"}}),
        (
            'plugin "docker" { a = 1 }\nplugin "java" { a = 2 }',
            {"plugin": {"docker": {"a": 1}, "java": {"a": 2}}},
        ),
        (r's = "a \"b\" \\ \n \t \u00e9"', {"s": 'a "b" \\ \n \t é'}),
        ("s = <<EOT\n one\n  two\nEOT\nn = 1", {"s": " one\n  two\n", "n": 1}),
        ("s = <<-EOT\n    one\n      two\n    EOT\n", {"s": "one\n  two\n"}),
        ("a = (1)", {"a": 1}),
        ("a = 1\r\nb {\r\n c = 2\r\n}\r\n", {"a": 1, "b": {"c": 2}}),
        ('bind = "{{ GetPrivateIP }}"', {"bind": "{{ GetPrivateIP }}"}),
    ],
)
def test_hcl_is_read_as_plain_values(read_hcl: Read, text: str, values: dict[str, Any]) -> None:
    """Attributes, blocks, labels, objects, lists, escapes and heredocs become plain values."""
    assert read_hcl(text)[0] == values


def test_each_key_has_its_line(read_hcl: Read) -> None:
    """The line of a key is known, within blocks and objects too."""
    lines = read_hcl('a = 1\nb {\n  c = 2\n  d = {\n    e = 3\n  }\n}\nf "g" {\n h = 1\n}')[1]
    assert lines == {
        ("a",): 1,
        ("b",): 2,
        ("b", "c"): 3,
        ("b", "d"): 4,
        ("b", "d", "e"): 5,
        ("f",): 8,
        ("f", "g"): 8,
        ("f", "g", "h"): 9,
    }


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a = 1\na = 2", 2, '"a" is given twice (first in line 1)'),
        ("a {\n}\na {\n}", 3, '"a" is given twice'),
        ("a = 1\na {\n}", 2, '"a" is given twice'),
        ("b {\n x = 1\n x = 1\n}", 3, '"b.x" is given twice'),
        ("b = { x = 1, x = 2 }", 1, '"b.x" is given twice'),
        ('p "q" {\n}\np "q" {\n}', 3, '"p.q" is given twice'),
        ('p = 1\np "q" {\n}', 2, "given twice"),
    ],
)
def test_key_given_twice_is_refused(read_hcl: Read, text: str, line: int, problem: str) -> None:
    """The last of two equal keys does not silently win, however they are written."""
    with pytest.raises(HclError) as caught:
        read_hcl(text)
    assert caught.value.line == line
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a = 1 + 2", "computed"),
        ("a = yes", 'write "yes"'),
        ("a = max(1, 2)", "computed"),
        ("a = b.c", "computed"),
        ('a = "${b}"', "template"),
        ('a = "%{ if true }x%{ endif }"', "template"),
        ('a = -"x"', "computed"),
        ("a = [for x in [1] : x]", "computed"),
        ("a = { (b) = 1 }", "computed"),
    ],
)
def test_expressions_are_refused(read_hcl: Read, text: str, problem: str) -> None:
    """Nothing is computed in settings, and the error says what to write."""
    with pytest.raises(HclError, match=problem) as caught:
        read_hcl(text)
    assert caught.value.line == 1


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a = 1\nb =\nc = 3", 2, "this is not HCL: 'b ='"),
        ("a {", 1, "this is not HCL"),
        ("}", 1, "this is not HCL"),
        ("\x00", 1, "this is not HCL"),
        ('headers { "X-A" = "b" }', 1, 'name = { "key" = "value" }'),
    ],
)
def test_bad_syntax_names_its_line(read_hcl: Read, text: str, line: int, problem: str) -> None:
    """What is no HCL is refused with the line, and for HCL 1's quoted keys with the way out."""
    with pytest.raises(HclError) as caught:
        read_hcl(text)
    assert caught.value.line == line
    assert problem in str(caught.value)


def test_deep_nesting_and_large_texts_are_refused(read_hcl: Read) -> None:
    """Neither ends the process."""
    with pytest.raises(HclError, match="nested too deeply"):
        read_hcl("a = " + "[" * 3000 + "]" * 3000)
    with pytest.raises(HclError, match="larger than"):
        read_hcl("#" * (TEXT_SIZE_MAX + 1))


@given(st.text(alphabet='ab{}[]="$\\\n ,.:<-1#/', max_size=40))
def test_any_text_is_read_or_refused(read_hcl: Read, text: str) -> None:
    """Arbitrary text raises nothing but the module's own error."""
    try:
        values, lines = read_hcl(text)
    except HclError:
        return
    assert all(path[0] in values for path in lines)


def test_parser_cache_is_private_and_outside_site_packages(hcl_cache: Path) -> None:
    """The parser is kept in the user's cache directory, which nobody else can write."""
    import hcl2

    HclReader().read("a = 1")
    (cache,) = (hcl_cache / "rookery").iterdir()
    assert cache.name == "hcl-parser.bin"
    assert stat.S_IMODE((hcl_cache / "rookery").stat().st_mode) == 0o700
    assert not list(Path(hcl2.__file__).parent.glob(".lark_cache*"))


def test_cache_directory_others_can_write_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache is code that runs, so a directory open to others is refused."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "rookery").mkdir()
    (tmp_path / "rookery").chmod(0o777)
    assert cache_directory() is None
    (tmp_path / "rookery").chmod(0o700)
    assert cache_directory() == tmp_path / "rookery"


def test_no_cache_directory_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file stands in the way there is no cache, and no error."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache_directory() is None
