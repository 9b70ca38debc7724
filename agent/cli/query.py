"""`rookery query` and `rookery reachability`: ask the members, and show answers as they come.

Both follow the commands of `serf` in what they print. With `-json` each line is a document, as the
agent sent it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import click

from .client import AgentClient, address_option, print_json_line
from .event import read_payload
from .options import RookeryCommand, flag, option
from .tables import show_table, shown_text

CUT_SHORT = "the agent stopped before all answers were in"


@click.command(cls=RookeryCommand)
@address_option
@option("node", "Only this member answers. Repeatable.", metavar="NAME", multiple=True)
@option(
    "tag",
    "Only members answer whose tag matches the regular expression (RE2). Repeatable: all must.",
    metavar="KEY=REGEXP",
    multiple=True,
)
@option(
    "timeout",
    "How long to wait for answers, such as 15s. Default: what suits the pool's size.",
    metavar="TIME",
)
@flag("no-ack", "Do not have members acknowledge the query before they answer.")
@option(
    "relay-factor",
    "How many other members carry copies of each answer, for lossy networks. Default: 0.",
    metavar="N",
)
@flag("json", "Print each answer as a line of JSON.")
@click.argument("name")
@click.argument("payload", default="")
def query(
    address: str | None,
    node: tuple[str, ...],
    tag: tuple[str, ...],
    timeout: str | None,
    no_ack: bool | None,
    relay_factor: str | None,
    json: bool | None,
    name: str,
    payload: str,
) -> int:
    """Ask all members a query and show their answers as they come.

    PAYLOAD is any text, `-` for what standard input holds; the whole query has at most 1024 bytes.
    """
    parameters = [("name", name), ("ack", "false" if no_ack else "true")]
    parameters += [("node", text) for text in node]
    parameters += [("tag", text) for text in tag]
    parameters += [("timeout", timeout)] if timeout else []
    parameters += [("relay", relay_factor)] if relay_factor else []
    client = AgentClient(address)
    answers = client.put_lines("/v1/gossip/query", parameters, body=read_payload(payload))
    if json:
        return _pass_on(answers, lambda done: True)
    for number, document in enumerate(answers):
        if number == 0:
            click.echo(f"Query '{shown_text(name)}' dispatched")
        if document["Type"] == "ack":
            click.echo(f"Ack from '{shown_text(document['From'])}'")
        elif document["Type"] == "response":
            click.echo(f"Response from '{shown_text(document['From'])}': {_payload(document)}")
        elif document["Type"] == "done":
            if not no_ack:
                click.echo(f"Total Acks: {document['Acks']}")
            click.echo(f"Total Responses: {document['Responses']}")
            return 0
    raise click.ClickException(CUT_SHORT)


@click.command(cls=RookeryCommand)
@address_option
@flag("verbose", "Name each member that answers.")
@flag("json", "Print each answer as a line of JSON.")
def reachability(address: str | None, verbose: bool | None, json: bool | None) -> int:
    """Test which members can be reached from an agent, and can reach it.

    Exits with 1 if some live member does not answer.
    """
    answers = AgentClient(address).put_lines("/v1/gossip/reachability")
    if json:
        return _pass_on(answers, lambda done: not done["Missing"])
    click.echo("Starting reachability test...")
    for document in answers:
        if document["Type"] == "ack" and verbose:
            click.echo(f"\tAck from '{shown_text(document['From'])}'")
        elif document["Type"] == "done":
            return _show_result(document)
    raise click.ClickException(CUT_SHORT)


def _show_result(done: dict[str, Any]) -> int:
    """Print how a reachability test ended; return the exit code."""
    click.echo(f"Live members: {done['Members']}, acknowledged: {done['Acks']}")
    if not done["Missing"]:
        click.echo("Successfully contacted all live nodes.")
        return 0
    show_table([("Unreachable",), *((name,) for name in done["Missing"])])
    click.echo(
        "Some members did not acknowledge in time. Is UDP blocked between this agent and them,"
        " in one direction at least? `rookery server members -why NAME` tells what is known."
        " Members that fail only now will be listed as failed soon.",
        err=True,
    )
    return 1


def _pass_on(answers: Iterator[Any], succeeded: Callable[[Any], bool]) -> int:
    """Print documents as lines; return the exit code."""
    for document in answers:
        print_json_line(document)
        if document["Type"] == "done":
            return 0 if succeeded(document) else 1
    raise click.ClickException(CUT_SHORT)


def _payload(document: dict[str, Any]) -> str:
    """Return an answer's payload as text that can be shown; line breaks stay."""
    data = base64.b64decode(document["Payload"])
    return shown_text(data.decode("utf-8", "surrogateescape"), keeps="\n\t")
