"""One small table model and its spellings: Markdown, LaTeX, plain text and JSON.

Markdown keeps every cell in full. In LaTeX, text and terminals a `Cell` is short, as columns are
narrow. Text and terminals have `WIDTH` columns: a table that is still too wide wraps its words, then goes on
below itself.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

#: What stands in a cell that cannot be filled.
MISSING_CELL = "missing"

#: Columns of text that fit in a terminal.
WIDTH = 100
#: Columns of text in a column of a paper: LaTeX then prints them at almost half their size or larger.
_LATEX_WIDTH = 110
#: Rows that fit on a page of a paper.
_LATEX_ROWS = 45
#: Words are wrapped to no less than this.
_NARROWEST = 20
#: A number as cells show it: with commas, a true minus, a unit that says nothing of its size.
_NUMBER = r"([+−-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+-]\d+)?) ?[%×]?"
_INTERVAL = rf"{_NUMBER} \({_NUMBER} to {_NUMBER}\)"
_GAP = "  "
#: What `percent` rounds away.
_ROUNDING = 0.0005

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "−": r"$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    **{"▲": r"$\uparrow$", "▼": r"$\downarrow$", "≈": r"$\approx$", "–": "--"},
    **{"†": r"$\dagger$", "⁶": "$^6$"},
    **{letter: rf"\{letter}" for letter in "&%_#${}"},
}


class Cell(str):
    """A cell that has a short form for terminals, ``"68.7 ±0.8"`` for ``"68.7 (67.9 to 69.5)"``.

    Attributes:
        short: The short form.
        value: What programs read instead of it, in the unit of its column; None: its text.
    """

    short: str
    value: object

    def __new__(cls, full: str, *, short: str = "", value: object = None) -> Cell:
        """Make a cell; as text it is its full form."""
        cell = super().__new__(cls, full)
        cell.short, cell.value = short or full, value
        return cell


def meaning(cell: str) -> str:
    """Return what a cell says at a glance, ``"better"``, ``"worse"`` or ``"missing"``; of any other nothing.

    A verdict on one seed says other words first, if only to programs: it is to catch no eye.
    """
    said = cell.value if isinstance(cell, Cell) and isinstance(cell.value, str) else cell
    found = re.match(rf"(?:▲ )?(better)\b|(?:▼ )?(worse)\b|({MISSING_CELL})$", said)
    return found[found.lastindex or 0] if found else ""


@dataclass(frozen=True)
class Table:
    """A table of text cells; the first column names the row, the others are read as numbers.

    Attributes:
        title: What it shows.
        header: One text per column.
        rows: One text per cell.
        notes: What a reader must know to read it; one sentence each.
        text_columns: Columns beside the first that hold words, not numbers.
        num_keys: Leading columns that name the row, repeated where a wide table goes on below itself.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    text_columns: Sequence[int] = ()
    num_keys: int = 1

    def is_text(self, column: int) -> bool:
        """Whether a column holds words, which are aligned left."""
        return column == 0 or column in self.text_columns


def markdown(table: Table) -> str:
    """Return the table as GitHub Markdown, notes below, without its title."""
    rule = ["---" if table.is_text(i) else "---:" for i in range(len(table.header))]
    lines = [_markdown_row(row) for row in (table.header, rule, *table.rows)]
    return "\n".join([*lines, *(f"\n{note}" for note in table.notes)]) + "\n"


def text(table: Table, *, width: int = WIDTH) -> str:
    """Return the table as aligned text; a row is one line unless its words must be wrapped to fit.

    Args:
        table: The table.
        width: Columns of text that it may have.
    """
    lines = [table.title]
    for part in fitted(table, width):
        lines += ["", *_text_lines(part)]
    notes = [line for note in table.notes for line in textwrap.wrap(note, width)]
    return "\n".join([*lines, *(("", *notes) if notes else ())]) + "\n"


def fitted(table: Table, width: int) -> list[Table]:
    """Return the table in parts that are at most `width` wide, with short cells and wrapped words.

    Columns that name the row stand in each part. Line breaks in cells are kept.
    """
    return _parts(_wrapped(_shortened(table), width), width)


def _parts(table: Table, width: int) -> list[Table]:
    widths = _widths(table)
    keys = range(table.num_keys)
    parts: list[list[int]] = [[*keys]]
    for column in range(table.num_keys, len(widths)):
        taken = [*parts[-1], column]
        if (
            sum(widths[i] for i in taken) + len(_GAP) * (len(taken) - 1) > width
            and len(taken) > len(keys) + 1
        ):
            parts.append([*keys, column])
        else:
            parts[-1] = taken
    return [_columns_of(table, part) for part in parts]


def as_json(*tables: Table) -> str:
    """Return tables as JSON: title -> rows, each a mapping from column to text or number.

    A number with an interval is a mapping: value, low, high. What is missing is null. The second column, or
    table, of one name is called ``"name (2)"``.
    """
    content = {
        title: [
            {name: _for_programs(table, i, row[i]) for i, name in enumerate(_numbered(table.header))}
            for row in table.rows
        ]
        for title, table in zip(_numbered([table.title for table in tables]), tables, strict=True)
    }
    return json.dumps(content, indent=1, ensure_ascii=False, default=str)


def _numbered(names: Sequence[str]) -> list[str]:
    """Return names with a number behind those that stand before."""
    found: list[str] = []
    for name in names:
        spellings = itertools.chain([name], (f"{name} ({number})" for number in itertools.count(2)))
        found.append(next(one for one in spellings if one not in found))
    return found


def _for_programs(table: Table, column: int, cell: str) -> object:
    if isinstance(cell, Cell) and cell.value is not None:
        return _finite(cell.value)
    if table.is_text(column):
        return cell
    if cell in ("", MISSING_CELL):
        return None
    if number := re.fullmatch(_NUMBER, cell):
        return _number(number[1])
    if found := re.fullmatch(_INTERVAL, cell):
        return dict(zip(("value", "low", "high"), map(_number, found.groups()), strict=True))
    return cell


def _number(shown: str) -> int | float:
    digits = shown.replace(",", "").replace("−", "-")
    return int(digits) if re.fullmatch(r"[+-]?\d+", digits) else float(digits)


def _finite(value: object) -> object:
    """Return a value with null for what is no number, which JSON cannot say."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def latex(table: Table) -> str:
    """Return the table as a LaTeX ``table`` with a label; short cells, notes in the caption.

    It is scaled down where it is wider than the column; one that is far too wide or long goes on in a
    table below. The first line names the packages that it needs.
    """
    parts = [
        replace(part, rows=part.rows[start : start + _LATEX_ROWS])
        for part in _parts(_shortened(table), _LATEX_WIDTH)
        for start in range(0, max(1, len(part.rows)), _LATEX_ROWS)
    ]
    rest = [
        replace(part, title=f"{table.title}, part {number}", notes=())
        for number, part in enumerate(parts[1:], start=2)
    ]
    return "\n".join(_latex_part(part) for part in (replace(parts[0], notes=table.notes), *rest))


def _latex_part(table: Table) -> str:
    columns = "".join("l" if table.is_text(i) else "r" for i in range(len(table.header)))
    caption = " ".join(f"{sentence.rstrip('.')}." for sentence in (table.title, *table.notes))
    label = re.sub(r"[^a-z0-9]+", "-", table.title.lower()).strip("-")
    lines = [
        r"% \usepackage{booktabs,graphicx}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escape(caption)}}}",
        rf"\label{{tab:{label}}}",
        r"\smallskip",
        r"\resizebox{\ifdim\width>\columnwidth\columnwidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _latex_row(table.header),
        r"\midrule",
        *map(_latex_row, table.rows),
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


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


def interval_cell(estimate: float, low: float, high: float, *, signed: bool = False) -> Cell:
    """Return an estimate in percent or points with its interval; short, with half the interval's width.

    An interval with unequal sides, as one that is cut to [0, 1], has no such half: it stays in full.
    """
    write = points if signed else percent
    full = f"{write(estimate)} ({write(low)} to {write(high)})"
    value = {"value": 100 * estimate, "low": 100 * low, "high": 100 * high}
    is_lopsided = abs((high - estimate) - (estimate - low)) > _ROUNDING
    short = full if is_lopsided else f"{write(estimate)} ±{percent((high - low) / 2)}"
    return Cell(full, short=short, value=value)


def and_(names: Sequence[str]) -> str:
    """Return names as in a sentence: ``"a, b and c"``."""
    return _listed(names, "and")


def or_(names: Sequence[str]) -> str:
    """Return names as in a sentence: ``"a, b or c"``."""
    return _listed(names, "or")


def _listed(names: Sequence[str], word: str) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {word} {names[-1]}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``"1 run"``, ``"1,200 runs"``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(_escape, cells)) + r" \\"


def _escape(cell: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in cell)


def _shortened(table: Table) -> Table:
    rows = [
        [Cell(cell.short, value=cell.value) if isinstance(cell, Cell) else cell for cell in row]
        for row in table.rows
    ]
    return replace(table, rows=rows)


def _stacked(table: Table) -> Table:
    """Set the words of the headers of numbers below each other."""
    stacks = [[name] if table.is_text(i) else re.split(" (?!%)", name) for i, name in enumerate(table.header)]
    height = max(map(len, stacks))
    return replace(table, header=["\n".join([""] * (height - len(stack)) + stack) for stack in stacks])


def _wrapped(table: Table, width: int) -> Table:
    """Stack headers, then wrap the widest columns of words, until the table fits or nothing can give more.

    Columns that name the row stay as they are.
    """
    if _excess(table, width) > 0:
        table = _stacked(table)
    words = [i for i in range(table.num_keys, len(table.header)) if table.is_text(i)]
    room = max((_widths(table)[i] for i in words), default=0)
    while _excess(table, width) > 0 and room > _NARROWEST:
        room -= 1
        rows = [
            [_wrap(cell, room) if i in words else cell for i, cell in enumerate(row)] for row in table.rows
        ]
        table = replace(table, rows=rows)
    return table


def _excess(table: Table, width: int) -> int:
    return sum(_widths(table)) + len(_GAP) * (len(table.header) - 1) - width


def _wrap(cell: str, width: int) -> str:
    words = cell.replace("\n", " ")
    lines = "\n".join(textwrap.wrap(words, width, break_long_words=False, break_on_hyphens=False))
    return cell if lines in ("", cell) else lines  # what fits stays a `Cell`


def _columns_of(table: Table, columns: Sequence[int]) -> Table:
    words = [new for new, old in enumerate(columns) if table.is_text(old)]
    header, *rows = [[row[i] for i in columns] for row in (table.header, *table.rows)]
    return replace(table, header=header, rows=rows, text_columns=words)


def _text_lines(table: Table) -> list[str]:
    widths = _widths(table)
    rule = _GAP.join("-" * width for width in widths)
    return [*_row_lines(table, table.header, widths), rule] + [
        line for row in table.rows for line in _row_lines(table, row, widths)
    ]


def _row_lines(table: Table, row: Sequence[str], widths: Sequence[int]) -> list[str]:
    lines = itertools.zip_longest(*(cell.split("\n") for cell in row), fillvalue="")
    return [
        _GAP.join(_pad(cell, widths[i], left=table.is_text(i)) for i, cell in enumerate(cells)).rstrip()
        for cells in lines
    ]


def _widths(table: Table) -> list[int]:
    cells = [table.header, *table.rows]
    return [
        max(_width(line) for row in cells for line in row[i].split("\n")) for i in range(len(table.header))
    ]


def _width(cell: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in cell)


def _pad(cell: str, width: int, *, left: bool) -> str:
    fill = " " * (width - _width(cell))
    return cell + fill if left else fill + cell
