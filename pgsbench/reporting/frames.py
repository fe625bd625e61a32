"""A study on disk as tidy pandas tables: runs, scores, curves, and the values behind the scores.

Every planned run has its row, whether it exists or not: what is missing is shown as missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pgsbench.errors import RunError
from pgsbench.files import UNREADABLE
from pgsbench.reporting.panel import ArmValues, TaskValues
from pgsbench.tracking.manifest import StudyManifest, StudyRun, read_study
from pgsbench.tracking.rundir import RunDir

COMPLETE, INCOMPLETE, MISSING = "complete", "incomplete", "missing"

#: Said of a run whose scores are those of another study, or older than the suite or its data.
OTHER_SUITE = "complete, but last tested on another suite or other data; repeat the study's command"

_SCORE_COLUMNS = (
    "task",
    "group",
    "protocol",
    "metric",
    "value",
    "n",
    "low",
    "high",
    "chance",
    "primary",
    "version",
    "per_sample",
    "notes",
)


class Gallery(NamedTuple):
    """Training pictures (b, h, w, 3) uint8, which patches the mask showed (b, n) bool, the patch grid."""

    images: NDArray[np.uint8]
    shown: NDArray[np.bool_]
    grid: tuple[int, int]


@dataclass(frozen=True)
class Run:
    """One planned run and what is on disk of it.

    Attributes:
        place: Its place in the study.
        path: Its directory.
        status: ``"complete"``, ``"incomplete"`` (no DONE) or ``"missing"`` (no directory).
        problem: Why what is there cannot be used, or empty.
        record: Content of config.json; empty where there is none.
        env: Content of env.json.
        summary: Content of summary.json.
        scores: Content of scores.json, only where the run is complete.
        values: Task -> per-item values of its primary metric, where the scores name their file.
    """

    place: StudyRun
    path: Path
    status: str
    problem: str = ""
    record: dict[str, Any] = field(default_factory=dict)
    env: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    values: dict[str, TaskValues] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Arm and searched values, equal for all seeds; see `StudyRun.label`."""
        return self.place.label

    @property
    def gallery(self) -> Gallery | None:
        """Some training pictures as the mask showed them, or None where the run kept none."""
        try:
            with np.load(self.path / "gallery.npz") as arrays:
                rows, cols = (int(side) for side in arrays["grid"])
                return Gallery(arrays["images"], arrays["shown"].astype(bool), (rows, cols))
        except UNREADABLE:  # a picture that is missing is no reason to have no report
            return None

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration: data, model, strategy, training, seed."""
        return dict(self.record.get("config", {}))


@dataclass(frozen=True)
class StudyFrames:
    """A study and its runs.

    Attributes:
        folder: ``runs/<study>``.
        manifest: The study manifest.
        runs: All planned runs, in the order of the plan.
    """

    folder: Path
    manifest: StudyManifest
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """Name of the study."""
        return str(self.manifest.study.get("name") or self.folder.name)

    @property
    def arms(self) -> list[str]:
        """All arms in the order of the plan."""
        return list(dict.fromkeys(run.place.arm for run in self.runs))

    @property
    def labels(self) -> list[str]:
        """All labels in the order of the plan."""
        return list(dict.fromkeys(run.label for run in self.runs))

    def of(self, label: str) -> list[Run]:
        """Return the runs of a label, one per seed."""
        return [run for run in self.runs if run.label == label]

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per score of a complete run, with its arm, label and seed."""
        rows = [
            {"arm": run.place.arm, "label": run.label, "seed": run.place.seed}
            | {key: score.get(key) for key in _SCORE_COLUMNS}
            for run in self.runs
            for score in run.scores.get("scores", [])
        ]
        return pd.DataFrame(rows, columns=["arm", "label", "seed", *_SCORE_COLUMNS])

    @cached_property
    def curves(self) -> pd.DataFrame:
        """The metric lines of all runs, also of those under way: arm, label, seed, step, samples, loss..."""
        frames = []
        for run in self.runs:
            lines = RunDir(run.path).metrics() if run.status != MISSING else []
            if lines:
                frame = pd.DataFrame(lines)
                frame.insert(0, "seed", run.place.seed)
                frame.insert(0, "label", run.label)
                frame.insert(0, "arm", run.place.arm)
                frames.append(frame)
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["label", "step"])

    @property
    def groups(self) -> dict[str, dict[str, str]]:
        """The study's tasks: group -> task -> its primary metric, over all runs."""
        primary = self.scores[self.scores["primary"].astype(bool)]
        found: dict[str, dict[str, str]] = {}
        for group, task, metric in primary[["group", "task", "metric"]].itertuples(index=False):
            found.setdefault(str(group), {}).setdefault(str(task), str(metric))
        return found

    @cached_property
    def values(self) -> dict[str, ArmValues]:
        """Per-item values of the primary metrics: label -> seed -> task -> values."""
        return {
            label: {run.place.seed: run.values for run in self.of(label) if run.status == COMPLETE}
            for label in self.labels
        }

    @property
    def problems(self) -> list[str]:
        """One line for each planned run that is not there in full."""
        return [
            f"{run.place.name}: {run.problem or run.status}"
            for run in self.runs
            if run.status != COMPLETE or run.problem
        ]


def read_frames(folder: Path) -> StudyFrames:
    """Read a study and all its runs.

    Args:
        folder: ``runs/<study>``; the run paths in its manifest are relative to the folder above.

    Raises:
        StudyError: There is no study in this folder.
    """
    manifest = read_study(folder)
    runs = [_read_run(folder.parent, place, manifest.suite_fingerprint) for place in manifest.runs]
    return StudyFrames(folder, manifest, tuple(runs))


def _read_run(runs_root: Path, place: StudyRun, suite_fingerprint: str) -> Run:
    directory = place.directory(runs_root)
    if not (directory.path / "config.json").is_file():
        return Run(place, directory.path, MISSING)
    try:
        done = directory.is_done
        scores = directory.scores if done else {}
        problem = "complete, but not evaluated (no scores.json)" if done and not scores.get("scores") else ""
        if suite_fingerprint not in ("", scores.get("suite_fingerprint")) and done and not problem:
            problem, scores = OTHER_SUITE, {}
        return Run(
            place,
            directory.path,
            COMPLETE if done else INCOMPLETE,
            problem,
            directory.config,
            directory.env,
            directory.summary,
            scores,
            _primary_values(directory.path, scores.get("scores", [])),
        )
    except RunError as error:
        return Run(place, directory.path, INCOMPLETE, str(error))


def _primary_values(folder: Path, scores: Sequence[Mapping[str, Any]]) -> dict[str, TaskValues]:
    """Return the values behind the scores that stand for tasks; RunError where they are others."""
    found = {}
    for score in scores:
        if not (score["primary"] and score.get("per_sample")):
            continue
        found[score["task"]] = values = _read_values(folder / score["per_sample"])
        mean = float(np.mean(values.values))
        if not math.isclose(mean, score["value"], abs_tol=1e-4):
            raise RunError(
                f"{score['task']}: the per-item values have mean {mean:.4f}, the score is {score['value']}",
                where=str(folder),
                way_out="evaluate the run again",
            )
    return found


def _read_values(path: Path) -> TaskValues:
    try:
        with np.load(path) as arrays:
            units = arrays["units"].astype(np.str_) if "units" in arrays else None
            strata = arrays["strata"].astype(np.int64) if "strata" in arrays else None
            values, items = arrays["values"].astype(np.float64), arrays["items"].astype(np.str_)
            return TaskValues(values, items, units, strata)
    except UNREADABLE as error:
        raise RunError(f"per-item values cannot be read ({error})", where=str(path)) from error
