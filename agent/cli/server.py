"""`rookery server`: the gossip pool as a running agent sees it.

`members` lists it, or says with `-why` how one of them came by its status; `join` and `force-leave`
change it. Names, output and exit codes are Nomad's (public API: `command/server_*.go`), but for
`-why`, `-json`, and the tables drawn on terminals.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import click

from ..addresses import join_host_port
from .client import (
    JOIN_SECONDS_MAX,
    AgentClient,
    UnexpectedResponse,
    address_option,
    print_json,
    tags_text,
)
from .options import RookeryCommand, flag, option
from .tables import show_table, shown_text

Member = Mapping[str, Any]


@click.group(context_settings={"help_option_names": ["-h", "-help", "--help"]})
def server() -> None:
    """List the members of the gossip pool, join pools, and force members out."""


@server.command(cls=RookeryCommand)
@address_option
@flag("detailed", "Show every tag instead of the usual columns.")
@flag("verbose", "The same as -detailed.")
@option("why", "Show how the member came by its status, oldest first.", metavar="NAME")
@flag("json", "Print the agent's answer as JSON.")
def members(
    address: str | None,
    detailed: bool | None,
    verbose: bool | None,
    why: str | None,
    json: bool | None,
) -> int:
    """List the members an agent knows, with their status."""
    client = AgentClient(address)
    if why is not None:
        return _show_evidence(client, why, json=bool(json))
    document = client.get("/v1/agent/members")
    if json:
        print_json(document)
        return 0
    found = sorted(document["Members"], key=lambda member: member["Name"])
    if detailed or verbose:
        show_table([("Name", "Address", "Port", "Tags"), *map(_detailed, found)])
        return 0
    leaders, problem = _find_leaders(client, found)
    show_table([HEADING, *(_standard(member, leaders) for member in found)])
    if problem:
        click.echo(f"\nError determining leaders: {problem}", err=True)
        return 1
    return 0


@server.command(cls=RookeryCommand)
@address_option
@flag("json", "Print the agent's answer as JSON.")
@click.argument("addresses", nargs=-1, metavar="ADDRESS...")
def join(address: str | None, json: bool | None, addresses: tuple[str, ...]) -> int:
    """Make the agent join the pools at the given addresses.

    An ADDRESS is ip, ip:port, host, host:port or [ip6]:port; the port defaults to the agent's own
    gossip port. It is enough that one of them answers.
    """
    if not addresses:
        raise click.UsageError("join: give at least one ADDRESS to join")
    query = [("address", text) for text in addresses]
    client = AgentClient(address)
    answer = client.put("/v1/agent/join", query, seconds_max=JOIN_SECONDS_MAX)
    if json:
        print_json(answer)
    elif answer["error"]:
        click.echo(f"Error joining: {answer['error'].rstrip()}", err=True)
    else:
        click.echo(f"Joined {answer['num_joined']} servers successfully")
    return 1 if answer["error"] else 0


@server.command("force-leave", cls=RookeryCommand)
@address_option
@flag("prune", "Erase the member from every list, instead of leaving it there as left.")
@flag("json", "Print what was done as JSON.")
@click.argument("nodes", nargs=-1, metavar="NODE")
def force_leave(
    address: str | None, prune: bool | None, json: bool | None, nodes: tuple[str, ...]
) -> int:
    """Force a failed member into the state left.

    For members that will not come back. One that is still alive refutes it and stays. NODE is the
    name in the list of members.
    """
    if len(nodes) != 1:
        raise click.UsageError("This command takes one argument: <node>")
    (node,) = nodes
    query = [("node", node), *([("prune", "1")] if prune else [])]
    try:
        AgentClient(address).act("/v1/agent/force-leave", query)
    except UnexpectedResponse as error:
        name = shown_text(node)
        click.echo(f"Error force-leaving server {name}: {error.format_message()}", err=True)
        return 1
    if json:
        print_json({"Node": node, "Prune": bool(prune)})
    return 0


HEADING = (
    "Name",
    "Address",
    "Port",
    "Status",
    "Leader",
    "Protocol",
    "Build",
    "Datacenter",
    "Region",
)


def _standard(member: Member, leaders: frozenset[str]) -> tuple[str, ...]:
    """Return a member's row. It leads if its RPC address is one of `leaders`."""
    tags = member["Tags"]
    leads = join_host_port(member["Addr"], tags.get("port", "")) in leaders
    return (
        member["Name"],
        member["Addr"],
        str(member["Port"]),
        member["Status"],
        str(leads).lower(),
        str(member["ProtocolCur"]),
        tags.get("build", ""),
        tags.get("dc", ""),
        tags.get("region", ""),
    )


def _detailed(member: Member) -> tuple[str, ...]:
    return member["Name"], member["Addr"], str(member["Port"]), tags_text(member["Tags"])


EVIDENCE_HEADING = ("Time", "What", "By", "Incarnation", "LTime", "Detail")


def _show_evidence(client: AgentClient, name: str, *, json: bool) -> int:
    """Print why a member has its status; return the exit code."""
    try:
        document = client.get("/v1/gossip/evidence", [("node", name)])
    except UnexpectedResponse as error:
        if error.status != 404:
            raise
        raise click.ClickException(_unknown(client, name)) from None
    if json:
        print_json(document)
        return 0
    click.echo(f"{shown_text(document['Name'])} is {document['Status']}")
    if document["Evidence"]:
        show_table([EVIDENCE_HEADING, *map(_evidence, document["Evidence"])])
    return 0


def _evidence(record: Mapping[str, Any]) -> tuple[str, ...]:
    incarnation, ltime = record["Incarnation"], record["LTime"]
    return (
        record["Time"],
        record["Kind"],
        record["By"] or "-",
        "-" if incarnation is None else str(incarnation),
        "-" if ltime is None else str(ltime),
        record["Detail"] or "-",
    )


def _unknown(client: AgentClient, name: str) -> str:
    """Return the text for a name nobody has, with the nearest one somebody has."""
    names = [member["Name"] for member in client.get("/v1/agent/members")["Members"]]
    # Often the region is what is missing.
    near = [known for known in names if known.startswith(f"{name}.")]
    near += difflib.get_close_matches(name, names, n=1)
    hint = f'; did you mean "{shown_text(near[0])}"?' if near else ""
    return f'there is no member "{shown_text(name)}"{hint}'


def _find_leaders(client: AgentClient, members: Iterable[Member]) -> tuple[frozenset[str], str]:
    """Ask for the leader of every region that has a member; return them, and what went wrong.

    An agent that answers 404 has no notion of a leader, which is no error.
    """
    regions = {
        member["Tags"]["region"]
        for member in members
        if member["Status"] != "left" and "region" in member["Tags"]
    }
    leaders, problem = set(), ""
    for region in sorted(regions):
        try:
            leaders.add(client.get("/v1/status/leader", [("region", region)]))
        except UnexpectedResponse as error:
            if error.status != 404:
                problem = problem or f"region {region}: {error.format_message()}"
    return frozenset(leaders), problem
