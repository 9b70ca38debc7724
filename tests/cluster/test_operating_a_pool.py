"""Two real agents, operated by the commands and the gossip API: events, queries, keys, force-leave.

What is waited for is a line of a log or of a stream, never a time.
"""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SECONDS_MAX = 120.0
"""How long anything here may take on a machine that is busy with other tests."""

COMMAND = (sys.executable, "-m", "rookery.agent.cli")
FREE_PORTS = ("-http-port", "0", "-rpc-port", "0", "-serf-port", "0")
KEYS = [base64.b64encode(bytes([number] * 32)).decode() for number in (1, 2)]


class Agent:
    """A running agent, and commands that talk to it."""

    def __init__(self, name: str, settings: str, *arguments: str) -> None:
        flags = ("-dev", "-node", name, "-config", settings, *FREE_PORTS, *arguments)
        self._answers: list[Any] = []
        self.process = subprocess.Popen(
            [*COMMAND, "agent", *flags], stdout=subprocess.PIPE, text=True
        )
        self._watchdog = threading.Timer(SECONDS_MAX, self.process.kill)
        self._watchdog.start()
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if "agent_ready" in line:
                break
        else:
            raise AssertionError(f"{name} ended before it was ready")
        fields = dict(part.split("=", 1) for part in line.split() if "=" in part)
        self.http, self.serf = fields["http"], fields["serf"]
        # Who is not read from stops writing in the end.
        self._reader = threading.Thread(target=self.process.stdout.read)
        self._reader.start()

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command against this agent; return what it printed."""
        result = subprocess.run(
            [*COMMAND, *arguments, "-address", self.http],
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        assert result.returncode == code, result.stderr
        return result.stdout

    def members(self) -> dict[str, str]:
        """Return the members' statuses by name."""
        document = json.loads(self.open("/v1/agent/members").read())
        return {member["Name"]: member["Status"] for member in document["Members"]}

    def open(self, path: str, method: str = "GET", body: bytes | None = None) -> Any:
        """Return the answer to a request, to be read."""
        request = urllib.request.Request(self.http + path, body, method=method)
        self._answers.append(urllib.request.urlopen(request, timeout=SECONDS_MAX))
        return self._answers[-1]

    def end(self) -> None:
        """End it in any case."""
        self._watchdog.cancel()
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        for answer in self._answers:
            answer.close()


class Follower:
    """A reader of an agent's events."""

    def __init__(self, agent: Agent, query: str = "since=0") -> None:
        self.answer = agent.open(f"/v1/gossip/events?{query}")

    def wait(self, kind: str) -> dict[str, Any]:
        """Read up to an event of a type, and return it."""
        for line in self.answer:
            event: dict[str, Any] = json.loads(line)
            if event.get("Type") == kind:
                return event
        raise AssertionError(f"the stream ended without {kind}")


@pytest.fixture
def pair(tmp_path) -> Iterator[tuple[Agent, Agent]]:
    """Two agents in one encrypted pool of quick timing."""
    settings = tmp_path / "settings.json"
    settings.write_text('{"gossip": {"profile": "local"}}')
    one = Agent("one", str(settings), "-encrypt", KEYS[0])
    try:
        two = Agent("two", str(settings), "-encrypt", KEYS[0], "-join", one.serf)
        try:
            Follower(one).wait("member-join")
            yield one, two
        finally:
            two.end()
    finally:
        one.end()


def test_events_queries_and_tags_cross_the_pool(pair) -> None:
    """What one agent is told to say, the other one's readers hear, and can answer."""
    one, two = pair
    follower = Follower(one)
    payload = "x" * (512 - len("deploy") - 40)
    two.run("event", "deploy", payload)
    event = follower.wait("user-event")
    assert (event["Name"], base64.b64decode(event["Payload"])) == ("deploy", payload.encode())

    asking = two.open("/v1/gossip/query?name=uptime&ack=true&node=one.global", "PUT", b"now")
    query = follower.wait("query")
    assert (query["From"], base64.b64decode(query["Payload"])) == ("two.global", b"now")
    one.open(f"/v1/gossip/respond?ltime={query['LTime']}&id={query['ID']}", "POST", b"3 days")
    answers = [json.loads(line) for line in asking]
    assert {"Type": "ack", "From": "one.global"} in answers
    response = base64.b64encode(b"3 days").decode()
    assert {"Type": "response", "From": "one.global", "Payload": response} in answers
    assert answers[-1] == {"Type": "done", "Acks": 1, "Responses": 1}

    assert two.run("tags", "-set", "rack=7") == "Successfully updated agent tags\n"
    assert follower.wait("member-update")["Member"]["Tags"]["rack"] == "7"
    assert ["role", "nomad"] in [line.split() for line in two.run("tags").splitlines()]
    refused = two.run("tags", "-delete", "role", code=1)
    assert refused == ""

    shown = one.run("reachability", "-verbose")
    assert "\tAck from 'one.global'\n" in shown
    assert "\tAck from 'two.global'\n" in shown
    assert shown.endswith("Successfully contacted all live nodes.\n")


def test_keys_are_rotated_in_a_running_pool(pair) -> None:
    """Install, use, remove: both agents end with the new key, and still talk."""
    one, two = pair
    old, new = KEYS
    one.run("operator", "gossip", "keyring", "install", new)
    one.run("operator", "gossip", "keyring", "remove", old, code=1)  # it is in use
    one.run("operator", "gossip", "keyring", "use", new)
    two.run("operator", "keyring", "-remove", old)
    for agent in pair:
        listed = json.loads(agent.run("operator", "gossip", "keyring", "list", "-json"))
        assert (listed["Keys"], listed["NumNodes"]) == ({new: 2}, 2)
        assert agent.members() == {"one.global": "alive", "two.global": "alive"}
    one.run("operator", "gossip", "keyring", "install", "no key", code=1)


def test_failed_member_is_explained_forced_out_and_pruned(pair) -> None:
    """From alive to erased, each step seen in the events."""
    one, two = pair
    follower = Follower(one)
    two.process.kill()
    assert follower.wait("member-failed")["Member"]["Name"] == "two.global"
    shown = one.run("server", "members", "-why", "two.global").splitlines()
    assert shown[0] == "two.global is failed"
    rows = [line.split() for line in shown[2:]]
    assert ["suspected", "one.global"] in [row[1:3] for row in rows]
    assert "declared-dead" in [row[1] for row in rows]

    assert one.run("server", "force-leave", "two.global") == ""
    assert follower.wait("member-leave")["Member"]["Name"] == "two.global"
    assert one.members() == {"one.global": "alive", "two.global": "left"}
    one.run("server", "force-leave", "-prune", "two.global")
    assert follower.wait("member-reap")["Member"]["Name"] == "two.global"
    assert one.members() == {"one.global": "alive"}
    # A stranger is no error.
    one.run("server", "force-leave", "two.global")


def test_stopping_agent_ends_its_streams(pair) -> None:
    """A follower sees the stream's end, and does not keep the agent from ending."""
    one, _ = pair
    follower = Follower(one)
    follower.wait("member-join")
    one.process.send_signal(signal.SIGTERM)
    assert follower.answer.read() is not None  # up to the last chunk, or http.client would raise
    assert one.process.wait(SECONDS_MAX) == 1
