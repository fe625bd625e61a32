"""Studies that have run: where they lie, their reports written anew, MLflow fed again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pgsbench.reporting.page import ReportPaths, write_report
from pgsbench.reporting.results import Results
from pgsbench.reporting.run_figures import draw_missing
from pgsbench.reporting.run_list import studies_run, study_folder
from pgsbench.reporting.study_frames import read_frames
from pgsbench.tracking.mirror import Mirror, Synced


def rewrite_reports(
    study: str | None = None,
    *,
    output: str | Path = ".",
    candidate: str | None = None,
    baselines: Sequence[str] | None = None,
) -> Iterator[ReportPaths]:
    """Write the report of a study, or of all, anew from the run directories, and yield the files of each."""
    for folder in _folders(study, output):
        found = read_frames(folder)
        if study is None and not found.runs:  # so far only its masks were looked at
            continue
        draw_missing(found)
        results = Results(found, candidate=candidate, baselines=baselines)
        yield write_report(results, Path(output) / "reports" / folder.name)


def sync(study: str | None = None, *, output: str | Path = ".") -> Iterator[tuple[str, Synced]]:
    """Feed MLflow from the run directories of a study, or of all, and yield what was sent of each."""
    mirror = Mirror()
    for folder in _folders(study, output):
        yield folder.name, mirror.sync_study(folder, report_folder=Path(output) / "reports" / folder.name)


def _folders(study: str | None, output: str | Path) -> list[Path]:
    return [study_folder(output, study)] if study else list(studies_run(output).values())
