"""What a command would do, as a DataFrame and as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from pgsbench.execution.estimate import Cost
from pgsbench.records.run_spec import RunSpec
from pgsbench.reporting.render import COUNT, Format, Table, counted

#: Column of the frame -> column of the table.
_COLUMNS: dict[str, str | tuple[str, Format]] = {
    "run": "run",
    "dropped": ("dropped", Format("{:.2f}")),
    "steps": ("steps", COUNT),
    "samples": ("samples", COUNT),
    "patch_tokens": ("patch tokens", Format("{:,.0f}")),
    "text_tokens": ("text tokens", COUNT),
    "flops": ("TFLOP", Format("{:,.1f}", scale=1e-12)),
    "minutes": ("minutes", Format("{:.1f}")),
    "state": "state",
}


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


def plan_table(study: str, frame: pd.DataFrame) -> Table:
    """Return a plan as a table."""
    missing = frame[frame["state"] != "exists"]
    devices = frame.attrs["devices"]
    rows = [list(row) for row in frame[list(_COLUMNS)].astype(object).itertuples(index=False)]
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
    return Table(f"Plan of {study}", list(_COLUMNS.values()), rows, notes)


def _about(minutes: float) -> str:
    return f"About {counted(round(minutes), 'minute')}" if minutes >= 1 else "Less than a minute"
