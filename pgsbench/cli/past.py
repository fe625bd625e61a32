"""``pgsbench runs``, ``report``, ``validity``, ``sync`` ...: what has run already."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pgsbench.cli import completion
from pgsbench.cli import options as opt
from pgsbench.cli.commands import argument, command, group, names_in, option
from pgsbench.progress import Bars
from pgsbench.reporting import terminal
from pgsbench.reporting.render import counted

app = group()
runs = group("Runs: list, show, compare, remove, export.", name="runs")

_ALL = "Name of a study under runs/ (default: all)."
_REPORT = "A study under runs/ (default: all), or a report's folder: its evidence then stands for runs/."
StudyRunOrAll = Annotated[str | None, argument(_ALL, "[STUDY]", tab=completion.studies_run)]
Run = Annotated[str, argument("A run's id, the beginning of it, or its directory.", tab=completion.runs)]
_FOREIGN = (
    "Folders LOGS/NAME of open_clip_train's, each perhaps with the name of its arm (default: its mask)."
)
_METRIC = "mean, a group, or TASK/METRIC"
_REFERENCE = "What is believed: a study under runs/, or a report's folder; or STUDY:METRIC (default: mean)."


@command(runs, "pgsbench runs ls --study ratio --min-score 60 --sort score", name="ls")
def list_(
    study: Annotated[str | None, option("Runs of this study.", tab=completion.studies_run)] = None,
    arm: Annotated[str | None, option("Runs of this arm.")] = None,
    min_score: Annotated[float | None, option("At least this score in percent.", min=0, max=100)] = None,
    newer: Annotated[str | None, option("Begun within this time: 90m, 12h, 2d, 1w.", metavar="AGE")] = None,
    metric: Annotated[str, option(f"{_METRIC}.")] = "mean",
    sort: Annotated[str, option("id, study, arm, label, seed, state, score, started.")] = "started",
    output: opt.Output = Path(),
    json: opt.Json = False,
) -> None:
    """List the runs: id, study, arm, seed, score, state, date."""
    from pgsbench.reporting import run_list

    least = None if min_score is None else min_score / 100
    found = run_list.runs(
        output, study=study, arm=arm, min_score=least, newer=newer, metric=metric, sort=sort
    )
    terminal.show_frame(found, run_list.runs_table(found, metric=metric), json=json)


@command(runs, "pgsbench runs best ratio --metric classification")
def best(
    study: opt.StudyRun,
    metric: Annotated[str | None, option(f"{_METRIC} (default: what the study searches).")] = None,
    output: opt.Output = Path(),
    json: opt.Json = False,
) -> None:
    """Show the run of a study with the highest score: in what the study searches for, or the mean."""
    from pgsbench.reporting.run_list import best_run, metric_of, runs_table

    metric = metric or metric_of(output, study)
    found = best_run(study, output=output, metric=metric)
    terminal.show_frame(found, runs_table(found, metric=metric), json=json)


@command(runs, "pgsbench runs show 3f9a")
def show(run: Run, output: opt.Output = Path(), json: opt.Json = False) -> None:
    """Show what a run is, where it was trained, what it cost and scored."""
    from pgsbench.reporting.one_run import load_run, run_tables

    terminal.show(*run_tables(load_run(run, output)), json=json)


@command(runs, "pgsbench runs diff 3f9a 07c2")
def diff(ours: Run, theirs: Run, output: opt.Output = Path(), json: opt.Json = False) -> None:
    """Show what differs between two runs: settings, data, code, numerics, scores."""
    from pgsbench.reporting.one_run import diff_tables, load_run

    terminal.show(*diff_tables(load_run(ours, output), load_run(theirs, output)), json=json)


@command(runs, "pgsbench runs rm 3f9a 07c2")
def rm(
    run: Annotated[list[str], argument("Ids or directories.", tab=completion.runs)],
    yes: Annotated[bool, option("Do not ask.", "--yes")] = False,
    output: opt.Output = Path(),
) -> None:
    """Delete runs: their directories, and what records of studies say of them. MLflow keeps its copies."""
    from pgsbench.reporting.one_run import load_run
    from pgsbench.tracking.run_files import remove

    found = [load_run(name, output) for name in dict.fromkeys(run)]
    for one in found:
        typer.echo(f"{one.spec.id}  {one.spec.study}/{one.spec.name}  {one.path}")
    if not yes:
        typer.confirm("delete what is listed?", abort=True)
    remove(output / "runs", [one.directory for one in found])
    typer.echo(f"deleted: {len(found)}")


@command(runs, "pgsbench runs export 3f9a models/pgs")
def export(run: Run, folder: Annotated[Path, argument("A new folder.")], output: opt.Output = Path()) -> None:
    """Copy a run's model to a folder that open_clip loads, with run.json: what it is, what it scored.

    3f9a@0.5, @epoch-2, @step-100 and @best are checkpoints that it has kept (training.keep).
    """
    from pgsbench.records.kept import parted
    from pgsbench.reporting.one_run import load_run
    from pgsbench.tracking import run_files

    name, kept = parted(run)
    typer.echo(run_files.export(load_run(name, output).directory, folder, kept))


@command(runs, "pgsbench runs import logs/pgs-s0 logs/random-s0 --study mine", name="import", slow=True)
def import_(
    folders: Annotated[list[str], argument(_FOREIGN, "[ARM=]FOLDER...")],
    study: Annotated[str, option("What the study of these arms is called.", metavar="NAME")],
    suite: opt.Suite = "scenes",
    device: opt.Device = "auto",
    output: opt.Output = Path(),
) -> None:
    """Evaluate trainings that open_clip_train did, and compare them as the arms of a study."""
    from pgsbench.session.importing import import_runs
    from pgsbench.session.past_studies import rewrite_reports

    with Bars() as bars:
        for run in import_runs(
            folders, study=study, suite=suite, device=device, output=output, progress=bars
        ):
            typer.echo(f"{run.spec.id}  {run.spec.study}/{run.spec.name}  {run.path}")
    for folder in rewrite_reports(study, output=output):
        typer.echo(f"{folder / 'report.html'}\n{folder / 'report.md'}")


@command(app, "pgsbench report reports/examples/ratio --check", slow=True)
def report(
    study: Annotated[str | None, argument(_REPORT, "[STUDY]", tab=completion.studies_run)] = None,
    baselines: Annotated[str | None, option("Arms to compare with, joined by commas.")] = None,
    candidate: opt.Candidate = None,
    check: Annotated[bool, option("Write nothing; exit 1 where a number is another.", "--check")] = False,
    output: opt.Output = Path(),
) -> None:
    """Write a study's report again from its runs or its evidence, or check that it follows from this."""
    from pgsbench.session.past_studies import check_report, rewrite_reports

    others = names_in(baselines)
    if check:
        found = check_report(study, output=output, candidate=candidate, baselines=others)
        typer.echo("\n".join(found) or f"{study}: every number follows from the evidence")
        raise typer.Exit(bool(found))
    for folder in rewrite_reports(study, output=output, candidate=candidate, baselines=others):
        typer.echo(f"{folder / 'report.html'}\n{folder / 'report.md'}")


@command(app, "pgsbench publish --to public", slow=True)
def publish(
    to: Annotated[Path, option("Where the site goes.", metavar="DIR")], output: opt.Output = Path()
) -> None:
    """Write a static site of all reports, an index first; for any host, without a server."""
    from pgsbench.session.past_studies import publish as write

    done = write(to, output=output)
    typer.echo(f"{done.index}: {counted(len(done.studies), 'report')}")
    for folder in done.left_out:
        typer.echo(f"left out: {folder} is of an older report; `pgsbench report` writes it again", err=True)


@command(app, "pgsbench validity photos:tiny-imagenet/val/acc1 baselines", slow=True)
def validity(
    reference: Annotated[str, argument(_REFERENCE, tab=completion.studies_run)],
    worlds: Annotated[list[str], argument("What is judged by it.", "WORLD...", tab=completion.studies_run)],
    arms: Annotated[str | None, option("Only these arms, joined by commas.")] = None,
    baseline: Annotated[str | None, option("Differences are to this arm (default: random masks).")] = None,
    candidate: Annotated[str | None, option("The arm in question (default: the reference's base).")] = None,
    figure: Annotated[Path | None, option("Draw it: .png, .pdf or .svg.", metavar="FILE")] = None,
    output: opt.Output = Path(),
    json: opt.Json = False,
) -> None:
    """Tell how well studies in other worlds order their arms as a reference does, and where they do not."""
    from pgsbench.reporting import style
    from pgsbench.session import past_studies

    if figure:
        style.check_figure(figure, "--figure")
    judge = partial(past_studies.validity, reference, worlds, arms=names_in(arms), output=output)
    found = judge(baseline=baseline, candidate=candidate)
    terminal.show(*found.tables, json=json)
    if not json:
        typer.echo(f"\n{found.verdict}")
    if figure:
        typer.echo(f"\nfigure: {style.save(found.figure(), figure)}", err=json)


@command(app, "MLFLOW_TRACKING_URI=http://mlflow:5000 pgsbench sync", slow=True)
def sync(study: StudyRunOrAll = None, output: opt.Output = Path()) -> None:
    """Feed MLflow from the run directories; can be repeated at any time."""
    from pgsbench.errors import RunError
    from pgsbench.session.past_studies import sync as feed

    for name, done in feed(study, output=output):
        typer.echo(f"{name}: {done.runs} runs, {done.fed} of them new or changed")
        if done.problem:
            raise RunError(f"MLflow is behind: {done.problem}", where=name)


@command(app, "pgsbench ui ratio")
def ui(
    study: Annotated[
        str | None, argument("Whose page (default: the latest).", "[STUDY]", tab=completion.studies_run)
    ] = None,
    port: Annotated[int, option("Port of the server.")] = 5000,
) -> None:
    """Open a study's page in MLflow, of what was tracked here or on MLFLOW_TRACKING_URI."""
    from pgsbench.tracking.mlflow_server import serve

    serve(study, port=port)
