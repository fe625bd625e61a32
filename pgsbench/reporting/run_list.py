"""The runs on disk as a DataFrame: found by study, arm, score and age."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from pgsbench.config.search import MEAN
from pgsbench.errors import ConfigError, RunError, StudyError, nearest
from pgsbench.records import files
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.study_record import StudyRecord
from pgsbench.reporting.render import COUNT, MISSING_CELL, PERCENT, Header, Table, counted
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames
from pgsbench.study.objective import Objective
from pgsbench.tracking.rundir import RunDir, all_runs
from pgsbench.tracking.states import state

COLUMNS = ("id", "study", "arm", "label", "seed", "state", "score", "started", "directory")

#: A run that a process works on, and one whose spec cannot be read.
DAMAGED = "damaged"

#: Columns that are sorted from the top: the best and the newest come first.
_FROM_THE_TOP = ("score", "started")

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def runs(
    output: str | Path = ".",
    *,
    study: str | None = None,
    arm: str | None = None,
    min_score: float | None = None,
    newer: str | None = None,
    metric: str = MEAN,
    sort: str = "started",
) -> pd.DataFrame:
    """Return the runs on disk, one row each; see `COLUMNS`.

    Args:
        output: The folder of ``runs/``.
        study: Only runs of this study, those included that it shares with others, with their scores on its
            suite. Without it a run stands once, under the study that planned it first, with its last scores.
        arm: Only this arm.
        min_score: Only runs with at least this score, a share in [0, 1].
        newer: Only runs that began at most so long ago: ``"90m"``, ``"12h"``, ``"2d"`` or ``"1w"``.
        metric: What `score` is: ``mean`` of the suite's groups, a group, or ``TASK/METRIC``. It is NaN where
            a run has no such score, but some must have it.
        sort: Column to sort by; scores and dates from the top, all else from the bottom.

    Raises:
        StudyError: No study of this name has run, its record is damaged, or no run has such a score.
        ConfigError: There is no such arm, column or duration.
    """
    if sort not in COLUMNS:
        raise ConfigError("no such column", where="sort", value=sort, way_out=nearest(sort, COLUMNS))
    oldest = datetime.now(UTC) - duration(newer) if newer else None
    root = Path(output) / "runs"
    rows = [_row(*chosen) for chosen in _chosen(root, study)]
    _score(rows, metric)
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    found["score"] = found["score"].astype(float)
    found["started"] = pd.to_datetime(found["started"], utc=True, format="ISO8601")
    if arm is not None:
        arms = set(found["arm"])
        if arms and arm not in arms:
            raise ConfigError("no run is of this arm", where="arm", value=arm, way_out=nearest(arm, arms))
        found = found[found["arm"] == arm]
    if min_score is not None:
        found = found[found["score"] >= min_score]
    if oldest is not None:
        found = found[found["started"] >= oldest]
    found = found.sort_values(sort, ascending=sort not in _FROM_THE_TOP, kind="stable", na_position="last")
    return found.reset_index(drop=True)


def best_run(study: str, *, output: str | Path = ".", metric: str | None = None) -> pd.DataFrame:
    """Return the row of the run of a study that has the highest score; see `runs`.

    Runs of points that cost more than ``search.at_most`` allows are left out.

    Args:
        study: Name of a study that has run.
        output: The folder of ``runs/``.
        metric: See `runs`; None: what the study searches for, else the mean.

    Raises:
        StudyError: The study has not run, no run of it has such a score, or all that have cost too much.
    """
    found = runs(output, study=study, metric=metric or metric_of(output, study), sort="score")
    scored = found.dropna(subset="score")
    if scored.empty:
        raise StudyError("no run of the study has such a score", where=study, value=metric)
    too_costly = Results(read_frames(study_folder(output, study))).too_costly
    best = scored[~scored["label"].isin(too_costly)].head(1)
    if best.empty:
        raise StudyError("all points cost more than search.at_most allows", where=study, way_out="raise it")
    return best


def metric_of(output: str | Path, study: str) -> str:
    """Return the metric by which a study ranks its points: that of its search, else the mean."""
    search = StudyRecord.read(study_folder(output, study)).config.search
    return search.metrics[0] if search else MEAN


def studies_run(output: str | Path) -> dict[str, Path]:
    """Return the studies that have run, each with its folder ``runs/<study>``.

    Raises:
        StudyError: None has.
    """
    root = Path(output) / "runs"
    found = {path.parent.name: path.parent for path in sorted(root.glob(f"*/{files.STUDY}"))}
    if not found:
        way_out = "`pgsbench compare --study quick --baselines flip` runs one"
        raise StudyError("no study has run here", where=str(root), way_out=way_out)
    return found


def study_folder(output: str | Path, study: str) -> Path:
    """Return ``runs/<study>``; the name of the study's file will do, too.

    Raises:
        StudyError: No study of this name has run.
    """
    known, name = studies_run(output), Path(study).name.removesuffix(".yaml")
    if name not in known:
        where, way_out = str(Path(output) / "runs"), nearest(name, known)
        raise StudyError("no such study has run here", where=where, value=study, way_out=way_out)
    return known[name]


def duration(text: str) -> timedelta:
    """Return how long ``"90m"``, ``"12h"``, ``"2d"`` or ``"1w"`` is.

    Raises:
        ConfigError: It is none of these.
    """
    given = re.fullmatch(r"(\d{1,4}(?:\.\d+)?)([mhdw])", text.strip())
    if given is None:
        raise ConfigError(
            "a duration is a number and a unit: m, h, d or w", where="newer", value=text, way_out="write 2d"
        )
    return timedelta(**{_UNITS[given[2]]: float(given[1])})


def runs_table(found: pd.DataFrame, *, metric: str = MEAN) -> Table:
    """Return a list of runs for people."""
    rows: list[list[object]] = []
    for row in found.to_dict("records"):
        started = MISSING_CELL if pd.isna(row["started"]) else f"{row['started']:%Y-%m-%d %H:%M}"
        rows.append([row["id"], row["study"], row["label"], row["seed"], row["score"], row["state"], started])
    header: Header = ["id", "study", "arm", ("seed", COUNT), (metric, PERCENT), "state", "started (UTC)"]
    return Table(counted(len(rows), "run"), header, rows)


def _chosen(root: Path, study: str | None) -> list[tuple[RunDir, RunSpec | None, str]]:
    """Return run directories, each with spec and suite fingerprint as the chosen study planned them.

    A spec that is damaged is None; without a study the fingerprint is empty.
    """
    if study is None:
        return [(run, _spec(run), "") for run in all_runs(root)]
    record = StudyRecord.read(study_folder(root.parent, study))
    planned = [(RunDir(root / one.directory), one.spec, one.suite_fingerprint) for one in record.runs]
    return [chosen for chosen in planned if chosen[0].exists]


def _spec(run: RunDir) -> RunSpec | None:
    try:
        return run.spec
    except RunError:
        return None


def _score(rows: Sequence[dict[str, Any]], metric: str) -> None:
    """Put a number in place of the scores of each run.

    Raises:
        StudyError: There are scores, and none has this number.
    """
    unknown = None
    for row in rows:
        try:
            row["score"] = Objective(metric).value(row["score"]) if row["score"] else None
        except StudyError as error:  # of another suite, which has no such score
            row["score"], unknown = None, error
    if unknown and all(row["score"] is None for row in rows):
        raise StudyError("no run has such a score", where="metric", value=metric, way_out=unknown.way_out)


def _row(run: RunDir, spec: RunSpec | None, suite_fingerprint: str) -> dict[str, Any]:
    """Return a row with all scores of the run on this suite, if any, in place of one."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | {"state": DAMAGED, "directory": str(run.path)}
    if spec is None:
        return row | {"id": "?", "study": run.path.parent.name, "arm": "?", "label": "?", "seed": -1}
    row |= {"id": spec.id, "study": spec.study, "arm": spec.arm, "label": spec.label, "seed": spec.seed}
    try:
        environment = run.environment
        row["score"] = run.scores_of(suite_fingerprint) if run.is_done else None
    except RunError:
        return row
    row["state"] = state(run)
    row["started"] = environment.started if environment else None
    return row
