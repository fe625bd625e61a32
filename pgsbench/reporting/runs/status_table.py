"""How a study stands, as a table for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd

from pgsbench.execution.status import STATES, RunStatus
from pgsbench.reporting.render import Format, Header, Table


def status_frame(runs: Sequence[RunStatus]) -> pd.DataFrame:
    """Return a study's runs as rows; see `RunStatus`."""
    return pd.DataFrame([asdict(run) for run in runs])


def status_table(study: str, runs: Sequence[RunStatus]) -> Table:
    """Return a table of a study's runs: state, host or job, step, speed, time left, why it failed."""
    counts = Counter(run.state for run in runs)
    title = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    rows: list[list[object]] = []
    for run in runs:
        speed = "" if run.samples_per_second is None else run.samples_per_second
        left = "" if run.seconds_left is None else run.seconds_left
        place = " ".join(part for part in (run.host, f"job {run.job}" if run.job else "") if part)
        rows.append([run.id, run.name, run.state, place, f"{run.step}/{run.steps}", speed, left])
    notes = [f"{run.name}: {run.why}{f' ({run.log})' if run.log else ''}" for run in runs if run.why]
    numbers = [("speed", Format("{:.0f}/s")), ("left", Format(_clock))]
    header: Header = ["id", "run", "state", "where", "step", *numbers]
    return Table(f"{study}: {title or 'nothing is planned'}", header, rows, notes)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
