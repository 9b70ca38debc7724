"""Options as Nomad's commands take them: one dash or two, `-flag value` or `-flag=value`.

Nomad's flags are Go's (public API: the package `flag`): a single dash may stand before a long name,
and a boolean may be written `-dev`, `-dev=true` or `-dev=false`, but never `-dev true`. click knows
neither; `option` and `flag` declare both spellings at once, and `RookeryCommand` reads the booleans
and names the nearest option when one is unknown. Every command of this package is declared with
these three.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, TypeVar

import click

Declared = TypeVar("Declared", bound=Callable[..., Any])

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


def option(
    name: str, help_text: str, *, metavar: str, **more: Any
) -> Callable[[Declared], Declared]:
    """Declare an option with a value, as `-name` and `--name`."""
    spellings = (f"-{name}", f"--{name}")
    return click.option(*spellings, cls=GoOption, help=help_text, metavar=metavar, **more)


def flag(name: str, help_text: str) -> Callable[[Declared], Declared]:
    """Declare a boolean option, as `-name` and `--name`; it is None when not given or false."""
    spellings = (f"-{name}", f"--{name}")
    return click.option(*spellings, cls=GoOption, help=help_text, is_flag=True, default=None)


def switch(name: str, help_text: str) -> Callable[[Declared], Declared]:
    """Declare a boolean option that is true unless `-name=false` is given."""
    # The spelling behind each slash is click's way to say no. Nobody types it: what is typed is
    # put in terms of it below.
    spellings = (f"-{name}/-no-{name}", f"--{name}/--no-{name}")
    return click.option(*spellings, cls=GoOption, help=help_text, is_flag=True, default=True)


class GoOption(click.Option):
    """An option that the help lists once, with one dash."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        name = self.opts[0] if self.is_flag else f"{self.opts[0]} {self.metavar}"
        return name, self.help or ""


class RookeryCommand(click.Command):
    """A command whose options follow Go's rules."""

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        return ["-h", "-help", "--help"]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._go_to_click(ctx, args))

    def _go_to_click(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Return the arguments in a form click reads.

        Raises:
            click.UsageError: An unknown option, or a boolean that is neither true nor false.
        """
        parameters = {
            spelling: parameter
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option)
            for spelling in parameter.opts
        }
        read: list[str] = []
        rest = iter(args)
        for argument in rest:
            if argument == "--":
                return [*read, argument, *rest]
            name, equals, value = argument.partition("=")
            if not argument.startswith("-") or argument == "-":
                read.append(argument)
                continue
            parameter = parameters.get(name)
            if parameter is None:
                raise _unknown_option(name, parameters)
            if parameter.is_flag and equals:
                if value not in _TRUE | _FALSE:
                    raise click.UsageError(f'{name}: "{value}" is not a boolean; write {name}=true')
                if value in _TRUE:
                    read.append(name)
                else:
                    read.extend(parameter.secondary_opts[:1])
                continue
            read.append(argument)
            if not parameter.is_flag and not equals:
                read.extend(value for value in [next(rest, None)] if value is not None)
        return read


def _unknown_option(name: str, known: dict[str, click.Option]) -> click.UsageError:
    """Return the error for an option that is not there, with the nearest one that is."""
    dashes = "--" if name.startswith("--") else "-"
    names = sorted({spelling.lstrip("-") for spelling in known})
    nearest = difflib.get_close_matches(name.lstrip("-"), names, n=1)
    hint = f"; the nearest one is {dashes}{nearest[0]}" if nearest else "; see -help"
    return click.UsageError(f"{name}: unknown option{hint}")
