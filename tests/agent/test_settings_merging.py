"""Settings: typed, merged by Nomad's rules, refused with a line that says what to write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rookery.agent.secret import Secret
from rookery.agent.settings import AgentSettings
from rookery.agent.settings_merging import load_settings
from rookery.agent.settings_sources import SettingsError, Source

Load = Callable[..., AgentSettings]
REPOSITORY = Path(__file__).parents[2]


def test_defaults_are_nomads(load: Load) -> None:
    """Without files the defaults hold, and the gossip profile is lan."""
    settings = load('data_dir = "/d"\nserver { enabled = true }', dev=False)
    assert (settings.region, settings.datacenter, settings.bind_addr) == (
        "global",
        "dc1",
        "0.0.0.0",
    )
    assert (settings.ports.http, settings.ports.rpc, settings.ports.serf) == (4646, 4647, 4648)
    assert (settings.log_level, settings.enable_debug) == ("INFO", False)
    assert (settings.leave_on_interrupt, settings.leave_on_terminate) == (False, False)
    assert settings.server.join.retry_interval == 30.0
    assert settings.gossip.profile == "lan"
    assert settings.gossip.dead_node_reclaim_time == 0.0


def test_dev_mode_is_both_roles_on_loopback(load: Load) -> None:
    """-dev means both roles, 127.0.0.1, debug, no data directory, one server expected."""
    settings = load()
    assert settings.dev_mode
    assert settings.server.enabled
    assert settings.client.enabled
    assert settings.bind_addr == "127.0.0.1"
    assert settings.log_level == "DEBUG"
    assert settings.enable_debug
    assert settings.server.bootstrap_expect == 1
    assert settings.data_dir == ""


@pytest.mark.parametrize(
    ("first", "second", "path", "value"),
    [
        ('region = "a"', 'region = "b"', "region", "b"),
        ('region = "a"', 'region = ""', "region", "a"),
        ("enable_debug = true", "enable_debug = false", "enable_debug", True),
        ("leave_on_interrupt = false", "leave_on_interrupt = true", "leave_on_interrupt", True),
        ("ports { http = 1 }", "ports { rpc = 2 }", "ports.http", 1),
        ("ports { http = 1 }", "ports { http = 0 }", "ports.http", 0),
        (
            "gossip { compression = true }",
            "gossip { compression = false }",
            "gossip.compression",
            False,
        ),
        (
            "server { bootstrap_expect = 3 }",
            "server { bootstrap_expect = 0 }",
            "server.bootstrap_expect",
            3,
        ),
        (
            'server { retry_join = ["a"] }',
            'server { retry_join = ["b"] }',
            "server.retry_join",
            ("a", "b"),
        ),
        (
            'server { server_join { retry_join = ["a"] } }',
            'server { server_join { retry_join = ["b"] } }',
            "server.server_join.retry_join",
            ("b",),
        ),
        (
            'http_api_response_headers { A = "1"\n B = "2" }',
            'http_api_response_headers { B = "3" }',
            "http_api_response_headers",
            {"A": "1", "B": "3"},
        ),
    ],
)
def test_later_files_are_merged_over_earlier_ones(
    load: Load, first: str, second: str, path: str, value: Any
) -> None:
    """Each kind of value is merged by its rule."""
    found: Any = load(first, second)
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value


def test_flags_win_over_files(load: Load) -> None:
    """What the command line says is merged last."""
    settings = load('region = "file"\ndatacenter = "file"', flags=Source("", {"region": "flag"}))
    assert (settings.region, settings.datacenter) == ("flag", "file")


def test_files_are_remembered_in_order(load: Load) -> None:
    """The settings know which files they came from."""
    assert [Path(name).name for name in load("", "").files] == ["file-0", "file-1"]


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ('ports { http = "4747" }', "ports.http", 4747),
        ('leave_on_terminate = "true"', "leave_on_terminate", True),
        (
            'server { server_join { retry_interval = "1m30s" } }',
            "server.server_join.retry_interval",
            90.0,
        ),
        ('gossip { dead_node_reclaim_time = "10s" }', "gossip.dead_node_reclaim_time", 10.0),
        ("gossip { dead_node_reclaim_time = 0 }", "gossip.dead_node_reclaim_time", 0.0),
        (
            'server { encrypt = "cg8StVXbQJ0gPvMd9o7yrg==" }',
            "server.encrypt",
            Secret("cg8StVXbQJ0gPvMd9o7yrg=="),
        ),
    ],
)
def test_values_get_their_types(load: Load, text: str, path: str, value: Any) -> None:
    """Numbers and booleans may be quoted, durations have units, keys become secrets."""
    found: Any = load(text)
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value
    assert type(found) is type(value) or isinstance(found, float)


def test_deprecated_join_form_is_taken_over(load: Load) -> None:
    """The older keys of server give the same join."""
    join = load('server { retry_join = ["a"]\n retry_max = 2\n retry_interval = "1s" }').server.join
    assert (join.retry_join, join.retry_max, join.retry_interval) == (("a",), 2, 1.0)


BAD = [
    ("portz {}", 'line 1: portz: unknown key; the nearest valid one is "ports"'),
    (
        "server {\n enabld = true }",
        'line 2: server.enabld: unknown key; the nearest valid one is "server.enabled"',
    ),
    ("enabled = true", 'enabled: unknown key here; there is "server.enabled"'),
    ("zzz = 1", "zzz: unknown key; valid ones are addresses, "),
    ("dev_mode = true", "dev_mode: unknown key"),
    ("files = []", "files: unknown key"),
    (
        'ports { http = "abc" }',
        'line 1: ports.http: "abc" does not fit; write a whole number from 0 to 65535',
    ),
    ("ports { http = 65536 }", "ports.http: 65536 does not fit"),
    ("ports { http = -1 }", "ports.http: -1 does not fit"),
    ("ports { http = true }", "ports.http: true does not fit"),
    ("ports = 5", "ports: 5 is no section; write ports { … }"),
    ("name = 5", "name: 5 does not fit; write a text in quotes"),
    ("log_json = 7", "log_json: 7 does not fit; write true or false"),
    ('server { retry_interval = "30" }', 'write a time with its unit, such as "30s" or "1m30s"'),
    ("server { retry_interval = 30 }", 'write a time with its unit, such as "30s" or "1m30s"'),
    ('server { retry_join = "10.0.0.1" }', 'write a list of texts, such as ["10.0.0.1", '),
    ("http_api_response_headers { A = 1 }", "does not fit; write a section of texts"),
    ('gossip { profile = "fast" }', 'write "lan", "wan" or "local"'),
    ("server { bootstrap_expect = -1 }", "server.bootstrap_expect: -1 does not fit"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_bad_value_is_told_in_one_line(load: Load, text: str, message: str) -> None:
    """The line names the file, the line, the key, the value, and what to write instead."""
    with pytest.raises(SettingsError) as caught:
        load(text)
    shown = str(caught.value)
    assert shown.startswith("Error loading configuration from ")
    assert message in shown
    assert "\n" not in shown


def test_long_bad_value_is_cut(load: Load) -> None:
    """A line stays a line, whatever was written."""
    with pytest.raises(SettingsError) as caught:
        load(f'log_json = "{"x" * 5000}"')
    assert len(str(caught.value)) < 300


def test_bad_secret_is_not_shown(load: Load) -> None:
    """An error about a key does not show it, whether its type or its text is wrong."""
    for text in ('server { encrypt = ["hunter2"] }', 'server { encrypt = "hunter2hunter2" }'):
        with pytest.raises(SettingsError, match=r"server\.encrypt") as caught:
            load(text)
        assert "hunter2" not in str(caught.value)


def test_bad_flag_is_told_by_its_name(load: Load) -> None:
    """An error about a flag names the flag instead of a file."""
    flags = Source("", {"ports": {"http": "x"}}, {("ports", "http"): "-http-port"})
    with pytest.raises(SettingsError) as caught:
        load(flags=flags)
    assert str(caught.value) == '-http-port: "x" does not fit; write a whole number from 0 to 65535'


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").glob("*.*")), ids=lambda p: p.name)
def test_example_files_load(path: Path) -> None:
    """Every file in configs/ is valid, each at the first try."""
    settings = load_settings([str(path)], Source("", {}), dev=path.stem == "dev")
    assert settings.server.enabled
