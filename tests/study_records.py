"""Records of studies and runs, written whole, as commands leave them piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pgsbench.records.scores import GroupMean, Score, Scores
from pgsbench.records.study_record import StudyRecord, read_planned, remove_planned, write_planned


def write_study_record(record: StudyRecord, folder: Path) -> None:
    """Make `record` the record of the study in `folder`."""
    record.write_head(folder)
    gone = {run.spec.name for run in read_planned(folder)} - {run.spec.name for run in record.runs}
    remove_planned(folder, gone)
    write_planned(folder, record.runs)


def scores_of(scores: Iterable[Score], groups: Mapping[str, GroupMean], **more: Any) -> Scores:
    """Return scores of a suite that nothing else is known of."""
    about: dict[str, Any] = {"suite": "scenes", "suite_version": 1, "suite_fingerprint": "fedcba9876543210"}
    about |= {"checkpoint_sha256": "0" * 64, "mask": None, "num_images": 1000, "num_texts": 100}
    about |= {key: {} for key in ("architecture", "preprocess", "environment", "files", "protocols")}
    return Scores(**about | more, scores=tuple(scores), groups=dict(groups), activations=("GELU",))
