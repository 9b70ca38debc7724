"""Output as columns, as Nomad's commands print them: padded with blanks, two between columns.

Plain text on purpose: it is what scripts around these commands cut apart.
"""

from __future__ import annotations

from collections.abc import Sequence


def format_columns(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned lines; the first is the heading. Empty cells show as `<none>`."""
    shown = [[cell or "<none>" for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in shown
    )
