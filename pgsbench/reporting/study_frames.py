"""A study on disk as tidy pandas tables: runs, scores, curves, and the values behind the scores.

Every planned run has its row, whether it exists or not: what is missing is shown as missing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pgsbench.disk.whole_files import UNREADABLE
from pgsbench.errors import RunError
from pgsbench.records import files
from pgsbench.records.run_records import Environment, Summary
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.scores import Score, Scores
from pgsbench.records.study_record import Entry, StudyRecord
from pgsbench.records.verdict_record import ALL_GROUPS
from pgsbench.reporting.statistics.task_values import ArmValues, TaskValues
from pgsbench.tracking.rundir import RunDir
from pgsbench.tracking.states import State, pruned_points, saved_seconds, state

#: Said of a run whose scores are those of another study alone, or older than the suite or its data.
OTHER_SUITE = "complete, but tested on another suite or other data; repeat the study's command"
NOT_EVALUATED = "complete, but not evaluated (no scores.json)"

_IN_NO_FRAME = ("per_sample", "num_ties", "details", "key")
_SCORE_COLUMNS = [one.name for one in fields(Score) if one.name not in _IN_NO_FRAME]


class Gallery(NamedTuple):
    """What a run did to some training pictures.

    Attributes:
        images: (b, h, w, 3) the pictures.
        shown: (b, n) which patches had an influence.
        grid: (rows, cols) of the patches.
        seen: (b, h, w, 3) what the tower saw, where patches merged or pictures were resampled.
        tokens: Patch tokens of a picture.
    """

    images: NDArray[np.uint8]
    shown: NDArray[np.bool_]
    grid: tuple[int, int]
    seen: NDArray[np.uint8] | None = None
    tokens: float = 0.0


#: Of the scores of runs while they were trained.
CURVE_COLUMNS = ("step", "samples", "seconds", "cpu_seconds", "flops", "task", "score")


@dataclass(frozen=True)
class PlannedRun:
    """One planned run and what is on disk of it.

    Attributes:
        spec: The run as the study planned it.
        path: Its directory.
        state: How it stands (`pgsbench.tracking.states`); of a point of which one seed was pruned, nothing
            counts anywhere.
        problem: Why what is there cannot be used, or empty.
        environment: Where it was trained; None where that is not known.
        summary: What the training cost; None where it has not ended.
        scores: Its evaluation, only where the run is complete.
        values: Task -> per-item values of its primary metric, where the scores name their file.
    """

    spec: RunSpec
    path: Path
    state: State
    problem: str = ""
    environment: Environment | None = None
    summary: Summary | None = None
    scores: Scores | None = None
    values: dict[str, TaskValues] = field(default_factory=dict)

    @property
    def arm(self) -> str:
        """Its arm in the study."""
        return self.spec.arm

    @property
    def label(self) -> str:
        """Arm and searched values, equal for all seeds; see `RunSpec.label`."""
        return self.spec.label

    @property
    def seed(self) -> int:
        """Its seed."""
        return self.spec.seed

    @property
    def is_evaluated(self) -> bool:
        """Whether it is complete and has the scores that its study asks for."""
        return self.state == "done" and not self.problem

    @property
    def gallery(self) -> Gallery | None:
        """Some training pictures as the mask showed them, or None where the run kept none."""
        try:
            with np.load(self.path / files.GALLERY) as arrays:
                rows, cols = map(int, arrays["grid"])
                shown, seen = arrays["shown"].astype(bool), arrays.get("seen")
                return Gallery(arrays["images"], shown, (rows, cols), seen, float(arrays.get("tokens", 0.0)))
        except UNREADABLE:  # a picture that is missing is no reason to have no report
            return None


@dataclass(frozen=True)
class Frames:
    """A study and its runs.

    Attributes:
        folder: ``runs/<study>``.
        record: The study's record.
        runs: All planned runs, in the order of the plan.
    """

    folder: Path
    record: StudyRecord
    runs: tuple[PlannedRun, ...]

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.record.config.name

    @property
    def arms(self) -> list[str]:
        """All arms in the order of the plan."""
        return list(dict.fromkeys(run.arm for run in self.runs))

    @property
    def labels(self) -> list[str]:
        """All labels in the order of the plan."""
        return list(dict.fromkeys(run.label for run in self.runs))

    @property
    def arm_of(self) -> dict[str, str]:
        """Label -> its arm, in the order of the plan."""
        return {run.label: run.arm for run in self.runs}

    @cached_property
    def oracles(self) -> list[str]:
        """The arms that are a ceiling and no method (`RunSpec.is_oracle`), in the order of the plan."""
        return list(dict.fromkeys(run.arm for run in self.runs if run.spec.is_oracle))

    def of(self, label: str) -> list[PlannedRun]:
        """Return the runs of a label, one per seed."""
        return [run for run in self.runs if run.label == label]

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per score of a complete run, with its arm, label and seed."""
        rows = [
            {"arm": run.arm, "label": run.label, "seed": run.seed}
            | {key: getattr(score, key) for key in _SCORE_COLUMNS}
            for run in self.runs
            for score in (run.scores.scores if run.scores else ())
        ]
        return pd.DataFrame(rows, columns=["arm", "label", "seed", *_SCORE_COLUMNS])

    @cached_property
    def primary(self) -> pd.DataFrame:
        """Of `scores` those that stand for their tasks."""
        return self.scores[self.scores["primary"].astype(bool)]

    @cached_property
    def curves(self) -> pd.DataFrame:
        """The metric lines of all runs, also of those under way: arm, label, seed, step, samples, loss..."""
        rows = [
            {"arm": run.arm, "label": run.label, "seed": run.seed, **line}
            for run in self.runs
            for line in RunDir(run.path).metrics()
        ]
        return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["label", "step"])

    @cached_property
    def score_curves(self) -> pd.DataFrame:
        """The scores of all runs while they were trained: arm, label, seed and `CURVE_COLUMNS`."""
        rows = [
            {"arm": run.arm, "label": run.label, "seed": run.seed, **row}
            for run in self.runs
            for row in curve_rows(RunDir(run.path))
        ]
        return pd.DataFrame(rows, columns=["arm", "label", "seed", *CURVE_COLUMNS])

    @property
    def groups(self) -> dict[str, dict[str, str]]:
        """The study's tasks: group -> task -> its primary metric, over all runs."""
        found: dict[str, dict[str, str]] = {}
        for group, task, metric in self.primary[["group", "task", "metric"]].itertuples(index=False):
            found.setdefault(str(group), {}).setdefault(str(task), str(metric))
        return found

    @cached_property
    def values(self) -> dict[str, ArmValues]:
        """Per-item values of the primary metrics: label -> seed -> task -> values; of evaluated runs."""
        return {
            label: {run.seed: run.values for run in self.of(label) if run.is_evaluated}
            for label in self.labels
        }

    @property
    def problems(self) -> list[str]:
        """One line for each planned run that is not there in full."""
        return [
            f"{run.spec.name}: {run.problem or run.state}"
            for run in self.runs
            if not run.is_evaluated and run.state != "pruned"
        ]

    @property
    def pruned_labels(self) -> list[str]:
        """The points that the search's pruner has ended."""
        return list(dict.fromkeys(run.label for run in self.runs if run.state == "pruned"))

    @cached_property
    def saved_seconds(self) -> float:
        """How long the rest of their trainings would have taken."""
        return saved_seconds(self.folder, self.record.config.search, self.record.runs)


def macro_means(groups: Mapping[str, Collection[str]]) -> dict[str, dict[str, float]]:
    """Return group -> task -> weight, the mean of all groups first.

    Means are macro means: every task weighs the same in its group, every group in the mean of groups.

    Args:
        groups: Group -> its tasks.
    """
    found = {name: dict.fromkeys(tasks, 1 / len(tasks)) for name, tasks in groups.items()}
    if len(found) < 2:
        return found
    every = {task: w / len(found) for tasks in found.values() for task, w in tasks.items()}
    return {ALL_GROUPS: every, **found}


def read_frames(folder: Path) -> Frames:
    """Read a study and all its runs.

    Args:
        folder: ``runs/<study>``; the run paths in its manifest are relative to the folder above.

    Raises:
        StudyError: There is no study in this folder.
    """
    record = StudyRecord.read(folder)
    pruned = pruned_points(folder, record.config.search, record.runs)
    runs = [
        PlannedRun(run.spec, folder.parent / run.directory, "pruned")
        if run.spec.label in pruned
        else read_run(folder.parent, run)
        for run in record.runs
    ]
    return Frames(folder, record, tuple(runs))


def read_run(runs_root: Path, planned: Entry) -> PlannedRun:
    """Return what is on disk of a planned run.

    Args:
        runs_root: The folder of all studies.
        planned: The run and its directory.
    """
    spec, directory = planned.spec, RunDir(runs_root / planned.directory)
    now = state(directory)
    if not directory.exists:
        return PlannedRun(spec, directory.path, now)
    try:
        done = now == "done"
        scores = directory.scores_of(planned.suite_fingerprint) if done else None
        problem = ""
        if done and scores is None:
            problem = OTHER_SUITE if directory.scores else NOT_EVALUATED
        cost = directory.environment, directory.summary
        values = primary_values(directory.path, scores.scores if scores else ())
        return PlannedRun(spec, directory.path, now, problem, *cost, scores, values)
    except RunError as error:
        return PlannedRun(spec, directory.path, now, str(error))


def primary_values(folder: Path, scores: Sequence[Score]) -> dict[str, TaskValues]:
    """Return the values behind the scores that stand for tasks; RunError where they are others."""
    found = {}
    for score in scores:
        if not (score.primary and score.per_sample):
            continue
        found[score.task] = values = _read_values(folder / score.per_sample, score.key)
        mean = float(np.mean(values.values))
        if not math.isclose(mean, score.value, abs_tol=1e-4):
            rule = f"{score.task}: the per-item values have mean {mean:.4f}, the score is {score.value}"
            raise RunError(rule, where=str(folder), way_out="evaluate the run again")
    return found


def _read_values(path: Path, key: str) -> TaskValues:
    try:
        with np.load(path) as arrays:
            if key != (str(arrays["key"]) if "key" in arrays else ""):
                rule = "these per-item values belong to another evaluation than the scores beside them"
                way_out = "evaluate again, each model into a folder of its own"
                raise RunError(rule, where=str(path), way_out=way_out)
            units = arrays["units"].astype(np.str_) if "units" in arrays else None
            strata = arrays["strata"].astype(np.int64) if "strata" in arrays else None
            values, items = arrays["values"].astype(np.float64), arrays["items"].astype(np.str_)
            return TaskValues(values, items, units, strata)
    except UNREADABLE as error:
        rule, way_out = f"per-item values cannot be read ({error})", "repeat the study's command"
        raise RunError(rule, where=str(path), way_out=way_out) from error


def curve_rows(run: RunDir) -> list[dict[str, Any]]:
    """Return the scores of a run while it was trained, a row for each step and task: `CURVE_COLUMNS`.

    What was asked for on the way is also told of the end, where it was measured there.
    """
    rows = [
        {**{name: getattr(one, name) for name in CURVE_COLUMNS[:5]}, "task": task, "score": score}
        for one in run.curve()
        for task, score in one.scores.items()
    ]
    summary, scores = run.summary, run.scores
    tasks = dict.fromkeys(row["task"] for row in rows)
    if tasks and summary is not None and scores is not None:
        costs = (summary.steps, summary.samples, summary.train_seconds, summary.train_cpu_seconds)
        at_end = dict(zip(CURVE_COLUMNS, (*costs, summary.flops or 0), strict=False))
        found = scores.primary()
        rows += [{**at_end, "task": task, "score": found[task].value} for task in tasks if task in found]
    return rows
