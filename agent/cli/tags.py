"""`rookery tags`: show and change an agent's own tags, as `serf tags` does."""

from __future__ import annotations

import json as json_module

import click

from .client import AgentClient, address_option, print_json
from .options import RookeryCommand, flag, option
from .tables import show_table

PATH = "/v1/gossip/tags"


@click.command(cls=RookeryCommand)
@address_option
@option("set", "Create or change a tag. Repeatable.", metavar="KEY=VALUE", multiple=True)
@option("delete", "Remove a tag, if it is there. Repeatable.", metavar="KEY", multiple=True)
@flag("json", "Print the tags as JSON.")
def tags(
    address: str | None, set: tuple[str, ...], delete: tuple[str, ...], json: bool | None
) -> None:
    """Show an agent's tags, or change them: all members see the change.

    Tags that say what the agent is (role, region, dc, …) cannot be changed. Changes end with the
    agent; for good they belong into its settings, at gossip.tags.
    """
    client = AgentClient(address)
    if set or delete:
        changes = {"Set": dict(map(_split, set)), "Delete": list(delete)}
        answer = client.put(PATH, body=json_module.dumps(changes).encode())
    else:
        answer = client.get(PATH)
    if json:
        print_json(answer)
    elif set or delete:
        click.echo("Successfully updated agent tags")
    else:
        show_table([("Tag", "Value"), *((name, answer[name]) for name in sorted(answer))])


def _split(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.UsageError(f"-set {text}: write KEY=VALUE")
    return name, value
