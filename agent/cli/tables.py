"""Output as tables: drawn on a terminal, plain columns anywhere else.

The plain form is Nomad's: padded with blanks, two between columns. It is what scripts around these
commands cut apart, so it does not depend on the width of anything.

What a table shows, other members may have written. Whatever does not print is escaped, so that a
member's name cannot break a row or give orders to a terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from ..quoting import escape_character

NONE = "<none>"
"""What an empty cell shows."""

Rows = Sequence[Sequence[str]]
"""Rows of a table; the first is the heading."""


def show_table(rows: Rows) -> None:
    """Print rows in the form that suits where they go."""
    if is_terminal():
        _draw(rows)
    else:
        click.echo(format_columns(rows))


def is_terminal() -> bool:
    """Whether somebody looks at the output as it is written."""
    return sys.stdout.isatty()


def format_columns(rows: Rows) -> str:
    """Return rows as aligned lines. Empty cells show as `<none>`."""
    shown = [[shown_text(cell) or NONE for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in shown
    )


def shown_text(text: str, *, keeps: str = "") -> str:
    """Return a text with everything escaped that does not print, but for what `keeps` has."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in keeps else escape_character(character)
        for character in text
    )


def _draw(rows: Rows) -> None:
    """Print a table with lines, no wider than the terminal: long cells are folded."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    heading, *lines = rows
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for name in heading:
        table.add_column(Text(name), overflow="fold")
    for line in lines:
        # As Text: in a plain one, brackets would be read as styles.
        table.add_row(*(Text(shown_text(cell) or NONE) for cell in line))
    Console(file=sys.stdout).print(table)
