"""Tables of values, each column with a format, and their spellings: Markdown, LaTeX and JSON.

`pgsbench.reporting.terminal` prints them. Words in sentences are made here, too, with the same formats.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:  # pandas takes half a second to import, and most tables are only printed
    import pandas as pd

#: What stands in a cell whose value is not known.
MISSING_CELL = "missing"
#: What `PERCENT` rounds away.
_ROUNDING = 0.0005
#: Sign -> how LaTeX writes it.
_LATEX = str.maketrans(
    {
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
        **{"<": r"\textless{}", ">": r"\textgreater{}", "†": r"$\dagger$", "⁶": "$^6$", "–": "--"},
        **{"−": "$-$", "±": r"$\pm$", "×": r"$\times$", "≈": r"$\approx$"},
        **{"▲": r"$\uparrow$", "▼": r"$\downarrow$", "★": r"$\star$"},
        **{letter: rf"\{letter}" for letter in "&%_#${}"},
    }
)
#: Outcome -> its mark, so that a reader need not read words.
MARKS = {"better": "▲", "worse": "▼", "equivalent": "=", "undecided": "?", "the same training": "="}
#: What an outcome is called where people read it.
SAID = {"undecided": "not decided", "equivalent": "as good"}
#: Verdict in a cell -> what it says at a glance; one on one seed says other words first, and catches no eye.
_MEANINGS = {"▲ better": "better", "▼ worse": "worse", MISSING_CELL: MISSING_CELL}


class Estimate(NamedTuple):
    """A number with the ends of its interval, and a mark before it; `Interval` stands in cells likewise."""

    estimate: float
    low: float
    high: float
    mark: str = ""


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
            return f"{getattr(value, 'mark', '')} {self._estimate(value, short=short)}".lstrip()
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
        num_first: Leading columns that are shown where there is little room; 0: all.
    """

    title: str
    header: Header
    rows: Sequence[Sequence[Any]]
    notes: Sequence[str] = ()
    num_keys: int = 1
    num_first: int = 0

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [one if isinstance(one, str) else one[0] for one in self.header]

    def is_text(self, column: int) -> bool:
        """Whether a column holds words, which are aligned left."""
        return isinstance(self.header[column], str)

    @property
    def formats(self) -> list[Format]:
        """The format of each column; words have one, too."""
        return [COUNT if isinstance(one, str) else one[1] for one in self.header]

    def cells(self, *, short: bool = False) -> list[list[str]]:
        """Return the text of all cells, by row; see `Format.text`."""
        return [
            [form.text(value, short=short) for form, value in zip(self.formats, row, strict=True)]
            for row in self.rows
        ]

    def shown(self) -> list[list[tuple[str, float | None]]]:
        """Return all cells as (text, number to sort by), by row; words have no number."""
        return [
            [(text, _key(value)) for text, value in zip(texts, row, strict=True)]
            for texts, row in zip(self.cells(short=True), self.rows, strict=True)
        ]

    def narrow(self) -> Table:
        """Return the table with the columns that there is always room for."""
        num = self.num_first or len(self.header)
        return replace(self, header=self.header[:num], rows=[row[:num] for row in self.rows], num_first=0)

    @property
    def frame(self) -> pd.DataFrame:
        """The table as numbers, not rounded, in the unit of their columns; ends of intervals in columns."""
        import pandas as pd

        rows = []
        for row in self.rows:
            found: dict[str, Any] = {}
            for name, form, value in zip(numbered(self.names), self.formats, row, strict=True):
                number = form.number(value)
                ends = number if isinstance(number, dict) else {"value": number}
                found |= {name if end == "value" else f"{name} {end}": one for end, one in ends.items()}
            rows.append(found)
        return pd.DataFrame(rows)


def _key(value: Any) -> float | None:
    number = getattr(value, "estimate", value)
    is_number = isinstance(number, int | float) and number == number
    return round(float(number), 6) if is_number else None


def meaning(cell: str) -> str:
    """Return what a cell says at a glance, ``"better"``, ``"worse"`` or ``"missing"``; else nothing."""
    return _MEANINGS.get(cell, "")


def marked(outcome: str) -> str:
    """Return an outcome with its mark before it, in the words for people."""
    return f"{MARKS[outcome]} {SAID.get(outcome, outcome)}" if outcome in MARKS else outcome


def markdown(table: Table) -> str:
    """Return the table as GitHub Markdown with short cells, notes below, without its title."""
    rule = ["---" if table.is_text(i) else "---:" for i in range(len(table.header))]
    lines = [
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
        for row in (table.names, rule, *table.cells(short=True))
    ]
    notes = ["\n" + " ".join(table.notes)] if table.notes else []
    return "\n".join([*lines, *notes]) + "\n"


def as_json(*tables: Table) -> str:
    """Return tables as JSON: title -> rows, each a mapping from column to words or the number, not rounded.

    A number with an interval is a mapping: value, low, high. What is missing is null. The second column, or
    table, of one name is called ``"name (2)"``.
    """
    content = {}
    for title, table in zip(numbered([table.title for table in tables]), tables, strict=True):
        formats = [None if isinstance(one, str) else one[1] for one in table.header]
        content[title] = [
            {
                name: value if form is None else form.number(value)
                for name, form, value in zip(numbered(table.names), formats, row, strict=True)
            }
            for row in table.rows
        ]
    return json.dumps(content, indent=1, ensure_ascii=False, default=str)


def numbered(names: Sequence[str]) -> list[str]:
    """Return names of which each is another one: the second of a kind is called ``"name (2)"``."""
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
    import pandas as pd

    columns = "".join("l" if table.is_text(i) else "r" for i in range(len(table.header)))
    caption = " ".join(f"{sentence.rstrip('.')}." for sentence in (table.title, *table.notes))
    label = "-".join("".join(sign if sign.isalnum() else " " for sign in table.title.lower()).split())
    rows = [[cell.translate(_LATEX) for cell in row] for row in (table.names, *table.cells(short=True))]
    body = pd.DataFrame(rows[1:], columns=rows[0])
    lines = [
        r"% \usepackage{booktabs,adjustbox}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption.translate(_LATEX)}}}",
        rf"\label{{tab:{label}}}",
        r"\smallskip",
        r"\begin{adjustbox}{max width=\columnwidth,max totalheight=0.8\textheight}",
        body.to_latex(index=False, escape=False, column_format=columns).rstrip(),
        r"\end{adjustbox}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


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
