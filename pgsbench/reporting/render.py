"""One small table model and its spellings: Markdown, CSV, LaTeX, terminal text."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pgsbench.errors import ConfigError

#: What stands in a cell that cannot be filled.
MISSING_CELL = "missing"

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "−": r"$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    **{letter: rf"\{letter}" for letter in "&%_#${}"},
}


@dataclass(frozen=True)
class Table:
    """A table of text cells; the first column names the row, the others are read as numbers.

    Attributes:
        title: What it shows.
        header: One text per column.
        rows: One text per cell.
        notes: What a reader must know to read it; one sentence each.
        text_columns: Columns beside the first that hold words, not numbers.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    text_columns: Sequence[int] = ()

    def is_text(self, column: int) -> bool:
        """Whether a column holds words, which are aligned left."""
        return column == 0 or column in self.text_columns


def markdown(table: Table) -> str:
    """Return the table as GitHub Markdown, notes below, without its title."""
    rule = ["---" if table.is_text(i) else "---:" for i in range(len(table.header))]
    lines = [_markdown_row(row) for row in (table.header, rule, *table.rows)]
    return "\n".join([*lines, *(f"\n{note}" for note in table.notes)]) + "\n"


def text(table: Table) -> str:
    """Return the table for a terminal or a log: aligned columns, no colour, no wrapping."""
    cells = [list(table.header), *map(list, table.rows)]
    widths = [max(_width(row[i]) for row in cells) for i in range(len(table.header))]
    lines = [table.title, ""]
    for number, row in enumerate(cells):
        padded = [_pad(cell, widths[i], left=table.is_text(i)) for i, cell in enumerate(row)]
        lines.append("  ".join(padded).rstrip())
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    return "\n".join([*lines, *(("", *table.notes) if table.notes else ())]) + "\n"


def as_json(*tables: Table) -> str:
    """Return tables as JSON: title -> rows, each a mapping from column to cell."""
    content = {
        table.title: [dict(zip(table.header, row, strict=True)) for row in table.rows] for table in tables
    }
    return json.dumps(content, indent=1, ensure_ascii=False)


def printed(*tables: Table, json: bool) -> str:
    """Return tables as a command prints them: as JSON where that was asked for, else for a terminal."""
    return as_json(*tables) if json else "\n".join(map(text, tables))


def csv_text(table: Table) -> str:
    """Return the table as CSV (RFC 4180, cells as they are shown), without title and notes."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([table.header, *table.rows])
    return file.getvalue()


def latex(table: Table) -> str:
    """Return the table as a LaTeX ``table`` with booktabs rules; notes go into the caption."""
    columns = "".join("l" if table.is_text(i) else "r" for i in range(len(table.header)))
    caption = " ".join(f"{sentence.rstrip('.')}." for sentence in (table.title, *table.notes))
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escape(caption)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _latex_row(table.header),
        r"\midrule",
        *map(_latex_row, table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def check_ending(path: Path | None, option: str) -> None:
    """Raise ConfigError where a file is named that `write` cannot write.

    Args:
        path: The file, if any.
        option: What named it.
    """
    if path is not None and path.suffix not in _FILES:
        raise ConfigError(f"a table is written as {' or '.join(_FILES)}", where=option, value=str(path))


def write(table: Table, path: Path) -> Path:
    """Write a table as Markdown or CSV, as the file's ending says; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_FILES[path.suffix](table))
    return path


_FILES = {".md": markdown, ".csv": csv_text}


def percent(share: float) -> str:
    """Return a share as percent with one decimal and without the sign: ``"61.4"``."""
    return f"{100 * share:.1f}"


def points(difference: float) -> str:
    """Return a difference of shares in points with its sign: ``"+2.1"``, ``"−0.4"``, ``"0.0"``."""
    rounded = f"{100 * difference:+.1f}"
    return "0.0" if float(rounded) == 0 else rounded.replace("-", "−")


def p_text(p: float) -> str:
    """Return a p-value as read by people: ``"0.031"``, ``"< 0.001"``."""
    if p != p:
        return MISSING_CELL
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(_escape, cells)) + r" \\"


def _escape(cell: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in cell)


def _width(cell: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in cell)


def _pad(cell: str, width: int, *, left: bool) -> str:
    fill = " " * (width - _width(cell))
    return cell + fill if left else fill + cell
