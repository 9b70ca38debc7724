"""Commands for the pool: what they ask the agent for, what they print, how they end."""

from __future__ import annotations

import base64
import io
import json
import sys
from types import SimpleNamespace

import pytest
from rookery.agent.cli.main import run
from rookery.agent.cli.tables import format_columns, show_table, shown_text

KEY = "cg8StVXbQJ0gPvMd9o7yrg=="
OTHER_KEY = "PGm64/neoebUBqYR/lZTbA=="
KEYRING = {"Keys": {KEY: 3, OTHER_KEY: 2}, "Messages": {}, "NumNodes": 3}
QUERY = "/v1/gossip/query"
REACHABILITY = "/v1/gossip/reachability"


def type_in(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Give a command its standard input."""
    reader = io.BytesIO(data)
    stdin = SimpleNamespace(buffer=reader, readline=lambda: reader.readline().decode())
    monkeypatch.setattr(sys, "stdin", stdin)


# server force-leave


@pytest.mark.parametrize(
    ("flags", "query"), [([], "node=a.global"), (["-prune"], "node=a.global&prune=1")]
)
def test_force_leave_is_silent(asked_agent, printed, flags, query) -> None:
    """As Nomad's: nothing is printed when it worked."""
    asked_agent.answer("/v1/agent/force-leave", "")
    assert run(["server", "force-leave", *flags, "a.global"]) == 0
    assert asked_agent.asked == [("PUT", f"/v1/agent/force-leave?{query}", b"")]
    assert printed() == ("", "")


def test_force_leave_as_json_says_what_was_done(asked_agent, printed) -> None:
    """The agent answers nothing that could be shown."""
    asked_agent.answer("/v1/agent/force-leave", "")
    assert run(["server", "force-leave", "-json", "-prune", "a"]) == 0
    assert json.loads(printed()[0]) == {"Node": "a", "Prune": True}


def test_failed_force_leave_is_told_in_nomads_words(asked_agent, printed) -> None:
    """On stderr, with exit code 1."""
    asked_agent.answer("/v1/agent/force-leave", "timed out broadcasting node removal", 500)
    assert run(["server", "force-leave", "a"]) == 1
    assert printed() == (
        "",
        "Error force-leaving server a: Unexpected response code: 500"
        " (timed out broadcasting node removal)\n",
    )


@pytest.mark.parametrize("nodes", [[], ["a", "b"]])
def test_force_leave_takes_one_name(asked_agent, printed, nodes) -> None:
    """Nothing is asked of the agent otherwise."""
    assert run(["server", "force-leave", *nodes]) == 1
    assert printed()[1] == "Error: This command takes one argument: <node>\n"
    assert asked_agent.asked == []


# server members -why


EVIDENCE = {
    "Name": "web-1.global",
    "Status": "failed",
    "Evidence": [
        {
            "Time": "2026-02-03T04:05:06Z",
            "Kind": "suspected",
            "By": "web-2.global",
            "Incarnation": 3,
            "LTime": None,
            "Detail": "",
        },
        {
            "Time": "2026-02-03T04:05:09Z",
            "Kind": "declared-dead",
            "By": "",
            "Incarnation": None,
            "LTime": 12,
            "Detail": "confirmed by 2",
        },
    ],
}


def test_why_shows_a_members_history(asked_agent, printed) -> None:
    """Who said what and when; nothing is asked about leaders."""
    asked_agent.answer("/v1/gossip/evidence", EVIDENCE)
    assert run(["server", "members", "-why", "web-1.global"]) == 0
    assert printed()[0] == (
        "web-1.global is failed\n"
        "Time                  What           By            Incarnation  LTime  Detail\n"
        "2026-02-03T04:05:06Z  suspected      web-2.global  3            -      -\n"
        "2026-02-03T04:05:09Z  declared-dead  -             -            12     confirmed by 2\n"
    )
    assert asked_agent.asked == [("GET", "/v1/gossip/evidence?node=web-1.global", b"")]


def test_why_as_json_is_the_agents_answer(asked_agent, printed) -> None:
    """Nothing added, nothing left out."""
    asked_agent.answer("/v1/gossip/evidence", EVIDENCE)
    assert run(["server", "members", "-json", "-why=web-1.global"]) == 0
    assert json.loads(printed()[0]) == EVIDENCE


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("web-1", '; did you mean "web-1.global"?'),
        ("web-l.global", '; did you mean "web-1.global"?'),
        ("nothing-like-it", ""),
    ],
)
def test_why_of_a_stranger_names_the_nearest_member(asked_agent, printed, name, hint) -> None:
    """Often only the region was left out."""
    asked_agent.answer("/v1/gossip/evidence", f'Unknown node "{name}"', 404)
    members = [{"Name": "x.eu"}, {"Name": "web-1.global"}]
    asked_agent.answer("/v1/agent/members", {"Members": members})
    assert run(["server", "members", "-why", name]) == 1
    assert printed() == ("", f'Error: there is no member "{name}"{hint}\n')


def test_why_on_an_agent_in_trouble_is_told(asked_agent, printed) -> None:
    """Any other status is no stranger."""
    asked_agent.answer("/v1/gossip/evidence", "Invalid method", 501)
    assert run(["server", "members", "-why", "a"]) == 1
    assert printed()[1] == "Error: Unexpected response code: 501 (Invalid method)\n"


# operator gossip keyring, operator keyring


LIST_COMMANDS = [["operator", "gossip", "keyring", "list"], ["operator", "keyring", "-list"]]


@pytest.mark.parametrize("command", LIST_COMMANDS)
def test_keys_are_listed_in_nomads_form(asked_agent, printed, command) -> None:
    """What it does, then the keys, sorted."""
    asked_agent.answer("/v1/agent/keyring/list", KEYRING)
    assert run(command) == 0
    assert printed() == (
        f"Gathering installed encryption keys...\nKey\n{OTHER_KEY}\n{KEY}\n",
        "",
    )
    assert asked_agent.asked == [("PUT", "/v1/agent/keyring/list", b"")]


@pytest.mark.parametrize("command", LIST_COMMANDS)
def test_keys_as_json_have_counts(asked_agent, printed, command) -> None:
    """The agent's answer and nothing else."""
    asked_agent.answer("/v1/agent/keyring/list", KEYRING)
    assert run([*command, "-json"]) == 0
    assert json.loads(printed()[0]) == KEYRING


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        ("install", "Installing new gossip encryption key..."),
        ("use", "Changing primary gossip encryption key..."),
        ("remove", "Removing gossip encryption key..."),
    ],
)
@pytest.mark.parametrize("is_old", [False, True])
def test_keys_are_changed(asked_agent, printed, operation, text, is_old) -> None:
    """Both spellings send the key in a body, never in the URL, and print one line."""
    asked_agent.answer(f"/v1/agent/keyring/{operation}", {**KEYRING, "Keys": {}})
    new = ["operator", "gossip", "keyring", operation, KEY]
    old = ["operator", "keyring", f"-{operation}", KEY]
    assert run(old if is_old else new) == 0
    assert printed() == (f"{text}\n", "")
    ((method, target, body),) = asked_agent.asked
    assert (method, target, json.loads(body)) == (
        "PUT",
        f"/v1/agent/keyring/{operation}",
        {"Key": KEY},
    )


def test_key_is_read_from_standard_input(asked_agent, monkeypatch) -> None:
    """So that it is not seen in the list of processes."""
    asked_agent.answer("/v1/agent/keyring/install", KEYRING)
    for command in (["gossip", "keyring", "install", "-"], ["keyring", "-install", "-"]):
        type_in(monkeypatch, KEY.encode() + b"\n")
        assert run(["operator", *command]) == 0
    assert [json.loads(asked.body) for asked in asked_agent.asked] == [{"Key": KEY}] * 2


def test_failed_key_operation_is_told_in_nomads_words(asked_agent, printed) -> None:
    """On stderr, with exit code 1."""
    asked_agent.answer("/v1/agent/keyring/use", "1/3 nodes reported failure", 500)
    assert run(["operator", "gossip", "keyring", "use", KEY]) == 1
    assert printed() == (
        "Changing primary gossip encryption key...\n",
        "error: Unexpected response code: 500 (1/3 nodes reported failure)\n",
    )


def test_what_members_remark_is_shown(asked_agent, printed) -> None:
    """On stderr: it is no failure."""
    messages = {"b.global": "truncated key list response", "a\x1b.global": "x"}
    asked_agent.answer("/v1/agent/keyring/list", {**KEYRING, "Messages": messages})
    assert run(["operator", "gossip", "keyring", "list"]) == 0
    assert printed()[1] == "a\\x1b.global: x\nb.global: truncated key list response\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["gossip", "keyring", "install"], "This command requires one argument: <key>"),
        (["gossip", "keyring", "use", "a", "b"], "This command requires one argument: <key>"),
        (["keyring", "-list", "-use", "a"], "Only a single action is allowed"),
        (["keyring", "-install", "a", "-use", "b"], "Only a single action is allowed"),
        (["keyring"], "No actionable argument was passed"),
    ],
)
def test_wrong_arguments_for_keys_are_told(asked_agent, printed, arguments, text) -> None:
    """Nothing is asked of the agent."""
    assert run(["operator", *arguments]) == 1
    assert printed()[1].startswith(f"Error: {text}")
    assert asked_agent.asked == []


def test_key_is_generated(printed) -> None:
    """32 random bytes, another one each time."""
    keys = []
    for _ in range(2):
        assert run(["operator", "gossip", "keyring", "generate"]) == 0
        keys.append(base64.b64decode(printed()[0], validate=False))
    assert [len(key) for key in keys] == [32, 32]
    assert keys[0] != keys[1]


# event


@pytest.mark.parametrize(
    ("flags", "coalesce"), [([], "true"), (["-coalesce=false"], "false"), (["-coalesce"], "true")]
)
def test_event_is_sent(asked_agent, printed, flags, coalesce) -> None:
    """Serf's words; the payload is the request's body."""
    asked_agent.answer("/v1/gossip/event", {"LTime": 1})
    assert run(["event", *flags, "deploy it", "v1 ü"]) == 0
    assert printed()[0] == f"Event 'deploy it' dispatched! Coalescing enabled: {coalesce}\n"
    assert asked_agent.asked == [
        ("PUT", f"/v1/gossip/event?name=deploy+it&coalesce={coalesce}", "v1 ü".encode())
    ]


def test_event_payload_may_come_from_standard_input(asked_agent, monkeypatch, printed) -> None:
    """Any bytes."""
    asked_agent.answer("/v1/gossip/event", {"LTime": 1})
    type_in(monkeypatch, b"\0\xff\n")
    assert run(["event", "-json", "a", "-"]) == 0
    assert asked_agent.asked[0].body == b"\0\xff\n"
    assert json.loads(printed()[0]) == {"LTime": 1}


def test_event_that_is_too_large_is_told(asked_agent, printed) -> None:
    """The agent's text has both sizes."""
    asked_agent.answer("/v1/gossip/event", "user event exceeds configured limit of 512 bytes", 400)
    assert run(["event", "a", "x" * 600]) == 1
    assert "(user event exceeds configured limit of 512 bytes)" in printed()[1]


# query


ANSWERS = [
    {"Type": "ack", "From": "a"},
    {},
    {"Type": "response", "From": "a", "Payload": base64.b64encode(b"up\n\x1b[2J\xff").decode()},
    {"Type": "done", "Acks": 1, "Responses": 1},
]


def test_answers_are_shown_as_they_come(asked_agent, printed) -> None:
    """In serf's words, heartbeats left out, control characters made harmless."""
    asked_agent.stream(QUERY, ANSWERS)
    assert run(["query", "uptime", "now"]) == 0
    assert printed()[0] == (
        "Query 'uptime' dispatched\n"
        "Ack from 'a'\n"
        "Response from 'a': up\n\\x1b[2J\\xff\n"
        "Total Acks: 1\n"
        "Total Responses: 1\n"
    )
    assert asked_agent.asked == [("PUT", f"{QUERY}?name=uptime&ack=true", b"now")]


def test_query_flags_are_parameters(asked_agent, printed) -> None:
    """Repeatable ones keep their order; without acks their total means nothing."""
    asked_agent.stream(QUERY, [ANSWERS[-1]])
    flags = "-node a -node b -tag role=web -timeout 5s -no-ack -relay-factor 2"
    assert run(["query", *flags.split(), "x"]) == 0
    assert asked_agent.asked[0].target == (
        f"{QUERY}?name=x&ack=false&node=a&node=b&tag=role%3Dweb&timeout=5s&relay=2"
    )
    assert printed()[0] == "Query 'x' dispatched\nTotal Responses: 1\n"


def test_answers_as_json_are_lines(asked_agent, printed) -> None:
    """Each document as the agent sent it, but for heartbeats."""
    asked_agent.stream(QUERY, ANSWERS)
    assert run(["query", "-json", "x"]) == 0
    documents = [json.loads(line) for line in printed()[0].splitlines()]
    assert documents == [ANSWERS[0], *ANSWERS[2:]]


@pytest.mark.parametrize("flags", [[], ["-json"]])
@pytest.mark.parametrize("command", [["query", "x"], ["reachability"]])
def test_answers_that_are_cut_short_are_told(asked_agent, printed, command, flags) -> None:
    """Without the last document nobody knows what is missing: exit code 1."""
    asked_agent.stream(QUERY, ANSWERS[:1])
    asked_agent.stream(REACHABILITY, ANSWERS[:1])
    assert run([*command, *flags]) == 1
    assert "the agent stopped before all answers were in" in printed()[1]


def test_refused_query_is_told(asked_agent, printed) -> None:
    """With the agent's text."""
    text = "query exceeds limit of 1024 bytes: it has 1200"
    asked_agent.answer(QUERY, text, 400)
    assert run(["query", "x", "y" * 1100]) == 1
    assert printed() == ("", f"Error: Unexpected response code: 400 ({text})\n")


def test_query_to_no_agent_is_told(printed) -> None:
    """As by any command."""
    assert run(["query", "-address", "127.0.0.1:1", "x"]) == 1
    assert "cannot reach the agent at http://127.0.0.1:1" in printed()[1]


def test_stream_that_is_none_is_told(asked_agent, printed) -> None:
    """Some other server on that port."""
    asked_agent.answer(QUERY, "<html>")
    assert run(["query", "x"]) == 1
    assert "does not answer like an agent" in printed()[1]


# reachability


def test_reachable_pool_is_told(asked_agent, printed) -> None:
    """Members by name with -verbose only."""
    done = {"Type": "done", "Members": 1, "Acks": 1, "Missing": []}
    asked_agent.stream(REACHABILITY, [ANSWERS[0], done])
    rest = "Live members: 1, acknowledged: 1\nSuccessfully contacted all live nodes.\n"
    assert run(["reachability"]) == 0
    assert printed() == (f"Starting reachability test...\n{rest}", "")
    assert run(["reachability", "-verbose"]) == 0
    assert printed()[0] == f"Starting reachability test...\n\tAck from 'a'\n{rest}"


@pytest.mark.parametrize("flags", [[], ["-json"]])
def test_unreachable_members_are_named(asked_agent, printed, flags) -> None:
    """With exit code 1, and what could be the matter."""
    done = {"Type": "done", "Members": 3, "Acks": 1, "Missing": ["b", "c"]}
    asked_agent.stream(REACHABILITY, [ANSWERS[0], done])
    assert run(["reachability", *flags]) == 1
    out, err = printed()
    if flags:
        assert json.loads(out.splitlines()[-1]) == done
    else:
        assert out.endswith("Live members: 3, acknowledged: 1\nUnreachable\nb\nc\n")
        assert "Is UDP blocked" in err


# rtt


@pytest.mark.parametrize(
    ("nodes", "target", "ends", "shown"),
    [
        (["a", "b"], "from=a&to=b", ("a", "b"), "a <-> b"),
        (["b"], "to=b", ("me", "b"), "b <-> me"),
    ],
)
def test_round_trip_is_shown_in_milliseconds(
    asked_agent, printed, nodes, target, ends, shown
) -> None:
    """In serf's words; with one name the other end is the agent's own."""
    answer = {"From": ends[0], "To": ends[1], "RTT": 0.0006104}
    asked_agent.answer("/v1/gossip/rtt", answer)
    assert run(["rtt", *nodes]) == 0
    assert printed()[0] == f"Estimated {shown} rtt: 0.610 ms\n"
    assert asked_agent.asked[0].target == f"/v1/gossip/rtt?{target}"
    assert run(["rtt", "-json", *nodes]) == 0
    assert json.loads(printed()[0]) == answer


def test_unknown_round_trip_is_told(asked_agent, printed) -> None:
    """With exit code 1; as JSON it is null."""
    asked_agent.answer("/v1/gossip/rtt", {"From": "a", "To": "b", "RTT": None})
    assert run(["rtt", "a", "b"]) == 1
    assert printed()[1].startswith("Error: no estimate between a and b: ")
    assert run(["rtt", "-json", "a", "b"]) == 1
    assert json.loads(printed()[0])["RTT"] is None


@pytest.mark.parametrize("nodes", [[], ["a", "b", "c"]])
def test_rtt_takes_one_or_two_names(asked_agent, printed, nodes) -> None:
    """Nothing is asked of the agent otherwise."""
    assert run(["rtt", *nodes]) == 1
    assert printed()[1] == "Error: rtt: give the names of one or two members\n"
    assert asked_agent.asked == []


# tags


def test_tags_are_shown(asked_agent, printed) -> None:
    """Sorted by name; empty values are seen to be."""
    asked_agent.answer("/v1/gossip/tags", {"role": "nomad", "dc": "dc1", "x": ""})
    assert run(["tags"]) == 0
    assert printed()[0] == "Tag   Value\ndc    dc1\nrole  nomad\nx     <none>\n"
    assert asked_agent.asked == [("GET", "/v1/gossip/tags", b"")]
    assert run(["tags", "-json"]) == 0
    assert json.loads(printed()[0]) == {"role": "nomad", "dc": "dc1", "x": ""}


def test_tags_are_changed(asked_agent, printed) -> None:
    """All changes in one request."""
    asked_agent.answer("/v1/gossip/tags", {"a": "b=c"})
    assert run(["tags", "-set", "a=b=c", "-set", "d=", "-delete", "e", "-delete=f"]) == 0
    assert printed()[0] == "Successfully updated agent tags\n"
    ((method, target, body),) = asked_agent.asked
    assert (method, target) == ("PUT", "/v1/gossip/tags")
    assert json.loads(body) == {"Set": {"a": "b=c", "d": ""}, "Delete": ["e", "f"]}


def test_refused_tags_are_told(asked_agent, printed) -> None:
    """With the agent's text."""
    asked_agent.answer("/v1/gossip/tags", 'tag "dc" is the agent\'s own and cannot be changed', 400)
    assert run(["tags", "-delete", "dc"]) == 1
    assert 'tag "dc" is the agent\'s own' in printed()[1]


@pytest.mark.parametrize("value", ["a", "=b"])
def test_tag_without_a_name_or_value_is_refused(asked_agent, printed, value) -> None:
    """Nothing is asked of the agent."""
    assert run(["tags", "-set", value]) == 1
    assert printed()[1] == f"Error: -set {value}: write KEY=VALUE\n"
    assert asked_agent.asked == []


# Tables


def test_tables_are_drawn_on_a_terminal(terminal, printed) -> None:
    """No wider than it is: long cells are folded, none is cut."""
    show_table([("Name", "Value"), ("a", "x" * 100), ("[b]", "")])
    out = printed()[0]
    assert max(map(len, out.splitlines())) <= 60
    assert out.count("x") == 100
    assert "[b]" in out
    assert "<none>" in out
    assert "────" in out


def test_what_others_wrote_cannot_steer_a_terminal(terminal, printed) -> None:
    """Control characters are shown escaped, in either form of table."""
    rows = [("Name",), ("a\x1b[2Jb\nc",)]
    show_table(rows)
    assert "a\\x1b[2Jb\\nc" in printed()[0]
    assert format_columns(rows) == "Name\na\\x1b[2Jb\\nc"
    assert shown_text("ü\t\u202e\n", keeps="\t") == "ü\t\\u202e\\n"
