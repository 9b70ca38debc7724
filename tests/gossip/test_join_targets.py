"""How join addresses are read, and what is said about bad ones."""

from __future__ import annotations

import pytest
from rookery.gossip.join_targets import JoinTarget, JoinTargetError, parse_join_target


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1", ("", "10.0.0.1", 4648, True)),
        ("10.0.0.1:99", ("", "10.0.0.1", 99, True)),
        ("host", ("", "host", 4648, False)),
        ("host.example:99", ("", "host.example", 99, False)),
        ("::1", ("", "::1", 4648, True)),
        ("[::1]", ("", "::1", 4648, True)),
        ("[::1]:99", ("", "::1", 99, True)),
        ("[2001:DB8:0::1]:99", ("", "2001:db8::1", 99, True)),
        ("::ffff:10.0.0.1", ("", "10.0.0.1", 4648, True)),
        ("node1/10.0.0.1", ("node1", "10.0.0.1", 4648, True)),
        ("node1.global/[::1]:99", ("node1.global", "::1", 99, True)),
        ("node1/host:0", ("node1", "host", 0, False)),
        ("host:65535", ("", "host", 65535, False)),
        ("host:00080", ("", "host", 80, False)),
        ("", ("", "", 4648, False)),
        (":99", ("", "", 99, False)),
        ("10.0.0.01", ("", "10.0.0.01", 4648, False)),
        ("fe80::1%eth0", ("", "fe80::1%eth0", 4648, False)),
        ("a:b:c", ("", "a:b:c", 4648, False)),
    ],
)
def test_address_is_read(text: str, expected: tuple[str, str, int, bool]) -> None:
    """Every documented form, and the odd ones Go takes for names, yields node, host and port."""
    node, host, port, is_ip = expected
    assert parse_join_target(text, 4648) == JoinTarget(node, host, port, is_ip)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x:y", 'strconv.ParseUint: parsing "y": invalid syntax'),
        ("x:", 'strconv.ParseUint: parsing "": invalid syntax'),
        ("x:-1", 'strconv.ParseUint: parsing "-1": invalid syntax'),
        ("x:+1", 'strconv.ParseUint: parsing "+1": invalid syntax'),
        ("x:1_0", 'strconv.ParseUint: parsing "1_0": invalid syntax'),
        ("x:٣", 'strconv.ParseUint: parsing "٣": invalid syntax'),
        ('x:"', 'strconv.ParseUint: parsing "\\"": invalid syntax'),
        ("x:65536", 'strconv.ParseUint: parsing "65536": value out of range'),
        ("[::1]:y", 'strconv.ParseUint: parsing "y": invalid syntax'),
        ("/10.0.0.1", "empty node name provided"),
        ("[::1:99", "address [::1:99: missing ']' in address"),
        ("[::1]x:99", "address [::1]x:99: missing port in address"),
        ("h[:99", "address h[:99: unexpected '[' in address"),
        ("h]:99", "address h]:99: unexpected ']' in address"),
    ],
)
def test_bad_address_is_refused_in_gos_words(text: str, message: str) -> None:
    """Clients get to see these texts, so they are Go's to the letter."""
    with pytest.raises(JoinTargetError) as caught:
        parse_join_target(text, 4648)
    assert str(caught.value) == message


def test_port_of_a_million_digits_is_refused_without_converting_it() -> None:
    """Python refuses to convert very long numbers with another error; this one is only measured."""
    with pytest.raises(JoinTargetError, match="value out of range"):
        parse_join_target("x:" + "9" * 1_000_000, 4648)
