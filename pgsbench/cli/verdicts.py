"""``pgsbench scale``, ``plan``, ``publish``: budgets, what differences take, and a site of all reports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pgsbench.cli.options import (
    JsonOption,
    OutputOption,
    SeedsOption,
    SetOption,
    StudyArgument,
    StudyOptions,
    names_in,
    takes_study_options,
)
from pgsbench.cli.studies import CandidateOption, open_with
from pgsbench.errors import ConfigError
from pgsbench.reporting import render


@takes_study_options
def scale(
    study: StudyArgument,
    budgets: Annotated[str, typer.Option(help="Multiples of the study's samples, joined by commas.")],
    hold_out: Annotated[
        float | None, typer.Option("--hold-out", help="A larger multiple, predicted before it is trained.")
    ] = None,
    unit: Annotated[Literal["flops", "samples", "hours"], typer.Option(help="What fits are over.")] = "flops",
    *,
    options: StudyOptions,
) -> None:
    """Train the arms at growing budgets, fit each, foretell a larger one and measure it.

    Example: pgsbench scale baselines --budgets 0.25,0.5,1,2 --hold-out 4
    """
    try:
        factors = [float(word) for word in names_in(budgets) or ()]
    except ValueError as error:
        raise ConfigError("budgets are numbers joined by commas", where="budgets", value=budgets) from error
    from pgsbench import scaling

    opened = open_with(study, options)
    if options.dry_run:
        plans = scaling.dry_run(opened, factors, hold_out=hold_out)
        return render.show(*plans, json=options.json)
    found = scaling.scale(opened, factors, hold_out=hold_out, unit=unit)
    render.show(*(table for table in (found.fits, found.held_out) if table), json=options.json)
    typer.echo(f"\nreport: {found.folder / 'scale.md'}", err=options.json)


def plan(
    study: StudyArgument,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:N: timed here; or devices of a table, as H100x8.")
    ] = "auto",
    diff: Annotated[
        str | None, typer.Option(metavar="STUDY|RUN", help="Show only what differs from a study or a run.")
    ] = None,
    power: Annotated[
        bool, typer.Option("--power", help="From the study's runs: what it takes to see a difference.")
    ] = False,
    baselines: Annotated[
        str | None, typer.Option(help="With --power: arms to compare with, joined by commas.")
    ] = None,
    candidate: CandidateOption = None,
    output: OutputOption = Path(),
    json: JsonOption = False,
) -> None:
    """Tell what a study costs: steps, tokens, operations, memory, hours. Nothing is trained, no data needed.

    Example: pgsbench plan paper --device H100x8
    """
    from pgsbench.study.open import open_by_name

    if power:
        from pgsbench.archive import read_results
        from pgsbench.reporting.decision.power import power_table

        name = open_by_name(study).config.name if study.endswith(".yaml") else study
        found = read_results(name, output=output, candidate=candidate, baselines=names_in(baselines))
        return render.show(power_table(found), json=json)
    file = open_by_name(study, overrides=set_ or [], seeds=seeds)
    from pgsbench import planning  # late: a mistake in the study is said sooner

    if diff:
        return render.show(planning.differences(file, diff, output=output), json=json)
    render.show(*planning.plan(file, device=device, output=output), json=json)


def publish(
    to: Annotated[Path, typer.Option(metavar="DIR", help="Where the site goes.")],
    output: OutputOption = Path(),
) -> None:
    """Write a static site of all reports, an index first; for any host, without a server.

    Example: pgsbench publish --to public
    """
    from pgsbench.archive import publish as write

    done = write(to, output=output)
    typer.echo(f"{done.index}: {render.counted(len(done.studies), 'report')}")
    for folder in done.left_out:
        typer.echo(f"left out: {folder} is of an older report; `pgsbench report` writes it again", err=True)
