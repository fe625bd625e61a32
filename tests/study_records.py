"""The record of a study, written whole, as commands leave it piece by piece."""

from __future__ import annotations

from pathlib import Path

from pgsbench.records.study_record import StudyRecord, read_planned, remove_planned, write_planned


def write_study_record(record: StudyRecord, folder: Path) -> None:
    """Make `record` the record of the study in `folder`."""
    record.write_head(folder)
    gone = {run.spec.name for run in read_planned(folder)} - {run.spec.name for run in record.runs}
    remove_planned(folder, gone)
    write_planned(folder, record.runs)
