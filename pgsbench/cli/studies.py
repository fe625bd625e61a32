"""``pgsbench train``, ``compare``, ``sweep``, ``report``, ``sync``: the commands that work on a study."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pgsbench import completion
from pgsbench.cli.options import (
    STUDY_HELP,
    AnyNumericsOption,
    DeviceOption,
    DryRunOption,
    JobsOption,
    JsonOption,
    OutputOption,
    SeedsOption,
    SetOption,
    StudyArgument,
    ThreadsOption,
    names_in,
)

if TYPE_CHECKING:
    import pandas as pd

    from pgsbench.reporting.render import Table
    from pgsbench.session import Study

StudyName = Annotated[
    str | None,
    typer.Argument(
        metavar="[STUDY]",
        help="Name of a study under runs/ (default: all).",
        autocompletion=completion.studies_run,
    ),
]
BaselinesOption = Annotated[
    str,
    typer.Option(
        help="Arms or strategies to compare with, joined by commas.", autocompletion=completion.arms
    ),
]
CandidateOption = Annotated[
    str | None,
    typer.Option(help="The arm in question (default: the study's).", autocompletion=completion.arms),
]


def train(
    study: StudyArgument,
    arm: Annotated[
        list[str] | None, typer.Option(help="Only this arm; may be repeated.", autocompletion=completion.arms)
    ] = None,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    output: OutputOption = Path(),
    jobs: JobsOption = None,
    threads: ThreadsOption = None,
    device: DeviceOption = "auto",
    any_numerics: AnyNumericsOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Train and evaluate the arms of a study; what exists with the same configuration is reused.

    Example: pgsbench train studies/baselines.yaml --arm pgs --arm flip --seeds 1
    """
    from pgsbench.reporting import tables

    opened = _open(study, set_, seeds, output, jobs, threads, device, any_numerics)
    if dry_run:
        return _show_plan(opened, opened.dry_run(arm or None), json=json)
    found = opened.train(arm or None).statistics
    _finish(opened, tables.scores_table(found), tables.cost_table(found), json=json)


def compare(
    baselines: BaselinesOption,
    candidate: CandidateOption = None,
    study: Annotated[str, typer.Option(help=STUDY_HELP, autocompletion=completion.studies)] = "baselines",
    set_: SetOption = None,
    seeds: SeedsOption = None,
    output: OutputOption = Path(),
    jobs: JobsOption = None,
    threads: ThreadsOption = None,
    device: DeviceOption = "auto",
    any_numerics: AnyNumericsOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Compare a mask with others that differ in nothing else: seeds, 95 % intervals, paired tests.

    Example: pgsbench compare --baselines flip,grid --seeds 3
    """
    from pgsbench.reporting import tables

    opened = _open(study, set_, seeds, output, jobs, threads, device, any_numerics)
    others = names_in(baselines)
    if dry_run:
        return _show_plan(opened, opened.dry_run_of_comparison(others, candidate), json=json)
    results = opened.compare(others, candidate=candidate)
    found = results.statistics
    shown = [tables.scores_table(found), tables.differences_table(found)]
    words = results.verdict
    _finish(opened, *shown, tables.gap_table(found), tables.cost_table(found), words=words, json=json)


def sweep(
    study: StudyArgument,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials in all, past ones included.")] = None,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    output: OutputOption = Path(),
    jobs: JobsOption = None,
    threads: ThreadsOption = None,
    device: DeviceOption = "auto",
    any_numerics: AnyNumericsOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Search the study's space with Optuna; print the best points and what mattered, or where a mask pays.

    Example: pgsbench sweep studies/ratio.yaml --set training.samples=8192
    """
    from pgsbench.reporting import search_tables, tables
    from pgsbench.reporting.effects_tables import effects_missing, effects_tables

    opened = _open(study, set_, seeds, output, jobs, threads, device, any_numerics)
    if dry_run:
        return _show_plan(opened, opened.dry_run_of_sweep(trials), json=json)
    found = opened.sweep(trials).statistics
    from pgsbench.reporting import where  # late: it draws, and a mistake in the study is said without

    searched = search_tables.sweep_table(found), search_tables.importance_table(found)
    shown = [tables.scores_table(found), where.where_table(found), *searched, *effects_tables(found)]
    _finish(opened, *shown, words=effects_missing(found), json=json)


def report(
    study: StudyName = None,
    baselines: Annotated[str | None, typer.Option(help="Arms to compare with, joined by commas.")] = None,
    candidate: CandidateOption = None,
    output: OutputOption = Path(),
) -> None:
    """Write the Markdown and HTML report of a study again, from its run directories.

    Example: pgsbench report ratio
    """
    from pgsbench.archive import rewrite_reports

    others = names_in(baselines) if baselines else None
    for paths in rewrite_reports(study, output=output, candidate=candidate, baselines=others):
        typer.echo(f"{paths.html}\n{paths.markdown}")


def sync(study: StudyName = None, output: OutputOption = Path()) -> None:
    """Feed MLflow from the run directories; can be repeated at any time.

    Example: MLFLOW_TRACKING_URI=http://mlflow:5000 pgsbench sync
    """
    from pgsbench.archive import sync as feed
    from pgsbench.errors import RunError

    for name, done in feed(study, output=output):
        typer.echo(f"{name}: {done.runs} runs; sent {done.points} values, {done.files} files")
        if done.problem:
            raise RunError(f"MLflow is behind: {done.problem}", where=name)


def _open(
    study: str,
    set_: list[str] | None,
    seeds: int | None,
    output: Path,
    jobs: int | None,
    threads: int | None,
    device: str,
    any_numerics: bool,
) -> Study:
    from pgsbench.study.open import open_by_name

    file = open_by_name(study, overrides=set_ or [], seeds=seeds)
    from pgsbench.session import work_on  # late: a mistake in the study is said sooner

    return work_on(
        file,
        output=output,
        jobs=jobs,
        threads=threads,
        device=device,
        any_numerics=any_numerics,
        command=shlex.join(["pgsbench", *sys.argv[1:]]),
    )


def _show_plan(study: Study, plan: pd.DataFrame, *, json: bool) -> None:
    from pgsbench.reporting import plan_table, render

    if json:
        return typer.echo(plan.to_json(orient="records", indent=1))
    render.show(plan_table.plan_table(study.name, plan))


def _finish(study: Study, *tables: Table | None, words: str = "", json: bool) -> None:
    """Print tables, where the report is, and what failed."""
    from pgsbench.reporting import render

    render.show(*(table for table in tables if table is not None), json=json)
    if words and not json:
        typer.echo(f"\n{words}")
    typer.echo(f"\nruns: {study.num_trained} trained, {study.num_reused} reused", err=json)
    page = study.report_folder / "report"
    typer.echo(f"report: {page}.html\n        {page}.md\nMLflow: pgsbench ui", err=json)
    study.check_failed()
