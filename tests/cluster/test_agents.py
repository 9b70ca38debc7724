"""Real agent processes on loopback: ready, HTTP, joining, signals, exit codes.

What is waited for is a line of an agent's log, never a time.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

READY_SECONDS_MAX = 30.0
"""How long an agent may take to start on a machine that is busy with other tests."""

AGENT_SECONDS_MAX = 120.0
"""How long one of the tests' agents may live: far above what a test takes."""

COMMAND = (sys.executable, "-m", "rookery.agent.cli")
FREE_PORTS = ("-http-port", "0", "-rpc-port", "0", "-serf-port", "0")


class AgentProcess:
    """A running `rookery agent`."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "agent", *FREE_PORTS, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        # Reading a log has no time limit of its own; this one ends an agent that says nothing.
        self._watchdog = threading.Timer(AGENT_SECONDS_MAX, self.process.kill)
        self._watchdog.start()
        ready = self.wait_line("agent_ready")
        self.http = re.search(r"http=(\S+)", ready)[1]  # type: ignore[index]
        self.serf = re.search(r"serf=(\S+)", ready)[1]  # type: ignore[index]

    def wait_line(self, *parts: str) -> str:
        """Read the log up to a line that has all the parts; return it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if all(part in line for part in parts):
                return line
        assert self.process.stderr is not None
        raise AssertionError(f"the agent ended without {parts}: {self.process.stderr.read()}")

    def ask(self, path: str, method: str = "GET") -> Any:
        """Return the JSON answer of a request."""
        request = urllib.request.Request(self.http + path, method=method)
        with urllib.request.urlopen(request, timeout=READY_SECONDS_MAX) as response:
            return json.load(response)

    def statuses(self) -> dict[str, str]:
        """Return the members by name."""
        members = self.ask("/v1/agent/members")["Members"]
        return {member["Name"]: member["Status"] for member in members}

    def end(self, number: signal.Signals) -> int:
        """Send a signal; return the exit code."""
        self.process.send_signal(number)
        self.process.communicate(timeout=READY_SECONDS_MAX)
        return self.process.returncode

    def kill(self) -> None:
        """End it in any case."""
        self._watchdog.cancel()
        self.process.kill()
        self.process.communicate()


Start = Callable[..., AgentProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start dev agents with settings as text; what still runs at the end is killed."""
    started: list[AgentProcess] = []

    def start_agent(name: str, *arguments: str, settings: str = "") -> AgentProcess:
        file = tmp_path / f"{name}.json"
        file.write_text(settings or "{}")
        agent = AgentProcess("-dev", "-node", name, "-config", str(file), *arguments)
        started.append(agent)
        return agent

    yield start_agent
    for agent in started:
        agent.kill()


def test_dev_agent_is_ready_and_answers(start: Start) -> None:
    """The ready line names where it answers, and there it does."""
    agent = start("a", "-region", "eu", "-dc", "dc9", "-log-level", "error")
    members = agent.ask("/v1/agent/members")
    assert (members["ServerName"], members["ServerRegion"], members["ServerDC"]) == (
        "a",
        "eu",
        "dc9",
    )
    (member,) = members["Members"]
    assert (member["Name"], member["Status"], member["Tags"]["dc"]) == ("a.eu", "alive", "dc9")
    assert f"{member['Addr']}:{member['Port']}" == agent.serf
    assert agent.ask("/v1/agent/self")["member"] == member
    assert agent.ask("/v1/agent/health") == {
        "client": {"message": "ok", "ok": True},
        "server": {"message": "ok", "ok": True},
    }
    assert agent.end(signal.SIGINT) == 1


def test_agents_join_through_http_and_leave_on_sigterm(start: Start) -> None:
    """Both list both; the one that leaves ends with 0 and is listed as left."""
    one = start("a")
    two = start("b", settings='{"leave_on_terminate": true}')
    answer = one.ask(f"/v1/agent/join?address={two.serf}", method="PUT")
    assert answer == {"error": "", "num_joined": 1}
    assert one.statuses() == {"a.global": "alive", "b.global": "alive"}
    assert two.statuses() == {"a.global": "alive", "b.global": "alive"}
    assert two.end(signal.SIGTERM) == 0
    assert one.statuses() == {"a.global": "alive", "b.global": "left"}


def test_agent_killed_is_listed_as_failed(start: Start) -> None:
    """Without a leave the others find out by probing."""
    local = '{"gossip": {"profile": "local"}}'
    one = start("a", settings=local)
    two = start("b", "-join", one.serf, settings=local)
    one.wait_line("member_joined", "member=b.global")
    two.process.kill()
    one.wait_line("member_failed", "member=b.global")
    assert one.statuses() == {"a.global": "alive", "b.global": "failed"}


def test_sigterm_without_leave_ends_at_once_with_1(start: Start) -> None:
    """Nothing is announced; that is the default."""
    assert start("a").end(signal.SIGTERM) == 1


def test_encrypted_agents_keep_strangers_out(start: Start) -> None:
    """Agents of one key join, one without it is refused."""
    key = "cg8StVXbQJ0gPvMd9o7yrg=="
    one, two = start("a", "-encrypt", key), start("b", "-encrypt", key)
    stranger = start("c")
    assert one.ask(f"/v1/agent/join?address={two.serf}", method="PUT")["num_joined"] == 1
    refused = stranger.ask(f"/v1/agent/join?address={one.serf}", method="PUT")
    assert refused["num_joined"] == 0
    assert refused["error"].startswith("1 error occurred:\n\t* Failed to join 127.0.0.1: ")
    assert set(one.statuses()) == {"a.global", "b.global"}


def test_sighup_changes_the_log_level(start: Start, tmp_path: Path) -> None:
    """What can change does, what cannot is named, and a bad file changes nothing."""
    agent = start("a", settings='{"log_level": "INFO"}')
    file = tmp_path / "a.json"
    file.write_text('{"log_level": "TRACE", "region": "eu"}')
    agent.process.send_signal(signal.SIGHUP)
    line = agent.wait_line("reloaded")
    assert "applied=log_level needs_restart=region" in line
    agent.ask("/v1/agent/members")
    agent.wait_line("[DEBUG] http: request complete")
    # Said even at the new level, which hides information.
    file.write_text('{"log_level": "WARN", "region": "us"}')
    agent.process.send_signal(signal.SIGHUP)
    agent.wait_line("[WARN]  agent: reloaded", "applied=log_level needs_restart=region")
    file.write_text('{"log_level": "LOUD"}')
    agent.process.send_signal(signal.SIGHUP)
    agent.wait_line("[ERROR] agent: reload_refused", "LOUD")
    assert set(agent.statuses()) == {"a.global"}


def test_sighup_changes_tags_and_says_what_it_could_not(start: Start, tmp_path: Path) -> None:
    """Tags too large are refused and the old ones stay; of a section only what differs is named."""
    agent = start("a", settings='{"gossip": {"tags": {"rack": "1"}}}')
    file = tmp_path / "a.json"
    file.write_text('{"gossip": {"tags": {"rack": "2"}, "label": "x"}}')
    agent.process.send_signal(signal.SIGHUP)
    assert "applied=gossip.tags needs_restart=gossip.label" in agent.wait_line("reloaded")
    document = agent.ask("/v1/agent/self")
    assert document["member"]["Tags"]["rack"] == "2"
    assert document["config"]["Gossip"]["Tags"] == {"rack": "2"}
    assert document["config"]["Gossip"]["Label"] == ""
    file.write_text(json.dumps({"gossip": {"tags": {"rack": "x" * 400}}}))
    agent.process.send_signal(signal.SIGHUP)
    agent.wait_line("[ERROR] agent: reload_refused", "setting=gossip.tags", "more than the 512")
    assert 'applied=""' in agent.wait_line("reloaded")
    assert agent.ask("/v1/agent/self")["member"]["Tags"]["rack"] == "2"


def test_port_in_use_is_one_line_and_exit_code_1(start: Start) -> None:
    """The second agent says what to change, without a traceback."""
    agent = start("a")
    port = agent.http.rpartition(":")[2]
    result = subprocess.run(
        [*COMMAND, "agent", "-dev", *FREE_PORTS, "-http-port", port],
        capture_output=True,
        text=True,
        timeout=READY_SECONDS_MAX,
        check=False,
    )
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"HTTP port: 127.0.0.1:{port} is in use by another program; choose")


def test_commands_work_on_a_running_agent(start: Start) -> None:
    """members, join and agent-info against the real thing."""
    one, two = start("a"), start("b")

    def rookery(*arguments: str) -> str:
        result = subprocess.run(
            [*COMMAND, *arguments, "-address", one.http],
            capture_output=True,
            text=True,
            timeout=READY_SECONDS_MAX,
            check=True,
        )
        return result.stdout

    assert rookery("server", "join", two.serf) == "Joined 1 servers successfully\n"
    rows = [line.split() for line in rookery("server", "members").splitlines()]
    assert [row[0] for row in rows] == ["Name", "a.global", "b.global"]
    assert [row[3:] for row in rows[1:]] == [["alive", "false", "2", "1.2.6", "dc1", "global"]] * 2
    assert "  members = 2\n" in rookery("agent-info")


def test_agent_goes_on_when_nobody_reads_its_log(start: Start) -> None:
    """A closed pipe costs lines, not the agent."""
    agent = start("a")
    assert agent.process.stdout is not None
    agent.process.stdout.close()
    for _ in range(3):
        assert agent.statuses() == {"a.global": "alive"}
    agent.process.send_signal(signal.SIGTERM)
    assert agent.process.wait(READY_SECONDS_MAX) == 1
