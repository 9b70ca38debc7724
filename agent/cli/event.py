"""`rookery event`: fire a user event, as `serf event` does."""

from __future__ import annotations

import os
import sys

import click

from .client import AgentClient, address_option, print_json
from .options import RookeryCommand, flag, switch
from .tables import shown_text


@click.command(cls=RookeryCommand)
@address_option
@switch(
    "coalesce",
    "Receivers may drop it for a newer one of the same name. Default: true; -coalesce=false has"
    " every single one delivered.",
)
@flag("json", "Print the agent's answer as JSON.")
@click.argument("name")
@click.argument("payload", default="")
def event(address: str | None, coalesce: bool, json: bool | None, name: str, payload: str) -> None:
    """Send a user event to all members.

    PAYLOAD is any text, `-` for what standard input holds; with the name at most 512 bytes.
    """
    wanted = str(coalesce).lower()
    answer = AgentClient(address).put(
        "/v1/gossip/event",
        [("name", name), ("coalesce", wanted)],
        body=read_payload(payload),
    )
    if json:
        print_json(answer)
    else:
        click.echo(f"Event '{shown_text(name)}' dispatched! Coalescing enabled: {wanted}")


def read_payload(text: str) -> bytes:
    """Return a payload, from standard input for `-`."""
    if text == "-":
        return sys.stdin.buffer.read()
    return os.fsencode(text)
