"""`rookery operator`: the gossip keys of all members, by Nomad's commands.

There are two spellings of the same: `operator gossip keyring install KEY`, and the older `operator
keyring -install KEY`. What they print and return is Nomad's (public API: its
`command/operator_keyring.go` and `command/operator_gossip_keyring_*.go`). A key given on the
command line is seen by who can list processes; `-` reads it from standard input.
"""

from __future__ import annotations

import base64
import secrets
import sys
from typing import Any

import click

from .client import (
    KEYRING_SECONDS_MAX,
    AgentClient,
    UnexpectedResponse,
    address_option,
    print_json,
)
from .options import RookeryCommand, flag, option
from .tables import show_table, shown_text

KEY_SIZE = 32
"""Bytes of a key made here: AES-256."""

PROGRESS = {
    "list": "Gathering installed encryption keys...",
    "install": "Installing new gossip encryption key...",
    "use": "Changing primary gossip encryption key...",
    "remove": "Removing gossip encryption key...",
}

HELP_NAMES = {"help_option_names": ["-h", "-help", "--help"]}


@click.group(context_settings=HELP_NAMES)
def operator() -> None:
    """Manage the pool as a whole."""


@operator.group(context_settings=HELP_NAMES)
def gossip() -> None:
    """Manage gossip between members."""


@gossip.group(context_settings=HELP_NAMES)
def keyring() -> None:
    """Manage the keys that gossip is encrypted with, on all members at once.

    To change the key of a running pool: install the new one, use it, remove the old one.
    """


@keyring.command("list", cls=RookeryCommand)
@address_option
@flag("json", "Print the agent's answer as JSON: it has counts of members.")
def list_keys(address: str | None, json: bool | None) -> int:
    """List the keys that members have installed."""
    return run_operation("list", "", address, json=bool(json))


@keyring.command(cls=RookeryCommand)
@address_option
@flag("json", "Print the agent's answer as JSON.")
@click.argument("keys", nargs=-1, metavar="KEY")
def install(address: str | None, json: bool | None, keys: tuple[str, ...]) -> int:
    """Install a key on all members, for reading; writing goes on with the primary one."""
    return run_operation("install", only_key(keys), address, json=bool(json))


@keyring.command(cls=RookeryCommand)
@address_option
@flag("json", "Print the agent's answer as JSON.")
@click.argument("keys", nargs=-1, metavar="KEY")
def use(address: str | None, json: bool | None, keys: tuple[str, ...]) -> int:
    """Make an installed key the one that all members write with."""
    return run_operation("use", only_key(keys), address, json=bool(json))


@keyring.command(cls=RookeryCommand)
@address_option
@flag("json", "Print the agent's answer as JSON.")
@click.argument("keys", nargs=-1, metavar="KEY")
def remove(address: str | None, json: bool | None, keys: tuple[str, ...]) -> int:
    """Remove a key from all members; it must not be the one they write with."""
    return run_operation("remove", only_key(keys), address, json=bool(json))


@keyring.command(cls=RookeryCommand)
def generate() -> None:
    """Make a key, for `install` or the setting server.encrypt. Asks no agent."""
    click.echo(base64.b64encode(secrets.token_bytes(KEY_SIZE)).decode("ascii"))


@operator.command("keyring", cls=RookeryCommand)
@address_option
@flag("list", "List the keys that members have installed.")
@option("install", "Install a key on all members.", metavar="KEY")
@option("use", "Make an installed key the one that all members write with.", metavar="KEY")
@option("remove", "Remove a key from all members.", metavar="KEY")
@flag("json", "Print the agent's answer as JSON.")
def old_keyring(
    address: str | None, json: bool | None, list: bool | None, **keys: str | None
) -> int:
    """Manage gossip keys; the older spelling of `operator gossip keyring`."""
    given = [(operation, key) for operation, key in keys.items() if key]
    if list:
        given.append(("list", ""))
    if len(given) > 1:
        raise click.UsageError("Only a single action is allowed")
    if not given:
        raise click.UsageError(
            "No actionable argument was passed: either the '-install', '-use', '-remove' or"
            " '-list' flag must be set"
        )
    ((operation, key),) = given
    return run_operation(operation, read_key(key), address, json=bool(json))


def only_key(keys: tuple[str, ...]) -> str:
    """Return the one key of a command line.

    Raises:
        click.UsageError: There is none, or there are several.
    """
    if len(keys) != 1:
        raise click.UsageError("This command requires one argument: <key>")
    return read_key(keys[0])


def read_key(text: str) -> str:
    """Return a key, from standard input for `-`."""
    return sys.stdin.readline().strip() if text == "-" else text


def run_operation(operation: str, key: str, address: str | None, *, json: bool) -> int:
    """Run one operation on all members and print what came of it; return the exit code."""
    import json as json_module

    client = AgentClient(address)
    path = f"/v1/agent/keyring/{operation}"
    if not json:
        click.echo(PROGRESS[operation])
    body = b"" if operation == "list" else json_module.dumps({"Key": key}).encode()
    try:
        answer = client.put(path, body=body, seconds_max=KEYRING_SECONDS_MAX)
    except UnexpectedResponse as error:
        click.echo(f"error: {error.format_message()}", err=True)
        return 1
    if json:
        print_json(answer)
    elif operation == "list":
        show_table([("Key",), *((key,) for key in sorted(answer["Keys"]))])
    show_messages(answer)
    return 0


def show_messages(answer: dict[str, Any]) -> None:
    """Print what members had to remark though they succeeded."""
    for name, message in sorted(answer["Messages"].items()):
        click.echo(f"{shown_text(name)}: {shown_text(message)}", err=True)
