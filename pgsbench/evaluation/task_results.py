"""Results of single tasks: written as they finish, and found again by what they were measured on.

``outcomes/TASK-KEY/METRIC.npz`` holds the outcome of every item, ``task.json`` beside it the rest. The key
says all that was measured, so no suite or model overwrites what the scores of another one rest on. The JSON
file goes before the others change and comes after them, so an evaluation that is killed goes on with the
tasks that are left.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pgsbench.disk.whole_files import UNREADABLE, atomic
from pgsbench.errors import EvaluationError
from pgsbench.evaluation.protocols.base import Measurement
from pgsbench.evaluation.suite import Task
from pgsbench.records.scores import Score, Scores

FOLDER = "outcomes"
RECORD = "task.json"
#: What is told of each metric beside its outcomes.
TOLD = ("metric", "n", "chance", "num_ties", "notes", "details")
#: What an item's file says of each item whatever the protocol; more are its protocol's own.
OUTCOMES = ("values", "items", "units", "correct", "strata", "key")

#: Values are written with so many digits.
FLOAT32 = 1e-6


@dataclass(frozen=True)
class TaskResult:
    """What one task gave.

    Attributes:
        measurements: All that its protocol measured.
        num_images: Distinct pictures that this task was the first of its evaluation to ask for.
        num_texts: Distinct texts of this kind.
    """

    measurements: tuple[Measurement, ...]
    num_images: int
    num_texts: int


def write(out: Path, task: Task, key: str, result: TaskResult) -> None:
    """Write a task's result into the folder `out`."""
    record = out / _folder(task, key) / RECORD
    record.unlink(missing_ok=True)
    for m in result.measurements:
        write_outcomes(out / outcomes_file(task, m.metric, key), m, key)
    metrics = [
        {name: len(m.items) if name == "n" else getattr(m, name) for name in TOLD}
        for m in result.measurements
    ]
    content = {"key": key, "metrics": metrics, "num_images": result.num_images, "num_texts": result.num_texts}
    with atomic(record) as scratch:
        scratch.write_text(json.dumps(content, indent=1) + "\n")


def read(out: Path, task: Task, key: str) -> TaskResult | None:
    """Return the result with this key from the folder `out`; None where there is none or a damaged one."""
    try:
        content = json.loads((out / _folder(task, key) / RECORD).read_text())
        measurements = [
            _read_values(out / outcomes_file(task, m["metric"], key), m, key) for m in content["metrics"]
        ]
        return TaskResult(tuple(measurements), content["num_images"], content["num_texts"])
    except (*UNREADABLE, EvaluationError):
        return None


def _folder(task: Task, key: str) -> str:
    return f"{FOLDER}/{task.file_name}-{key[:16]}"


def outcomes_file(task: Task, metric: str, key: str) -> str:
    """Return the file of a metric's outcomes, relative to the folder of the evaluation."""
    return f"{_folder(task, key)}/{metric}.npz"


def is_measured(folder: Path, suite_fingerprint: str) -> bool:
    """Tell whether a folder has scores on this very suite, and the outcomes behind them, all readable.

    Args:
        folder: The folder of the evaluation.
        suite_fingerprint: Of the suite. A score that names no file of outcomes has none.
    """
    try:
        scores = Scores.read_of(folder, suite_fingerprint)
    except EvaluationError:  # damaged: measured again, it is whole
        return False
    for score in scores.scores if scores else ():
        if not score.per_sample:
            continue
        path = folder / score.per_sample
        try:
            found = path.stat()
            seen = path, found.st_mtime_ns, found.st_ino, found.st_size, score.key, score.n
            if seen not in _whole:
                outcomes_of(folder, score)
                _whole.add(seen)
        except (*UNREADABLE, EvaluationError):
            return False
    return scores is not None


#: States of files of outcomes that were read once: a study asks often whether its runs are complete.
_whole: set[tuple[object, ...]] = set()


def outcomes_of(folder: Path, score: Score) -> Measurement:
    """Return what a score was made from.

    Args:
        folder: The folder of the evaluation.
        score: A score with a file of outcomes.

    Raises:
        UNREADABLE: There is no such file, it is damaged, or it contradicts itself.
        EvaluationError: Its outcomes are none.
    """
    said = {name: getattr(score, name) for name in TOLD}
    return _read_values(folder / score.per_sample, said, score.key)


def write_outcomes(path: Path, m: Measurement, key: str) -> None:
    """Write the outcome of every item of a measurement into a file that bears the key."""
    items = np.asarray(m.items)
    arrays: dict[str, Any] = {
        "values": m.values.astype(np.float32),
        "items": items,
        "units": items if m.units is None else np.asarray(m.units),
        "correct": m.correct,
        "key": np.asarray(key),
        **m.answers,
    }
    if m.strata is not None:
        arrays["strata"] = m.strata
    with atomic(path) as scratch, scratch.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _read_values(path: Path, metric: dict[str, Any], key: str) -> Measurement:
    with np.load(path) as file:
        if str(file["key"]) != key:
            raise ValueError(f"{path} belongs to another evaluation")
        items: Sequence[str] = file["items"].tolist()
        strata = file["strata"] if "strata" in file.files else None
        answers = {name: file[name] for name in file.files if name not in OUTCOMES}
        found = Measurement(
            metric["metric"],
            file["correct"],
            items,
            metric["chance"],
            units=file["units"].tolist(),
            strata=strata,
            num_ties=metric["num_ties"],
            notes=tuple(metric["notes"]),
            details=metric["details"],
            answers=answers,
        )
        if len(items) != metric["n"]:
            raise ValueError(f"{len(items)} test items where there were {metric['n']}")
        if not np.allclose(file["values"], found.values, rtol=FLOAT32, atol=FLOAT32):
            raise ValueError("its values do not follow from what was right")
        return found
