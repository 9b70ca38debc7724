"""The command `rookery`: which commands there are, and how their errors end.

Starting is quick because a command's module is imported only when it runs: `rookery version` must
not pay for the gossip engine, nor `rookery server members` for trio. So the table below holds names
and one line each, and nothing else is needed for `rookery -help`.

Whatever is wrong ends in one line on stderr and exit code 1, as with Nomad's commands; a group
without a command shows its help instead.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

COMMANDS: Mapping[str, tuple[str, str]] = {
    "agent": ("agent:agent", "Run an agent in the foreground"),
    "agent-info": ("agent_info:agent_info", "Show a running agent's statistics"),
    "event": ("event:event", "Send a user event to all members"),
    "operator": ("operator_group:operator", "Manage gossip keys (gossip keyring, keyring)"),
    "query": ("query:query", "Ask all members a query and show their answers"),
    "reachability": ("query:reachability", "Test which members can be reached"),
    "rtt": ("rtt:rtt", "Estimate the round trip between members"),
    "server": ("server:server", "List, join and force out members (members, join, force-leave)"),
    "tags": ("tags:tags", "Show and change an agent's tags"),
    "version": ("version:version", "Show the version"),
}
"""Command -> where it is in this package, and its line in the overview."""


NO_COMMAND: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())
"""What click from 8.2 on raises for a group without a command; its message is the whole help. Older
ones print the help themselves."""


class RookeryGroup(click.Group):
    """The commands of `COMMANDS`, imported when they are called."""

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        return ["-h", "-help", "--help"]

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(f".{module}", __package__), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in sorted(COMMANDS)])


@click.group(cls=RookeryGroup)
def rookery() -> None:
    """A gossip agent that speaks memberlist and Serf, and answers Nomad's agent API."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    try:
        result = rookery.main(
            None if arguments is None else list(arguments),
            prog_name="rookery",
            standalone_mode=False,
        )
    except NO_COMMAND as error:
        click.echo(error.format_message(), err=True)
        return 1
    except click.ClickException as error:
        # Some messages of click have several lines; the first says what is wrong.
        click.echo(f"Error: {error.format_message().splitlines()[0]}", err=True)
        return 1
    except (click.Abort, KeyboardInterrupt):
        return 1
    except BrokenPipeError:
        # Who reads our output (head, less) has seen enough. Nothing may be flushed at exit any
        # more.
        sys.stdout = None
        return 1
    return result if isinstance(result, int) else 0
