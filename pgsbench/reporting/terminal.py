"""Printing tables: with colours and rules in a terminal, as plain text to a pipe or a file, or as JSON."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pgsbench.reporting.render import WIDTH, Table, as_json, fitted, meaning, text

if TYPE_CHECKING:  # rich is for terminals, and pandas comes with the frame
    import pandas as pd
    from rich.console import Console
    from rich.table import Table as RichTable

#: What a cell says at a glance -> how it looks.
_STYLES = {"better": "bold blue", "worse": "bold red", "missing": "dim italic", "": ""}


def show(*tables: Table, json: bool = False) -> None:
    """Print tables: with colours to a terminal, as plain text to a pipe or a file.

    Args:
        tables: The tables.
        json: Print them as JSON instead.
    """
    if json:
        sys.stdout.write(as_json(*tables) + "\n")
    elif sys.stdout.isatty():
        draw(*tables)
    else:
        sys.stdout.write("\n".join(map(text, tables)))


def show_frame(frame: pd.DataFrame, table: Table, *, json: bool, in_a_line: bool = False) -> None:
    """Print the table of a frame; as JSON the frame itself, whose numbers are not rounded."""
    if json:
        indent = None if in_a_line else 1
        sys.stdout.write(frame.to_json(orient="records", indent=indent, date_format="iso") + "\n")
    else:
        show(table)


def draw(*tables: Table, console: Console | None = None) -> None:
    """Print tables with colours, no wider than the terminal is and no wider than `WIDTH`.

    Args:
        tables: The tables.
        console: Where to; None: standard output.
    """
    from rich.console import Console
    from rich.text import Text

    console = console or Console(highlight=False)
    width = min(console.width, WIDTH)
    for table in tables:
        console.print(Text(table.title, style="bold"))
        for part in fitted(table, width - 2):
            console.print(_rich(part), crop=False)
        for note in table.notes:
            console.print(Text(note, style="dim"), width=width)
        console.print()


def _rich(table: Table) -> RichTable:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for column, name in enumerate(table.header):
        drawn.add_column(name, justify="left" if table.is_text(column) else "right", vertical="top")
    for row in table.rows:
        drawn.add_row(*(Text(cell, style=_STYLES[meaning(cell)]) for cell in row))
    return drawn
