"""``pgsbench runs``: the run directories on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pgsbench import completion
from pgsbench.cli.options import JsonOption, OutputOption, group
from pgsbench.reporting import render

if TYPE_CHECKING:
    import pandas as pd

app = group("Runs: list, show, compare, remove, export.")

RunArgument = Annotated[
    str,
    typer.Argument(help="A run's id, the beginning of it, or its directory.", autocompletion=completion.runs),
]
StudyOfRuns = Annotated[
    str, typer.Argument(help="Name of a study under runs/.", autocompletion=completion.studies_run)
]
MetricOption = Annotated[str | None, typer.Option(help="mean, a group, or TASK/METRIC.")]


@app.command(name="ls")
def list_(
    study: Annotated[
        str | None, typer.Option(help="Runs of this study.", autocompletion=completion.studies_run)
    ] = None,
    arm: Annotated[str | None, typer.Option(help="Runs of this arm.", autocompletion=completion.arms)] = None,
    min_score: Annotated[
        float | None, typer.Option(min=0, max=100, help="At least this score in percent.")
    ] = None,
    newer: Annotated[
        str | None, typer.Option(metavar="AGE", help="Begun at most so long ago: 90m, 12h, 2d, 1w.")
    ] = None,
    metric: MetricOption = None,
    sort: Annotated[
        str, typer.Option(help="id, study, arm, label, seed, status, score, started.")
    ] = "started",
    output: OutputOption = Path(),
    json: JsonOption = False,
) -> None:
    """List the runs: id, study, arm, seed, score, status, date.

    Example: pgsbench runs ls --study ratio --min-score 60 --sort score
    """
    from pgsbench.reporting.run_list import runs

    share = None if min_score is None else min_score / 100
    found = runs(
        output, study=study, arm=arm, min_score=share, newer=newer, metric=metric or "mean", sort=sort
    )
    _print(found, metric or "mean", json=json)


@app.command()
def best(
    study: StudyOfRuns, metric: MetricOption = None, output: OutputOption = Path(), json: JsonOption = False
) -> None:
    """Show the run of a study with the highest score (default: what the study searches for, or the mean).

    Example: pgsbench runs best ratio --metric classification
    """
    from pgsbench.reporting.run_list import best_run, metric_of

    metric = metric or metric_of(output, study)
    _print(best_run(study, output=output, metric=metric), metric, json=json)


@app.command()
def show(run: RunArgument, output: OutputOption = Path(), json: JsonOption = False) -> None:
    """Show what a run is, where it was trained, what it cost and scored.

    Example: pgsbench runs show 3f9a
    """
    from pgsbench.reporting.run import load_run, run_tables

    render.show(*run_tables(load_run(run, output)), json=json)


@app.command()
def diff(
    ours: RunArgument, theirs: RunArgument, output: OutputOption = Path(), json: JsonOption = False
) -> None:
    """Show what differs between two runs: settings, data, code, numerics, scores.

    Example: pgsbench runs diff 3f9a 07c2
    """
    from pgsbench.reporting.run import diff_tables, load_run

    render.show(*diff_tables(load_run(ours, output), load_run(theirs, output)), json=json)


@app.command()
def rm(
    runs: Annotated[list[str], typer.Argument(help="Ids or directories.", autocompletion=completion.runs)],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    output: OutputOption = Path(),
) -> None:
    """Delete runs: their directories, and what the records of studies say of them. MLflow keeps its copies.

    Example: pgsbench runs rm 3f9a 07c2
    """
    from pgsbench.reporting.run import load_run
    from pgsbench.tracking.run_files import remove

    found = [load_run(run, output) for run in dict.fromkeys(runs)]
    for run in found:
        typer.echo(f"{run.spec.id}  {run.spec.study}/{run.spec.name}  {run.path}")
    if not yes:
        typer.confirm("delete what is listed?", abort=True)
    remove(output / "runs", [run.directory for run in found])
    typer.echo(f"deleted: {len(found)}")


@app.command()
def export(
    run: RunArgument,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder.")],
    output: OutputOption = Path(),
) -> None:
    """Copy a run's model to a folder that open_clip loads, with run.json: what it is, what it scored.

    Example: pgsbench runs export 3f9a models/pgs
    """
    from pgsbench.reporting.run import load_run
    from pgsbench.tracking import run_files

    typer.echo(run_files.export(load_run(run, output).directory, folder))


def _print(found: pd.DataFrame, metric: str, *, json: bool) -> None:
    from pgsbench.reporting.run_list import runs_table

    if json:
        return typer.echo(found.to_json(orient="records", indent=1, date_format="iso"))
    render.show(runs_table(found, metric=metric))
