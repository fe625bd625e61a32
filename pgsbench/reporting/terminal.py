"""Tables with colours and rules, for terminals."""

from __future__ import annotations

import re

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from pgsbench.reporting.render import MISSING_CELL, WIDTH, Table, fitted

#: What a cell says -> how it looks. A verdict on one seed begins with other words and gets no colour.
_STYLES = {r"better\b": "bold blue", r"worse\b": "bold red", f"{MISSING_CELL}$": "dim italic"}


def show(*tables: Table, console: Console | None = None) -> None:
    """Print tables to a terminal, no wider than it is and no wider than `WIDTH`.

    Args:
        tables: The tables.
        console: Where to; None: standard output.
    """
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
    drawn = RichTable(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for column, name in enumerate(table.header):
        drawn.add_column(name, justify="left" if table.is_text(column) else "right", vertical="top")
    for row in table.rows:
        drawn.add_row(*map(_cell, row))
    return drawn


def _cell(cell: str) -> Text:
    style = next((style for pattern, style in _STYLES.items() if re.match(pattern, cell)), "")
    return Text(cell, style=style)
