"""What a command would do, as a DataFrame and as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pgsbench.execution.estimate import Cost
from pgsbench.records.run_spec import RunSpec
from pgsbench.reporting.render import MISSING_CELL, Table, counted


@dataclass(frozen=True)
class PlannedCost:
    """A run of a plan and what it will cost.

    Attributes:
        spec: The run.
        cost: The estimate.
        exists: Whether it is complete, so that it would be reused.
        is_open: Whether it stands for a point that a sampler will choose.
    """

    spec: RunSpec
    cost: Cost
    exists: bool
    is_open: bool = False


def plan_frame(rows: Sequence[PlannedCost], devices: Sequence[str]) -> pd.DataFrame:
    """Return one row a run, with its cost; see `Cost`.

    Args:
        rows: The plan.
        devices: Of the slots in which runs are trained; kept as ``frame.attrs["devices"]``.
    """
    frame = pd.DataFrame(
        [
            {
                "run": one.spec.name,
                "id": one.spec.id,
                "dropped": one.cost.dropped,
                "steps": one.spec.config.training.steps,
                "samples": one.cost.samples,
                "patch_tokens": one.cost.patch_tokens,
                "text_tokens": one.cost.text_tokens,
                "flops": one.cost.flops,
                "minutes": (one.cost.train_seconds or 0.0) / 60,
                "state": "to choose" if one.is_open else "exists" if one.exists else "to train",
            }
            for one in rows
        ]
    )
    frame.attrs["devices"] = list(devices)
    return frame


def tera(flops: Any) -> str:
    """Return operations in 10^12, as text."""
    return MISSING_CELL if pd.isna(flops) else f"{flops / 1e12:,.1f}"


def plan_table(study: str, frame: pd.DataFrame) -> Table:
    """Return a plan as a table."""
    missing = frame[frame["state"] != "exists"]
    devices = frame.attrs["devices"]
    rows = [
        [
            str(row.run),
            f"{row.dropped:.2f}",
            f"{row.steps:,}",
            f"{row.samples:,}",
            f"{row.patch_tokens:,.0f}",
            f"{row.text_tokens:,}",
            tera(row.flops),
            f"{row.minutes:.1f}",
            str(row.state),
        ]
        for row in frame.itertuples()
    ]
    notes = [
        f"{counted(len(frame), 'run')}, {len(missing)} to train: {missing['samples'].sum():,} samples, "
        f"{missing['patch_tokens'].sum():,.0f} patch tokens, {missing['text_tokens'].sum():,} text tokens.",
        "TFLOP: matrix products of both towers, forward and backward, in 10^12 operations.",
        f"{_about(missing['minutes'].sum() / len(devices))} of training, "
        f"{counted(len(devices), 'run')} at a time on {', '.join(dict.fromkeys(devices))}: estimated from a "
        "few steps just now, for free cores, without reading data and evaluation.",
    ]
    if (frame["state"] == "to choose").any():
        notes.append("The sampler chooses as it goes: such runs stand at the middle of the space.")
    header = [
        "run",
        "dropped",
        "steps",
        "samples",
        "patch tokens",
        "text tokens",
        "TFLOP",
        "minutes",
        "state",
    ]
    return Table(f"Plan of {study}", header, rows, notes, text_columns=(8,))


def _about(minutes: float) -> str:
    return f"About {counted(round(minutes), 'minute')}" if minutes >= 1 else "Less than a minute"
