"""From flags to settings."""

from __future__ import annotations

from typing import Any

import pytest
from rookery.agent.cli.agent import SETTING_OF_FLAG, agent, flags_source
from rookery.agent.cli.main import run
from rookery.agent.settings_merging import merge_sources
from rookery.agent.settings_sources import SettingsError


def test_every_flag_sets_something() -> None:
    """Each option of the command is a setting, but for the three that are not."""
    names = {parameter.opts[0].lstrip("-") for parameter in agent.params}
    assert names - {"dev", "config", "advertise"} == set(SETTING_OF_FLAG)


@pytest.mark.parametrize(
    ("flags", "path", "value"),
    [
        ({"node": "a"}, "name", "a"),
        ({"region": "eu"}, "region", "eu"),
        ({"dc": "dc2"}, "datacenter", "dc2"),
        ({"bind": "10.0.0.1"}, "bind_addr", "10.0.0.1"),
        ({"http_port": "0"}, "ports.http", 0),
        ({"serf_port": "7946"}, "ports.serf", 7946),
        ({"rpc_port": "1"}, "ports.rpc", 1),
        ({"join": ("a", "b")}, "server.join.start_join", ("a", "b")),
        ({"retry_join": ("a",)}, "server.join.retry_join", ("a",)),
        ({"retry_interval": "1s"}, "server.join.retry_interval", 1.0),
        ({"retry_max": "3"}, "server.join.retry_max", 3),
        ({"bootstrap_expect": "3"}, "server.bootstrap_expect", 3),
        ({"log_level": "warn"}, "log_level", "warn"),
        ({"log_json": True}, "log_json", True),
        ({"advertise": "10.0.0.1:9"}, "advertise.serf", "10.0.0.1:9"),
        ({"advertise": "10.0.0.1:9"}, "advertise.rpc", "10.0.0.1"),
        ({"advertise": "[::1]:9"}, "advertise.http", "::1"),
    ],
)
def test_flag_becomes_its_setting(flags: dict[str, Any], path: str, value: Any) -> None:
    """What is given as text has the setting's type in the end."""
    found: Any = merge_sources([flags_source(flags)], dev=True)
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value


def test_flags_that_were_not_given_set_nothing() -> None:
    """None and empty tuples are click's way to say so."""
    assert flags_source({"node": None, "join": (), "dev": None}).values == {}


def test_bad_flag_is_told_by_its_name() -> None:
    """The line names the flag, not the setting's path in a file."""
    with pytest.raises(SettingsError, match=r'^-serf-port: "x" does not fit'):
        merge_sources([flags_source({"serf_port": "x"})], dev=True)
    with pytest.raises(SettingsError, match=r"^-advertise: 'a:x' has no valid port"):
        flags_source({"advertise": "a:x"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Must specify either server, client or dev mode for the agent."),
        (("-server",), 'Must specify "data_dir" config option or "data-dir" CLI flag'),
        (("-server", "-data-dir", "x/y"), "data-dir must be given as an absolute path: got x/y"),
        (("-dev", "-log-level=LOUD"), "-log-level: Invalid log level: 'LOUD'"),
        (("-dev", "-http-port", "99999"), '-http-port: "99999" does not fit; write a whole number'),
        (("-dev", "-encrypt", "c2VjcmV0"), "-encrypt: Invalid encryption key: "),
        (("-dev", "-config", "/nowhere.hcl"), "/nowhere.hcl: no such file or directory"),
        (("-dev", "-bind", "300.1.1.1"), "bind_addr"),
        (("-dev", "-nod", "a"), "-nod: unknown option; the nearest one is -node"),
        (("-dev", "extra"), "extra"),
    ],
)
def test_bad_command_line_is_one_line_and_exit_code_1(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing starts, nothing is printed but the line, and it shows no secret."""
    assert run(["agent", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert message in line
    assert "c2VjcmV0" not in line
