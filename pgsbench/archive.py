"""Studies that have run: where they lie, their reports written anew, MLflow fed again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pgsbench.errors import StudyError, nearest
from pgsbench.records import files
from pgsbench.reporting.page import ReportPaths, write_report
from pgsbench.reporting.results import Results
from pgsbench.reporting.run_figures import draw_missing
from pgsbench.reporting.study_frames import read_frames
from pgsbench.tracking.mirror import Mirror, Synced


def studies_run(output: str | Path = ".", name: str | None = None) -> list[Path]:
    """Return the folders of the studies that have run, or of the one with this name.

    Raises:
        StudyError: None has, or not this one.
    """
    root = Path(output) / "runs"
    known = {path.parent.name: path.parent for path in sorted(root.glob(f"*/{files.STUDY}"))}
    if name is None and known:
        return list(known.values())
    bare = Path(name).name.removesuffix(".yaml") if name else ""
    if bare not in known:
        raise StudyError(
            "no such study has run here",
            where=str(root),
            value=name,
            way_out=nearest(bare, known) if known else "`pgsbench sweep`, `compare` or `train` runs one",
        )
    return [known[bare]]


def rewrite_reports(
    study: str | None = None,
    *,
    output: str | Path = ".",
    candidate: str | None = None,
    baselines: Sequence[str] | None = None,
) -> Iterator[ReportPaths]:
    """Write the report of a study, or of all, anew from the run directories, and yield the files of each."""
    for folder in studies_run(output, study):
        found = read_frames(folder)
        if study is None and not found.runs:  # so far only its masks were looked at
            continue
        draw_missing(found)
        results = Results(found, candidate=candidate, baselines=baselines)
        yield write_report(results, Path(output) / "reports" / folder.name)


def sync(study: str | None = None, *, output: str | Path = ".") -> Iterator[tuple[str, Synced]]:
    """Feed MLflow from the run directories of a study, or of all, and yield what was sent of each."""
    mirror = Mirror()
    for folder in studies_run(output, study):
        yield folder.name, mirror.sync_study(folder, report_folder=Path(output) / "reports" / folder.name)
