"""The one table of arms and searched points. A new column is one entry in `COLUMNS`.

An entry says what the column is called, what it shows of a row and how that is written. It then stands in the
page, in the LaTeX table, in arms.csv, in the terminal and in JSON. See docs/runs.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from pgsbench.records.run_records import Summary
from pgsbench.reporting.decision.comparisons import decisions
from pgsbench.reporting.ranking import Ranked, ranking
from pgsbench.reporting.render import Format, Header, Table, marked, percent
from pgsbench.reporting.results import Results, named
from pgsbench.reporting.statistics.comparison import Comparison, Missing
from pgsbench.reporting.study_frames import PlannedRun

#: Rows that a page has room for; arms.csv has all.
MAX_ROWS = 24
#: A column that says the same of so many rows or more is said once, below the table.
_MANY = 3
#: What columns on objects say, here and in a diagnosis of masks.
OBJECTS = (
    "Insides and outlines: patches wholly and partly in an object. Nearly gone: pictures that show less than "
    "a tenth of their object."
)


@dataclass(frozen=True)
class Row:
    """What a column can look at: one label and its complete runs, one a seed.

    Attributes:
        label: The label.
        runs: Its complete runs.
        results: The study.
        reference: The row that times are relative to; None in the reference's own row.
    """

    label: str
    runs: Sequence[PlannedRun]
    results: Results
    reference: Row | None = None

    @cached_property
    def summary(self) -> Mapping[str, float]:
        """Field of `Summary` -> its mean over the runs; without fields that no run has."""
        of_runs = [run.summary for run in self.runs if run.summary is not None]
        found = {name: [getattr(one, name) for one in of_runs] for name in _SUMMARY_FIELDS}
        known = {name: [value for value in values if value is not None] for name, values in found.items()}
        return {name: float(np.mean(values)) for name, values in known.items() if values}

    @property
    def seconds(self) -> float | None:
        """Training time of a run, its mean (`Summary.time_on`)."""
        found = [run.summary.time_on(run.spec.numerics.device) for run in self.runs if run.summary]
        return float(np.mean(found)) if found else None

    @property
    def comparison(self) -> Comparison | None:
        """The verdict on it as a baseline: beside the candidate's best point, where that has several."""
        found = [one for one in decisions(self.results) if one.baseline == self.label]
        best = set(self.results.best_of.values()) if len(found) > 1 else set()
        return max(found, key=lambda one: (one.outcome != "missing", one.candidate in best), default=None)

    @property
    def verdict(self) -> str:
        """The outcome with its mark; of one seed it says so."""
        one = self.comparison
        if one is None or one.outcome == "missing":
            return "" if one is None else one.outcome
        return marked(one.outcome) + (" (one seed)" if one.has_one_seed else "")

    def logged(self, key: str) -> float | None:
        """Return the mean of what masked steps logged; unmasked phases are left out."""
        curves = self.results.study.curves
        if key not in curves:
            return None
        mine = curves.loc[curves["label"] == self.label, key].dropna()
        return float(mine.mean()) if len(mine) else None

    def relative(self, value: Callable[[Row], float | None]) -> float | None:
        """Return a number over the reference's; None where either is not known."""
        ours, theirs = value(self), value(self.reference or self)
        return ours / theirs if ours is not None and theirs else None


@dataclass(frozen=True)
class Column:
    """A column of the table of arms.

    Attributes:
        name: Its header; ``{candidate}`` is the candidate's name.
        of: What it shows: a field of `Summary`, or a function of the row; None is shown as missing.
        form: How numbers are written; None: it holds words.
        scale: Factor on the number before it is written.
        note: What a reader must know; ``{reference}`` is the label that times are relative to.
        is_first: Whether it is shown where there is little room: on the first screen and in a terminal.
    """

    name: str
    of: str | Callable[[Row], Any]
    form: str | Callable[[Any], str] | None = "{:,.0f}"
    scale: float = 1
    note: str = ""
    is_first: bool = False

    def value(self, row: Row) -> Any:
        """Return what it shows of a row, or None where that is not known."""
        return row.summary.get(self.of) if isinstance(self.of, str) else self.of(row)

    @property
    def format(self) -> Format:
        """How its values are written."""
        return Format(self.form or "{}", self.scale)


def _per_pair(row: Row, field: str) -> float | None:
    return row.summary[field] / row.summary["samples"] if field in row.summary else None


def _score(row: Row) -> Any:
    mean = row.results.mean(row.label, row.results.headline) if row.results.headline else None
    return None if isinstance(mean, Missing) else mean


def _rank(row: Row, of: Callable[[Ranked], Any]) -> Any:
    return next((of(one) for one in ranking(row.results) if one.label == row.label), "")


def _lead(row: Row) -> Any:
    one = row.comparison
    return "" if one is None else None if isinstance(one.interval, Missing) else one.interval


#: All columns. One that no row has a value for is left out; one that says the same of all is said below.
COLUMNS = [
    Column(
        "score",
        _score,
        "{:.1f}",
        100,
        "Score: {headline}, in percent, ± 95 %; guessing gives {chance}.",
        True,
    ),
    Column("{candidate} leads by", _lead, "{:+.1f}", 100, is_first=True),
    Column("{candidate} is", lambda row: row.verdict, None, is_first=True),
    Column(
        "ranks",
        lambda row: _rank(row, lambda one: one.ranks),
        note="Ranks hold together (95 %); best: in so many draws of other test items, seeds and tasks.",
        is_first=True,
    ),
    Column("best", lambda row: _rank(row, lambda one: one.best), "{:.0f} %", 100),
    Column("seeds", lambda row: row.results.said_seeds(row.label), "{:,}"),
    Column(
        "time",
        lambda row: row.relative(lambda one: one.seconds),
        "{:.2f}×",
        note="Time: of a training, over that of {reference}.",
        is_first=True,
    ),
    Column("train s", lambda row: row.seconds, note="Train s: processor time on CPUs, else wall time."),
    Column("TFLOP", "flops", "{:,.1f}", 1e-12, "TFLOP: matrix products of both towers.", True),
    Column("samples/s", lambda row: row.summary["samples"] / row.seconds if row.seconds else None),
    Column(
        "masked",
        "mask_ratio_over_training",
        "{:.1%}",
        note="Masked: patches without influence; tokens: of a picture; text: of a caption; all over the "
        "whole training.",
    ),
    Column("tokens", "tokens_kept_over_training", "{:,.4g}"),
    Column("text", lambda row: _per_pair(row, "text_tokens"), "{:,.1f}"),
    Column("mask share", "mask_share", "{:.2%}", note="Mask share: of the training time, spent on the mask."),
    Column("peak GiB", "peak_memory_bytes", "{:.2f}", 2**-30),
    Column(
        "overlap",
        "mask_overlap",
        scale=100,
        note="Overlap: of two masks of a picture, in percent of their union.",
    ),
    Column(
        "objects", lambda row: row.logged("mask/objects_kept"), "{:.1f}", 100, "Objects: shown by the mask."
    ),
    Column("insides", lambda row: row.logged("mask/insides_kept"), "{:.1f}", 100, OBJECTS),
    Column("outlines", lambda row: row.logged("mask/outlines_kept"), "{:.1f}", 100),
    Column("nearly gone", lambda row: row.logged("mask/objects_nearly_gone"), "{:.1f}", 100),
]

_SUMMARY_FIELDS = [
    *(field.name for field in fields(Summary) if field.name not in ("bad_samples", "branch")),
    "own_seconds",
]


def rows_of(results: Results) -> dict[str, Row]:
    """Return the row of every label, in the order of the plan."""
    study = results.study
    runs = {label: [run for run in study.of(label) if run.state == "done"] for label in study.labels}
    name = reference_label(results)
    reference = Row(name, runs[name], results)
    return {
        label: Row(label, of_label, results, None if label == name else reference)
        for label, of_label in runs.items()
    }


def arms_table(results: Results, *, max_rows: int = MAX_ROWS) -> Table:
    """Return all arms and points with all that is known of them, the best first.

    Args:
        results: The study.
        max_rows: No more rows than this.
    """
    rows = sorted(rows_of(results).values(), key=lambda row: -getattr(_score(row), "estimate", -1.0))
    values = [(column, [column.value(row) for row in rows]) for column in COLUMNS]
    known = [one for one in values if any(value not in (None, "") for value in one[1])]
    shown, alike = [], []
    for column, cells in known:
        texts = {column.format.text(cell) for cell in cells}
        if len(texts) == 1 and len(rows) >= _MANY and column.name != "score":
            alike.append(f"{column.name} {texts.pop()}")
        else:
            shown.append((column, cells))
    shown.sort(key=lambda one: not one[0].is_first)
    who = results.candidate
    header: Header = ["arm"]
    for column, _ in shown:
        name = column.name.format(candidate=who)
        header.append(name if column.form is None else (name, column.format))
    chance = percent(results.chance(results.headline)) if results.headline else "nothing"
    said = {"headline": named(results.headline), "chance": chance, "reference": reference_label(results)}
    told = {
        first: [one.note.format(**said) for one, _ in known if one.note and one.is_first is first]
        for first in (True, False)
    }
    if len(rows) > max_rows:
        told[True].append(f"The best {max_rows} of {len(rows)}; arms.csv has all.")
    if alike:
        told[False].append(f"The same for all: {', '.join(alike)}.")
    notes = [" ".join(sentences) for sentences in told.values() if sentences]
    cells = [[row.label, *(cells[k] for _, cells in shown)] for k, row in enumerate(rows)][:max_rows]
    num_first = 1 + sum(column.is_first for column, _ in shown)
    return Table("Arms", header, cells, notes, num_first=num_first)


def reference_label(results: Results) -> str:
    """Return the label that training times are relative to: the unmasked arm, else the first baseline.

    Of several with whole pictures it is the first with whole captions, too, where there is one.
    """
    whole = [run for run in results.study.runs if run.spec.has_whole_pictures and run.state == "done"]
    if whole:
        return min(whole, key=lambda run: run.spec.config.text.strategy != "none").label
    first = results.labels_of(results.baselines[0] if results.baselines else results.candidate)
    return first[0]
