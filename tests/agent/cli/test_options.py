"""Options as Go's flags are read."""

from __future__ import annotations

from typing import Any

import click
import pytest
from rookery.agent.cli.options import RookeryCommand, flag, option


def read(*arguments: str) -> dict[str, Any]:
    """Read arguments with a command of a few options."""

    @click.command(cls=RookeryCommand)
    @flag("dev", "")
    @flag("log-json", "")
    @option("node", "", metavar="NAME")
    @option("join", "", metavar="ADDRESS", multiple=True)
    @click.argument("rest", nargs=-1)
    def command(**values: Any) -> dict[str, Any]:
        return {name: value for name, value in values.items() if value not in (None, ())}

    result = command.main(list(arguments), standalone_mode=False)
    assert isinstance(result, dict)
    return result


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ((), {}),
        (("-dev",), {"dev": True}),
        (("--dev",), {"dev": True}),
        (("-dev=true",), {"dev": True}),
        (("-dev=1",), {"dev": True}),
        (("--dev=T",), {"dev": True}),
        (("-dev=false",), {}),
        (("-dev", "true"), {"dev": True, "rest": ("true",)}),
        (("-log-json", "--log-json=true"), {"log_json": True}),
        (("-node", "a"), {"node": "a"}),
        (("--node", "a"), {"node": "a"}),
        (("-node=a=b",), {"node": "a=b"}),
        (("-node=",), {"node": ""}),
        (("-node", "-dev"), {"node": "-dev"}),
        (("-join", "a", "--join=b"), {"join": ("a", "b")}),
        (("x", "-dev", "y"), {"dev": True, "rest": ("x", "y")}),
        (("--", "-dev"), {"rest": ("-dev",)}),
        (("-",), {"rest": ("-",)}),
    ],
)
def test_one_dash_and_two_mean_the_same(arguments: tuple[str, ...], values: dict[str, Any]) -> None:
    """Values follow or stand behind `=`; booleans take a value only behind `=`."""
    assert read(*arguments) == values


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("-nod", "-nod: unknown option; the nearest one is -node"),
        ("--nod=x", "--nod: unknown option; the nearest one is --node"),
        ("-zzz", "-zzz: unknown option; see -help"),
        ("-dev=maybe", '-dev: "maybe" is not a boolean; write -dev=true'),
    ],
)
def test_bad_option_is_told_with_what_to_write(argument: str, message: str) -> None:
    """The error names the option and the nearest one there is."""
    with pytest.raises(click.UsageError) as caught:
        read(argument)
    assert caught.value.message == message


def test_option_without_its_value_is_an_error() -> None:
    """The last option lacks its value."""
    with pytest.raises(click.UsageError, match="requires an argument"):
        read("-node")


@pytest.mark.parametrize("spelling", ["-h", "-help", "--help"])
def test_help_has_three_spellings(spelling: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each prints the options, once each, with one dash."""

    @click.command(cls=RookeryCommand)
    @option("node", "Its name.", metavar="NAME")
    def command(node: str | None) -> None:
        """Do something."""

    command.main([spelling], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "-node NAME" in shown
    assert "--node" not in shown
