"""The columns of the report's tables of arms. A new column is one entry in one of the lists below.

An entry says what the column is called, which number it shows and how that is written. See
docs/add-a-column.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from pgsbench.records.run_records import Summary
from pgsbench.reporting.render import Format
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import PlannedRun


@dataclass(frozen=True)
class Row:
    """What a column can look at: the complete runs of one label, one a seed.

    Attributes:
        label: The label.
        runs: Its complete runs.
        reference: The row that times are relative to; None in the reference's own row.
    """

    label: str
    runs: Sequence[PlannedRun]
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
    def samples_per_second(self) -> float | None:
        """Pairs seen in a second of `seconds`."""
        return self.summary["samples"] / self.seconds if self.seconds else None

    @property
    def relative_time(self) -> float | None:
        """Training time over the reference's; None where either is not known."""
        ours, theirs = self.seconds, (self.reference or self).seconds
        return ours / theirs if ours is not None and theirs else None


@dataclass(frozen=True)
class Column:
    """A column of numbers.

    Attributes:
        name: Its header.
        of: The number: a field of `Summary`, or a function of the row; None is shown as missing.
        form: How it is written.
        scale: Factor on the number before it is written.
        note: What a reader must know, as a note below the table; ``{reference}`` is the reference's label.
    """

    name: str
    of: str | Callable[[Row], float | None]
    form: str = "{:,.0f}"
    scale: float = 1.0
    note: str = ""

    def value(self, row: Row) -> float | None:
        """Return the number for a row, or None where it is not known."""
        return row.summary.get(self.of) if isinstance(self.of, str) else self.of(row)

    @property
    def head(self) -> tuple[str, Format]:
        """Name and format, for the header of a table."""
        return self.name, Format(self.form, self.scale)


#: What an arm cost. A column that no arm has a number for is left out.
COST = [
    Column(
        "train s", lambda row: row.seconds, note="Train s: a run's; processor time on CPUs, else wall time."
    ),
    Column(
        "relative time",
        lambda row: row.relative_time,
        "{:.2f}×",
        note="Relative time: training time over that of {reference}.",
    ),
    Column(
        "effective ratio",
        "mask_ratio_over_training",
        "{:.1%}",
        note="Effective ratio: share of patches without influence, of all in the pictures of the whole "
        "training; its phase on whole pictures counts.",
    ),
    Column(
        "tokens kept",
        "tokens_kept_over_training",
        "{:,.4g}",
        note="Tokens kept: patch tokens of a picture in the image tower, mean over the whole training; its "
        "phase on whole pictures counts.",
    ),
    Column(
        "text tokens",
        lambda row: (
            row.summary["text_tokens"] / row.summary["samples"] if "text_tokens" in row.summary else None
        ),
        "{:,.1f}",
        note="Text tokens: of a caption that entered the text tower, padding included, mean over the whole "
        "training.",
    ),
    Column(
        "TFLOP",
        "flops",
        "{:,.1f}",
        scale=1e-12,
        note="TFLOP: matrix products of both towers in the whole training, in 10^12 operations.",
    ),
    Column("samples/s", lambda row: row.samples_per_second),
    Column("mask share", "mask_share", "{:.2%}", note="Mask share: of the training time, spent on the mask."),
    Column("peak GiB", "peak_memory_bytes", "{:.2f}", scale=2**-30, note="Peak GiB: memory of the GPU."),
]

#: What stands beside the scores of an arm.
BESIDE_SCORES = [
    Column(
        "mask overlap",
        "mask_overlap",
        scale=100,
        note="Mask overlap: how much two draws of the mask show alike of a picture (intersection over "
        "union). 100: the same mask every time; 33: two random halves.",
    ),
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
    reference = Row(name, runs[name])
    return {
        label: Row(label, of_label, None if label == name else reference) for label, of_label in runs.items()
    }


def known(columns: Sequence[Column], rows: Sequence[Row]) -> list[Column]:
    """Return the columns that have a number in some row."""
    return [column for column in columns if any(column.value(row) is not None for row in rows)]


def reference_label(results: Results) -> str:
    """Return the label that training times are relative to: the unmasked arm, else the first baseline.

    Of several with whole pictures it is the first with whole captions, too, where there is one.
    """
    whole = [run for run in results.study.runs if run.spec.has_whole_pictures and run.state == "done"]
    if whole:
        return min(whole, key=lambda run: run.spec.config.text.strategy != "none").label
    first = results.labels_of(results.baselines[0] if results.baselines else results.candidate)
    return first[0]
