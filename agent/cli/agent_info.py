"""`rookery agent-info`: what a running agent counts."""

from __future__ import annotations

import click

from .client import AgentClient, address_option, print_json
from .options import RookeryCommand, flag


@click.command("agent-info", cls=RookeryCommand)
@address_option
@flag("json", "Print the agent's whole answer as JSON.")
def agent_info(address: str | None, json: bool | None) -> None:
    """Show a running agent's statistics, section by section."""
    document = AgentClient(address).get("/v1/agent/self")
    if json:
        print_json(document)
        return
    for section, values in sorted(document["stats"].items()):
        click.echo(section)
        for key, value in sorted(values.items()):
            click.echo(f"  {key} = {value}")
