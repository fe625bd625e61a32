"""Tables of values, each column with a format, and their spellings: Markdown, LaTeX and JSON.

`pgsbench.reporting.terminal` prints them. Words in sentences are made here, too, with the same formats.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

#: What stands in a cell whose value is not known.
MISSING_CELL = "missing"
#: What `PERCENT` rounds away.
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


class Estimate(NamedTuple):
    """A number with the ends of its interval; a cell may also be any object with these three attributes."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Format:
    """How the values of a column are written.

    Attributes:
        spec: A Python format, or a function of the number.
        scale: Factor on the number before; what programs read is in this unit, too.
        least: What is smaller is written as below it, ``"< 0.001"``.
    """

    spec: str | Callable[[Any], str] = "{:,}"
    scale: float = 1
    least: float = 0

    def text(self, value: Any, *, short: bool = False) -> str:
        """Return a cell as text.

        Args:
            value: A number; an estimate with `low` and `high`; a pair of ends; or words, which stay as they
                are. All else, and NaN, is missing.
            short: Write an estimate with half the width of its interval: ``"68.7 ±0.8"``.
        """
        if isinstance(value, str):
            return value
        if hasattr(value, "low"):
            return self._estimate(value, short=short)
        if isinstance(value, tuple):
            return " to ".join(map(self.text, value))
        if not isinstance(value, float | int) or value != value:
            return MISSING_CELL
        number = value * self.scale
        if callable(self.spec):
            return self.spec(number)
        if 0 <= number < self.least:
            return f"< {self.least:g}"
        found = self.spec.format(number)
        if "+" not in self.spec:
            return found
        return found.replace("-", "−") if found.strip("+-0.%") else found[1:]

    def _estimate(self, value: Any, *, short: bool) -> str:
        middle = self.text(value.estimate)
        if not math.isfinite(value.low):
            return middle
        # An interval that is cut at an end, as at 0 or 1, has no half.
        is_even = abs((value.high - value.estimate) - (value.estimate - value.low)) <= _ROUNDING
        if short and is_even and isinstance(self.spec, str):
            half = self.scale * (value.high - value.low) / 2
            return f"{middle} ±{self.spec.replace('+', '').format(half)}"
        return f"{middle} ({self.text(value.low)} to {self.text(value.high)})"

    def number(self, value: Any) -> Any:
        """Return a cell as programs read it, in the unit of the column; None where it is missing."""
        if isinstance(value, str):
            return value or None
        if hasattr(value, "low"):
            ends = {"value": value.estimate, "low": value.low, "high": value.high}
            return {name: self.number(end) for name, end in ends.items()}
        if isinstance(value, tuple):
            return [self.number(end) for end in value]
        if not isinstance(value, float | int) or not math.isfinite(value):
            return None
        return int(value) if isinstance(value, int) and self.scale == 1 else float(value) * self.scale


COUNT = Format()
PERCENT = Format("{:.1f}", scale=100)
POINTS = Format("{:+.1f}", scale=100)
P_VALUE = Format("{:.3f}", least=0.001)


#: The columns of a table: a name for words, and name and format for values.
Header: TypeAlias = list[str | tuple[str, Format]]


@dataclass(frozen=True)
class Table:
    """A table; the first columns name the row.

    Attributes:
        title: What it shows.
        header: The name of each column of words, and (name, format) of each column of values.
        rows: One value per cell, see `Format.text`.
        notes: What a reader must know to read it; one sentence each.
        num_keys: Leading columns that name the row, repeated where a wide table goes on below itself.
    """

    title: str
    header: Header
    rows: Sequence[Sequence[Any]]
    notes: Sequence[str] = ()
    num_keys: int = 1

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [one if isinstance(one, str) else one[0] for one in self.header]

    def is_text(self, column: int) -> bool:
        """Whether a column holds words, which are aligned left."""
        return isinstance(self.header[column], str)

    def cells(self, *, short: bool = False) -> list[list[str]]:
        """Return the text of all cells, by row; see `Format.text`."""
        formats = [COUNT if isinstance(one, str) else one[1] for one in self.header]
        return [
            [form.text(value, short=short) for form, value in zip(formats, row, strict=True)]
            for row in self.rows
        ]


def meaning(cell: str) -> str:
    """Return what a cell says at a glance, ``"better"``, ``"worse"`` or ``"missing"``; of any other nothing.

    A verdict on one seed says other words first: it is to catch no eye.
    """
    found = re.match(rf"(?:▲ )?(better)\b|(?:▼ )?(worse)\b|({MISSING_CELL})$", cell)
    return found[found.lastindex or 0] if found else ""


def markdown(table: Table) -> str:
    """Return the table as GitHub Markdown, notes below, without its title."""
    rule = ["---" if table.is_text(i) else "---:" for i in range(len(table.header))]
    lines = [
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
        for row in (table.names, rule, *table.cells())
    ]
    return "\n".join([*lines, *(f"\n{note}" for note in table.notes)]) + "\n"


def as_json(*tables: Table) -> str:
    """Return tables as JSON: title -> rows, each a mapping from column to words or the number, not rounded.

    A number with an interval is a mapping: value, low, high. What is missing is null. The second column, or
    table, of one name is called ``"name (2)"``.
    """
    content = {}
    for title, table in zip(_numbered([table.title for table in tables]), tables, strict=True):
        formats = [None if isinstance(one, str) else one[1] for one in table.header]
        content[title] = [
            {
                name: value if form is None else form.number(value)
                for name, form, value in zip(_numbered(table.names), formats, row, strict=True)
            }
            for row in table.rows
        ]
    return json.dumps(content, indent=1, ensure_ascii=False, default=str)


def _numbered(names: Sequence[str]) -> list[str]:
    seen = Counter[str]()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found


def latex(table: Table) -> str:
    """Return the table as a LaTeX ``table`` with a label; short cells, notes in the caption.

    It is scaled down where it is larger than a column. The first line names the packages that it needs.
    """
    columns = "".join("l" if table.is_text(i) else "r" for i in range(len(table.header)))
    caption = " ".join(f"{sentence.rstrip('.')}." for sentence in (table.title, *table.notes))
    label = re.sub(r"[^a-z0-9]+", "-", table.title.lower()).strip("-")
    header, *rows = (
        " & ".join(map(_escape, row)) + r" \\" for row in (table.names, *table.cells(short=True))
    )
    lines = [
        r"% \usepackage{booktabs,adjustbox}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escape(caption)}}}",
        rf"\label{{tab:{label}}}",
        r"\smallskip",
        r"\begin{adjustbox}{max width=\columnwidth,max totalheight=0.8\textheight}",
        rf"\begin{{tabular}}{{{columns}}}",
        *(r"\toprule", header, r"\midrule", *rows, r"\bottomrule"),
        r"\end{tabular}",
        r"\end{adjustbox}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _escape(cell: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in cell)


def percent(share: float) -> str:
    """Return a share as percent with one decimal and without the sign: ``"61.4"``."""
    return PERCENT.text(float(share))


def points(difference: float) -> str:
    """Return a difference of shares in points with its sign: ``"+2.1"``, ``"−0.4"``, ``"0.0"``."""
    return POINTS.text(float(difference))


def and_(names: Sequence[str], word: str = "and") -> str:
    """Return names as in a sentence: ``"a, b and c"``."""
    return f"{', '.join(names[:-1])} {word} {names[-1]}" if len(names) > 1 else "".join(names)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``"1 run"``, ``"1,200 runs"``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
