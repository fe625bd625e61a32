"""``pgsbench train``, ``compare``, ``sweep``, ``report``, ``sync``, ``validity``: what works on studies."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pgsbench import completion
from pgsbench.cli.options import (
    STUDY_HELP,
    JsonOption,
    OutputOption,
    StudyArgument,
    StudyOptions,
    names_in,
    takes_study_options,
)
from pgsbench.errors import ConfigError
from pgsbench.reporting import render

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
_SOURCE = "a study under runs/, or STUDY:METRIC (default metric: mean)"
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


@takes_study_options
def train(
    study: StudyArgument,
    arm: Annotated[
        list[str] | None, typer.Option(help="Only this arm; may be repeated.", autocompletion=completion.arms)
    ] = None,
    *,
    options: StudyOptions,
) -> None:
    """Train and evaluate the arms of a study; what exists with the same configuration is reused.

    Example: pgsbench train studies/baselines.yaml --arm pgs --arm flip --seeds 1
    """
    from pgsbench.reporting import tables

    if options.hands_over:
        return _hand_over(study, options, arms=arm or None)
    opened = open_with(study, options)
    if options.dry_run:
        return _show_plan(opened, opened.dry_run(arm or None), options)
    found = opened.train(arm or None).statistics
    _finish(opened, options, tables.scores_table(found), tables.cost_table(found))


@takes_study_options
def compare(
    baselines: BaselinesOption,
    candidate: CandidateOption = None,
    study: Annotated[str, typer.Option(help=STUDY_HELP, autocompletion=completion.studies)] = "baselines",
    until: Annotated[
        Literal["decided"] | None, typer.Option(help="decided: add seeds until every verdict is clear.")
    ] = None,
    margin: Annotated[
        float, typer.Option(help="With --until: differences below so many points do not matter.")
    ] = 1.0,
    max_seeds: Annotated[int, typer.Option("--max-seeds", min=2, help="With --until: no more seeds.")] = 8,
    hours: Annotated[
        float | None, typer.Option(min=0, help="With --until: begin no seed that would end later.")
    ] = None,
    *,
    options: StudyOptions,
) -> None:
    """Compare a mask with others that differ in nothing else: seeds, 95 % intervals, paired tests.

    Example: pgsbench compare --baselines flip,grid --until decided --margin 1.0
    """
    if until and options.seeds is not None:
        rule, way_out = "seeds are added until it is decided", "say --max-seeds instead"
        raise ConfigError(rule, where="seeds", value=options.seeds, way_out=way_out)
    from pgsbench.reporting import tables
    from pgsbench.reporting.decision.words import answer, certainty, verdict_table
    from pgsbench.reporting.fairness import fairness_sentence
    from pgsbench.reporting.verdict import caveats

    others = names_in(baselines) or []
    if options.hands_over and not until:
        return _hand_over(study, options, arms=[candidate, *others])
    opened = open_with(study, options)
    if options.dry_run:
        return _show_plan(opened, opened.dry_run_of_comparison(others, candidate), options)
    if until:
        from pgsbench.comparing import compare_until_decided

        found = compare_until_decided(
            opened,
            others,
            candidate=candidate,
            margin=margin,
            max_seeds=max_seeds,
            hours=hours,
            on_look=partial(typer.echo, err=True),
        ).statistics
    else:
        found = opened.compare(others, candidate=candidate).statistics
    shown = [verdict_table(found), tables.scores_table(found), tables.differences_table(found)]
    words = "\n".join([answer(found), certainty(found), fairness_sentence(found), *caveats(found)])
    _finish(opened, options, *shown, tables.gap_table(found), tables.cost_table(found), words=words)


@takes_study_options
def sweep(
    study: StudyArgument,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials in all, past ones included.")] = None,
    confirm: Annotated[
        int | None, typer.Option(min=1, help="Compare the winner with its rivals on so many fresh seeds.")
    ] = None,
    *,
    options: StudyOptions,
) -> None:
    """Search the study's space with Optuna; print the best points and what mattered, or where a mask pays.

    Example: pgsbench sweep studies/ratio.yaml --set training.samples=8192
    """
    from pgsbench.reporting import search_tables, tables
    from pgsbench.reporting.decision.words import answer, certainty
    from pgsbench.reporting.effects_tables import effects_missing, effects_tables

    if options.hands_over and confirm:
        rule, way_out = "the winner is known when the search is complete", "confirm it afterwards, without"
        raise ConfigError(rule, where="--confirm with --on or --detach", value=confirm, way_out=way_out)
    if options.hands_over:
        return _hand_over(study, options, trials=trials, search=True)
    opened = open_with(study, options)
    if options.dry_run:
        return _show_plan(opened, opened.dry_run_of_sweep(trials), options)
    swept = opened.sweep(trials)
    found = swept.statistics
    from pgsbench.reporting import where  # late: it draws, and a mistake in the study is said without

    searched = search_tables.sweep_table(found), search_tables.importance_table(found)
    shown = [tables.scores_table(found), where.where_table(found), *searched, *effects_tables(found)]
    words = "\n".join(
        [answer(found), certainty(found), effects_missing(found)] if found.pairs else []
    ).strip()
    if confirm and not opened.failed:
        from pgsbench.confirming import confirm as run_again
        from pgsbench.reporting.decision.words import verdict_table

        fresh = run_again(opened, swept, seeds=confirm).statistics
        words = "\n".join([words, f"With fresh seeds: {answer(fresh)}", certainty(fresh)]).strip()
        shown.append(replace(verdict_table(fresh), title="Verdict with fresh seeds"))
    _finish(opened, options, *shown, words=words)


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

    others = names_in(baselines)
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


def validity(
    reference: Annotated[
        str,
        typer.Argument(help=f"What is believed: {_SOURCE}.", autocompletion=completion.studies_run),
    ],
    worlds: Annotated[
        list[str],
        typer.Argument(
            metavar="WORLD...", help=f"What is judged: {_SOURCE}.", autocompletion=completion.studies_run
        ),
    ],
    arms: Annotated[str | None, typer.Option(help="Only these arms, joined by commas.")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Differences are to this arm (default: the random masks).")
    ] = None,
    candidate: Annotated[
        str | None, typer.Option(help="The arm in question (default: the reference's base).")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the differences: .png, .pdf or .svg.")
    ] = None,
    output: OutputOption = Path(),
    json: JsonOption = False,
) -> None:
    """Tell how well studies in other worlds order their arms as a reference does, and where they do not.

    Example: pgsbench validity photos:tiny-imagenet/val/acc1 baselines emoji --figure validity.png
    """
    from pgsbench.archive import validity as judge
    from pgsbench.reporting import style

    if figure:
        style.check_ending(figure, "--figure")
    found = judge(
        reference,
        worlds,
        arms=names_in(arms),
        baseline=baseline,
        candidate=candidate,
        output=output,
    )
    render.show(*found.tables, json=json)
    if not json:
        typer.echo(f"\n{found.verdict}")
    if figure:
        typer.echo(f"\nfigure: {style.save(found.figure(), figure)}", err=json)


def open_with(study: str, options: StudyOptions) -> Study:
    """Open a study as the options of a command say."""
    from pgsbench.study.open import open_by_name

    file = open_by_name(study, overrides=options.set_ or [], seeds=options.seeds)
    command = shlex.join(["pgsbench", *sys.argv[1:]])
    if options.hands_over:
        if options.detach:
            rule, way_out = "it goes on from results, so it has to stay", "`pgsbench worker` shares the work"
            raise ConfigError(rule, where="--detach", way_out=way_out)
        from pgsbench.workers import on_cluster

        return on_cluster(file, on=options.on, output=options.output, command=command)
    from pgsbench.session import work_on  # late: a mistake in the study is said sooner

    return work_on(
        file,
        output=options.output,
        jobs=options.jobs,
        threads=options.threads,
        device=options.device,
        any_numerics=options.any_numerics,
        command=command,
    )


def _hand_over(
    study: str,
    options: StudyOptions,
    *,
    arms: Sequence[str | None] | None = None,
    trials: int | None = None,
    search: bool = False,
) -> None:
    """Leave the runs to a cluster or to workers; without --detach, wait and report."""
    from pgsbench.study.open import open_by_name

    file = open_by_name(study, overrides=options.set_ or [], seeds=options.seeds).with_trials(trials)
    from pgsbench.workers import hand_over

    opened, left = hand_over(
        file,
        output=options.output,
        on=options.on,
        arms=arms,
        search=search,
        detach=options.detach,
        device=options.device,
        threads=options.threads,
        command=shlex.join(["pgsbench", *sys.argv[1:]]),
    )
    typer.echo(f"{opened.name}: {len(left.missing)} runs are missing, {len(left.jobs)} jobs submitted")
    if options.detach:
        return typer.echo(f"pgsbench study status {opened.name}\npgsbench worker {opened.name}")
    typer.echo(f"report: {opened.report(opened.results()).html}")
    opened.check_failed()


def _show_plan(study: Study, plan: pd.DataFrame, options: StudyOptions) -> None:
    if options.json:
        return typer.echo(plan.to_json(orient="records", indent=1))
    from pgsbench.reporting.plan_table import plan_table

    render.show(plan_table(study.name, plan))


def _finish(study: Study, options: StudyOptions, *tables: Table | None, words: str = "") -> None:
    """Print tables, where the report is, and what failed."""
    json = options.json
    render.show(*(table for table in tables if table is not None), json=json)
    if words and not json:
        typer.echo(f"\n{words}")
    typer.echo(f"\nruns: {study.num_trained} trained, {study.num_reused} reused", err=json)
    page = study.report_folder / "report"
    typer.echo(f"report: {page}.html\n        {page}.md\nMLflow: pgsbench ui", err=json)
    study.check_failed()
