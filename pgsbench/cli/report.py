"""``pgsbench report`` and ``pgsbench sync``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgsbench.cli.options import OutputOption, names_in

StudyName = Annotated[
    str | None, typer.Argument(metavar="[STUDY]", help="Name of a study under runs/ (default: all).")
]


def report(
    study: StudyName = None,
    baselines: Annotated[str | None, typer.Option(help="Arms to compare with, joined by commas.")] = None,
    candidate: Annotated[str | None, typer.Option(help="The arm in question.")] = None,
    output: OutputOption = Path(),
) -> None:
    """Write the Markdown and HTML report of a study again, from its run directories.

    Example: pgsbench report ratio
    """
    from pgsbench.reporting.frames import read_frames
    from pgsbench.reporting.page import write_report
    from pgsbench.reporting.results import Results

    others = names_in(baselines) if baselines else None
    for folder in _studies(study, output):
        found = read_frames(folder)
        if study is None and not found.runs:  # so far only its masks were looked at
            continue
        results = Results(found, candidate=candidate, baselines=others)
        paths = write_report(results, output / "reports" / folder.name)
        typer.echo(f"{paths.html}\n{paths.markdown}")


def sync(study: StudyName = None, output: OutputOption = Path()) -> None:
    """Feed MLflow from the run directories; can be repeated at any time.

    Example: MLFLOW_TRACKING_URI=http://mlflow:5000 pgsbench sync
    """
    from pgsbench.errors import RunError
    from pgsbench.tracking.mlflow import Mirror

    mirror = Mirror()
    for folder in _studies(study, output):
        done = mirror.sync_study(folder, report_folder=output / "reports" / folder.name)
        typer.echo(f"{folder.name}: {done.runs} runs; sent {done.points} values, {done.files} files")
        if done.problem:
            raise RunError(f"MLflow is behind: {done.problem}", where=folder.name)


def _studies(name: str | None, output: Path) -> list[Path]:
    from pgsbench.errors import StudyError, nearest

    known = {path.parent.name: path.parent for path in sorted((output / "runs").glob("*/study.json"))}
    if name is None and known:
        return list(known.values())
    bare = Path(name).stem if name else ""
    if bare not in known:
        raise StudyError(
            "no such study has run here",
            where=str(output / "runs"),
            value=name,
            way_out=nearest(bare, known) if known else "`pgsbench sweep`, `compare` or `train` runs one",
        )
    return [known[bare]]
