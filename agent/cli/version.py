"""`rookery version`."""

from __future__ import annotations

import click

from ..version import NOMAD_API_LEVEL, VERSION
from .options import RookeryCommand


@click.command(cls=RookeryCommand)
def version() -> None:
    """Show rookery's version, and the version of Nomad's API it answers."""
    click.echo(f"rookery v{VERSION} (answers the agent API of Nomad v{NOMAD_API_LEVEL})")
