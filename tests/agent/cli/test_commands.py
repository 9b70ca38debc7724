"""Commands that talk to a running agent: what they ask for and what they print."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from rookery.agent.cli import client
from rookery.agent.cli.client import agent_url
from rookery.agent.cli.main import COMMANDS, run
from rookery.agent.cli.tables import format_columns
from rookery.agent.version import VERSION

MEMBERS = {
    "Members": [
        {
            "Name": name,
            "Addr": address,
            "Port": 4648,
            "Status": status,
            "ProtocolCur": 2,
            "Tags": tags,
        }
        for name, address, status, tags in [
            (
                "web-2.global",
                "10.0.0.2",
                "alive",
                {"build": "1.2.6", "dc": "dc1", "region": "global", "port": "4647"},
            ),
            (
                "web-1.global",
                "10.0.0.1",
                "failed",
                {"build": "1.2.6", "dc": "dc1", "region": "global", "port": "4647"},
            ),
            ("plain", "10.0.0.3", "alive", {}),
            ("old.eu", "10.0.0.4", "left", {"region": "eu"}),
        ]
    ],
    "ServerDC": "dc1",
    "ServerName": "web-1",
    "ServerRegion": "global",
}


class StubAgent:
    """Answers with what the test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str]] = {}
        self.requests: list[tuple[str, str]] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                stub.requests.append((self.command, self.path))
                status, body = stub.answers.get(self.path.partition("?")[0], (404, ""))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body.encode())))
                self.end_headers()
                self.wfile.write(body.encode())

            do_GET = do_PUT = answer

            def log_message(self, *_: Any) -> None:
                """Keep quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"

    def answer(self, path: str, document: Any, status: int = 200) -> None:
        """Set the answer of a path."""
        body = document if isinstance(document, str) else json.dumps(document)
        self.answers[path] = (status, body)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubAgent]:
    """A stub agent that ROOKERY_ADDR points to."""
    agent = StubAgent()
    thread = threading.Thread(target=agent.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("ROOKERY_ADDR", agent.address)
    yield agent
    agent.server.shutdown()
    agent.server.server_close()
    thread.join()


Output = Callable[[], tuple[str, str]]


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str]) -> Output:
    """What was printed: (stdout, stderr)."""
    return lambda: tuple(capsys.readouterr())  # type: ignore[return-value]


def test_members_are_a_table_by_name(stub: StubAgent, output: Output) -> None:
    """Nomad's columns; a missing tag shows as <none>; a missing leader endpoint is no error."""
    stub.answer("/v1/agent/members", MEMBERS)
    assert run(["server", "members"]) == 0
    assert output() == (
        "Name          Address   Port  Status  Leader  Protocol  Build   Datacenter  Region\n"
        "old.eu        10.0.0.4  4648  left    false   2         <none>  <none>      eu\n"
        "plain         10.0.0.3  4648  alive   false   2         <none>  <none>      <none>\n"
        "web-1.global  10.0.0.1  4648  failed  false   2         1.2.6   dc1         global\n"
        "web-2.global  10.0.0.2  4648  alive   false   2         1.2.6   dc1         global\n",
        "",
    )
    # The region of a member that left is not asked about.
    assert stub.requests[1:] == [("GET", "/v1/status/leader?region=global")]


def test_leader_is_marked(stub: StubAgent, output: Output) -> None:
    """The member whose address and RPC port the leader query answers leads."""
    stub.answer("/v1/agent/members", MEMBERS)
    stub.answer("/v1/status/leader", "10.0.0.2:4647".join('""'))
    assert run(["server", "members"]) == 0
    leaders = [line.split()[0] for line in output()[0].splitlines() if line.split()[4] == "true"]
    assert leaders == ["web-2.global"]


def test_failing_leader_query_prints_the_table_and_exits_with_1(
    stub: StubAgent, output: Output
) -> None:
    """The members are worth showing even when nobody leads."""
    stub.answer("/v1/agent/members", MEMBERS)
    stub.answer("/v1/status/leader", "No cluster leader", 500)
    assert run(["server", "members"]) == 1
    out, err = output()
    assert len(out.splitlines()) == 5
    assert "Error determining leaders: region global: Unexpected response code: 500" in err


@pytest.mark.parametrize("option", ["-detailed", "--verbose"])
def test_detailed_members_show_every_tag(stub: StubAgent, output: Output, option: str) -> None:
    """Tags sorted by key."""
    stub.answer("/v1/agent/members", MEMBERS)
    assert run(["server", "members", option]) == 0
    assert output()[0].splitlines()[-1] == (
        "web-2.global  10.0.0.2  4648  build=1.2.6,dc=dc1,port=4647,region=global"
    )


def test_members_as_json_are_the_agents_answer(stub: StubAgent, output: Output) -> None:
    """Nothing added, nothing left out."""
    stub.answer("/v1/agent/members", MEMBERS)
    assert run(["server", "members", "-json"]) == 0
    assert json.loads(output()[0]) == MEMBERS


def test_join_asks_for_every_address(stub: StubAgent, output: Output) -> None:
    """Addresses go out in order, as they are."""
    stub.answer("/v1/agent/join", {"error": "", "num_joined": 2})
    assert run(["server", "join", "10.0.0.1", "a/b:1"]) == 0
    assert output()[0] == "Joined 2 servers successfully\n"
    (request,) = stub.requests
    assert request == ("PUT", "/v1/agent/join?address=10.0.0.1&address=a%2Fb%3A1")


def test_failed_join_shows_the_agents_error(stub: StubAgent, output: Output) -> None:
    """Exit code 1, and the error as the agent has it."""
    error = "1 error occurred:\n\t* Failed to resolve nope: lookup nope: no such host\n\n"
    stub.answer("/v1/agent/join", {"error": error, "num_joined": 0})
    assert run(["server", "join", "nope"]) == 1
    assert output() == ("", f"Error joining: {error.rstrip()}\n")
    assert run(["server", "join", "-json", "nope"]) == 1
    assert json.loads(output()[0])["num_joined"] == 0


def test_join_without_address_asks_for_one(output: Output) -> None:
    """No request is made."""
    assert run(["server", "join"]) == 1
    assert output()[1] == "Error: join: give at least one ADDRESS to join\n"


def test_agent_info_prints_sections_sorted(stub: StubAgent, output: Output) -> None:
    """Sections and keys in order, as Nomad's command has it."""
    stub.answer("/v1/agent/self", {"stats": {"serf": {"b": "2", "a": "1"}, "gossip": {"x": "y"}}})
    assert run(["agent-info"]) == 0
    assert output()[0] == "gossip\n  x = y\nserf\n  a = 1\n  b = 2\n"
    assert run(["agent-info", "-json"]) == 0
    assert json.loads(output()[0])["stats"]["gossip"] == {"x": "y"}


def test_other_status_than_200_is_told(stub: StubAgent, output: Output) -> None:
    """Status and text, in Nomad's words."""
    stub.answer("/v1/agent/self", "Permission denied", 403)
    assert run(["agent-info"]) == 1
    assert output()[1] == "Error: Unexpected response code: 403 (Permission denied)\n"


def test_what_is_no_agent_is_told(stub: StubAgent, output: Output) -> None:
    """Some other server on that port."""
    stub.answer("/v1/agent/self", "<html>")
    assert run(["agent-info"]) == 1
    assert "does not answer like an agent" in output()[1]


def test_agent_that_is_down_is_told_with_what_to_do(output: Output) -> None:
    """One line: where, why, and what to try."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        assert run(["agent-info", "-address", f"http://127.0.0.1:{port}"]) == 1
    assert output()[1] == (
        f"Error: cannot reach the agent at http://127.0.0.1:{port}: connection refused."
        " Is it running? -address or ROOKERY_ADDR names another\n"
    )


def test_agent_that_does_not_answer_is_told(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent server ends the command after its time."""
    monkeypatch.setattr(client, "ANSWER_SECONDS_MAX", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert run(["agent-info", "-address", address]) == 1
    assert "did not answer within 50ms" in output()[1]


@pytest.mark.parametrize(
    ("option", "rookery", "nomad", "url"),
    [
        (None, None, None, "http://127.0.0.1:4646"),
        (None, None, "http://n:1", "http://n:1"),
        (None, "http://r:1", "http://n:1", "http://r:1"),
        ("https://o:1/", "http://r:1", None, "https://o:1"),
        ("o:1", None, None, "http://o:1"),
    ],
)
def test_address_comes_from_option_then_environment(
    monkeypatch: pytest.MonkeyPatch,
    option: str | None,
    rookery: str | None,
    nomad: str | None,
    url: str,
) -> None:
    """-address, ROOKERY_ADDR, NOMAD_ADDR, the default; a bare host and port will do."""
    for name, value in (("ROOKERY_ADDR", rookery), ("NOMAD_ADDR", nomad)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert agent_url(option) == url


def test_address_of_another_kind_is_refused(output: Output) -> None:
    """Only HTTP is spoken."""
    assert run(["agent-info", "-address", "ftp://x"]) == 1
    assert "write http://HOST:PORT" in output()[1]


def test_version_is_shown(output: Output) -> None:
    """Ours, and Nomad's whose API it answers."""
    assert run(["version"]) == 0
    assert output()[0] == f"rookery v{VERSION} (answers the agent API of Nomad v1.2.6)\n"


def test_overview_lists_every_command(output: Output) -> None:
    """Names with a line each, and every one can be loaded."""
    assert run(["-help"]) == 0
    shown = output()[0]
    for name, (_, line) in COMMANDS.items():
        assert name in shown
        assert line in shown
        assert run([name, "-help"]) == 0


@pytest.mark.parametrize(
    ("arguments", "command"), [([], "agent-info"), (["server"], "force-leave")]
)
def test_group_without_a_command_shows_its_help(
    output: Output, arguments: list[str], command: str
) -> None:
    """Who types the bare name wants to know what there is."""
    run(arguments)
    shown = "".join(output())
    assert shown.startswith("Usage: rookery")
    assert command in shown


def test_unknown_command_is_told(output: Output) -> None:
    """One line, exit code 1."""
    assert run(["agnt"]) == 1
    assert output()[1].count("\n") == 1


def test_columns_are_aligned() -> None:
    """Two blanks between columns, none at the end."""
    assert format_columns([("A", "B"), ("long", ""), ("x", "y")]) == (
        "A     B\nlong  <none>\nx     y"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["version"], {"httpx", "trio", "asyncio", "msgspec"}),
        (["-help"], {"httpx", "trio", "asyncio", "msgspec"}),
        (["server", "members", "-address", "127.0.0.1:1"], {"structlog", "psutil"}),
    ],
)
def test_commands_load_only_what_they_need(arguments: list[str], heavy: set[str]) -> None:
    """Start-up stays quick: no command but `agent` imports the gossip layer or what it needs."""
    code = (
        f"import sys; from rookery.agent.cli.main import run; run({arguments!r});"
        "print('LOADED', *sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(result.stdout.rpartition("LOADED")[2].split())
    assert "click" in loaded
    assert not loaded & (heavy | {"msgpack", "cryptography", "hcl2", "rookery.gossip"})
