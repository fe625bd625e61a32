"""Printing tables: with colours in a terminal, as plain text to a pipe or a file, or as JSON."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

from pgsbench.reporting.render import Table, as_json, meaning

if TYPE_CHECKING:  # rich is for tables that are printed, and pandas comes with the frame
    import pandas as pd
    from rich.console import Console
    from rich.table import Table as RichTable

#: Columns of text that a table takes at most, and where there is no terminal.
WIDTH = 100
#: Columns of words are wrapped to no less than this.
_NARROWEST = 20
#: What a cell says at a glance -> how it looks.
_STYLES = {"better": "bold blue", "worse": "bold red", "missing": "dim italic", "": ""}


def show(*tables: Table, json: bool = False) -> None:
    """Print tables: with colours to a terminal, as plain text to a pipe or a file, or as JSON."""
    from rich.console import Console

    if json:
        sys.stdout.write(as_json(*tables) + "\n")
    elif sys.stdout.isatty():
        console = Console(highlight=False)
        console.width = min(console.width, WIDTH)
        draw(console, *tables)
    else:
        sys.stdout.write(text(*tables))


def show_frame(frame: pd.DataFrame, table: Table, *, json: bool, in_a_line: bool = False) -> None:
    """Print the table of a frame; as JSON the frame itself, which has more columns."""
    if json:
        indent = None if in_a_line else 1
        sys.stdout.write(frame.to_json(orient="records", indent=indent, date_format="iso") + "\n")
    else:
        show(table)


def text(*tables: Table, width: int = WIDTH) -> str:
    """Return tables as aligned text of at most so many columns, without blanks at the ends of lines."""
    from rich.console import Console

    file = io.StringIO()
    draw(Console(file=file, width=width, color_system=None, highlight=False), *tables)
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def draw(console: Console, *tables: Table) -> None:
    """Print tables, each in parts below each other where it is wider than the console."""
    from rich.text import Text

    for table in (one.narrow() for one in tables):
        console.print(Text(table.title, style="bold"))
        for part in _parts(table, console):
            console.print(part, crop=False)
        for note in table.notes:
            console.print(Text(note, style="dim"))
        console.print()


def _parts(table: Table, console: Console) -> list[RichTable]:
    # Words wrap, numbers do not; columns that name the row stand in each part.
    every, keys = range(len(table.header)), list(range(table.num_keys))
    endless = console.options.update(max_width=10_000)  # else rich tells no more than there is room for
    if console.measure(_rich(table, every), options=endless).maximum <= console.width:
        return [_rich(table, every)]
    parts = [keys]
    for column in every[table.num_keys :]:
        longer = [*parts[-1], column]
        least = console.measure(_rich(table, longer, stacked=True), options=endless).minimum
        if least <= console.width or parts[-1] == keys:
            parts[-1] = longer
        else:
            parts.append([*keys, column])
    return [_rich(table, part, stacked=True) for part in parts]


def _rich(table: Table, columns: range | list[int], *, stacked: bool = False) -> RichTable:
    from rich.box import SIMPLE_HEAD
    from rich.cells import cell_len
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    cells = table.cells(short=True)
    for column in columns:
        name, is_text = table.names[column], table.is_text(column)
        head = name if is_text or not stacked else name.replace(" ", "\n")
        texts = [head, *(row[column] for row in cells)]
        width = max(cell_len(line) for one in texts for line in one.split("\n"))
        stays = not is_text or column < table.num_keys
        drawn.add_column(
            Text(head),
            justify="left" if is_text else "right",
            no_wrap=stays,
            min_width=width if stays else min(width, _NARROWEST),
        )
    for row in cells:
        drawn.add_row(*(Text(row[i], style=_STYLES[meaning(row[i])]) for i in columns))
    return drawn
