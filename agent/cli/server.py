"""`rookery server`: the gossip pool as a running agent sees it (`members`, `join`)."""

from __future__ import annotations

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
from .options import RookeryCommand, flag
from .tables import format_columns

Member = Mapping[str, Any]


@click.group(context_settings={"help_option_names": ["-h", "-help", "--help"]})
def server() -> None:
    """List the members of the gossip pool, and join pools."""


@server.command(cls=RookeryCommand)
@address_option
@flag("detailed", "Show every tag instead of the usual columns.")
@flag("verbose", "The same as -detailed.")
@flag("json", "Print the agent's answer as JSON.")
def members(
    address: str | None, detailed: bool | None, verbose: bool | None, json: bool | None
) -> int:
    """List the members an agent knows, with their status."""
    client = AgentClient(address)
    document = client.get("/v1/agent/members")
    if json:
        print_json(document)
        return 0
    found = sorted(document["Members"], key=lambda member: member["Name"])
    if detailed or verbose:
        click.echo(format_columns([("Name", "Address", "Port", "Tags"), *map(_detailed, found)]))
        return 0
    leaders, problem = _find_leaders(client, found)
    click.echo(format_columns([HEADING, *(_standard(member, leaders) for member in found)]))
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
