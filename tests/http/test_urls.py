"""Request targets are taken apart, and paths cleaned and escaped, as Go's net/url does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rookery.http.urls import BadEscape, BadTarget, clean_path, escape_path, split_target, unescape


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("/v1/agent/self", "/v1/agent/self", ""),
        ("/v1/agent/self?pretty", "/v1/agent/self", "pretty"),
        ("/a?", "/a", ""),
        ("/a?b?c", "/a", "b?c"),
        ("/a?b=%zz", "/a", "b=%zz"),
        ("/a%2Fb", "/a/b", ""),
        ("/a%3Fb?c", "/a?b", "c"),
        ("/a+b", "/a+b", ""),
        ("/a#b", "/a#b", ""),
        ("/%c3%bc", "/ü", ""),
        ("/%ff", "/\udcff", ""),
        ("//evil.example/x", "//evil.example/x", ""),
        ("http://localhost:4646/v1/agent/self?x", "/v1/agent/self", "x"),
        ("http://localhost", "/", ""),
        ("http://localhost?x", "/", "x"),
        ("/http://localhost/", "/http://localhost/", ""),
    ],
)
def test_target_is_split(target: str, path: str, query: str) -> None:
    """The path comes decoded, the query raw; of an absolute URL only these two count."""
    assert split_target(target) == (path, query)


@pytest.mark.parametrize(
    "target", ["*", "", "localhost:4646", "v1/agent/self", "://x/", "1+2://x/", "/%", "/%4", "/%zz"]
)
def test_bad_targets_are_refused(target: str) -> None:
    """What has no path, or one with a bad escape, is no target."""
    with pytest.raises(BadTarget):
        split_target(target)


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [
        ("/", "/"),
        ("/a", "/a"),
        ("/a/", "/a/"),
        ("//", "/"),
        ("//a", "/a"),
        ("/a//b", "/a/b"),
        ("/a///", "/a/"),
        ("/./a", "/a"),
        ("/a/.", "/a"),
        ("/a/./", "/a/"),
        ("/a/..", "/"),
        ("/a/b/..", "/a"),
        ("/a/b/../", "/a/"),
        ("/../../a", "/a"),
        ("/...", "/..."),
        ("/.a/b..", "/.a/b.."),
    ],
)
def test_path_is_cleaned(path: str, cleaned: str) -> None:
    """Double slashes and dot segments go, the trailing slash stays."""
    assert clean_path(path) == cleaned


@settings(deadline=None)
@given(st.text(st.sampled_from("/.ab"), max_size=12).map(lambda text: "/" + text))
def test_clean_path_is_clean(path: str) -> None:
    """Cleaning leaves nothing to clean, so a redirect never leads to another one."""
    cleaned = clean_path(path)
    assert cleaned == clean_path(cleaned)
    assert cleaned.startswith("/")
    assert not {"", ".", ".."} & set(cleaned.strip("/").split("/")) or cleaned == "/"
    assert "//" not in cleaned


@pytest.mark.parametrize(
    ("path", "escaped"),
    [
        ("/a b", "/a%20b"),
        ("/a?b", "/a%3Fb"),
        ("/a%b", "/a%25b"),
        ('/<"\r\n>', "/%3C%22%0D%0A%3E"),
        ("/$&+,/:;=@-_.~", "/$&+,/:;=@-_.~"),
        ("/ü", "/%C3%BC"),
        ("/\udcff", "/%FF"),
    ],
)
def test_path_is_escaped(path: str, escaped: str) -> None:
    """Go's set of bare characters stays bare; whatever could end a header or a path does not."""
    assert escape_path(path) == escaped


@settings(deadline=None)
@given(st.binary(max_size=30))
def test_escaped_path_decodes_to_itself(data: bytes) -> None:
    """A Location header leads to the very path it was made from, whatever its bytes."""
    path = data.decode("utf-8", "surrogateescape")
    escaped = escape_path(path)
    assert escaped.isascii()
    assert escaped.isprintable()
    assert unescape(escaped) == path


@pytest.mark.parametrize("text", ["%", "a%", "%4", "%g0", "%0g", "%%20", "% 20", "%+1"])
def test_bad_escape_is_refused(text: str) -> None:
    """An escape is a percent sign and two hexadecimal digits, nothing less."""
    with pytest.raises(BadEscape):
        unescape(text)
