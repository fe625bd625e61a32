"""``pgsbench compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgsbench.cli.options import (
    DeviceOption,
    DryRunOption,
    JobsOption,
    OutputOption,
    SeedsOption,
    SetOption,
    names_in,
)

DEFAULT_STUDY = "baselines"


def compare(
    baselines: Annotated[str, typer.Option(help="Arms or strategies to compare with, joined by commas.")],
    candidate: Annotated[str | None, typer.Option(help="The arm in question (default: the study's).")] = None,
    study: Annotated[str, typer.Option(help="A study file, or the name of one that ships.")] = DEFAULT_STUDY,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    output: OutputOption = Path(),
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    dry_run: DryRunOption = False,
) -> None:
    """Compare a mask with others that differ in nothing else: seeds, 95 % intervals, paired tests.

    Example: pgsbench compare --baselines flip,grid --seeds 3
    """
    from pgsbench.cli.planning import print_plan
    from pgsbench.cli.working import Work, show
    from pgsbench.config.schema import arm_name
    from pgsbench.reporting import tables
    from pgsbench.reporting.verdict import fairness, verdict

    work = Work.open(study, set_=set_, seeds=seeds, output=output, jobs=jobs, device=device)
    chosen, others = candidate or work.study.config.base_arm, names_in(baselines)
    runs = work.plan([chosen, *others])
    if dry_run:
        print_plan(work, runs)
        return
    work.train(runs)
    results = work.results(candidate=arm_name(chosen), baselines=[arm_name(name) for name in others])
    show(
        tables.scores_table(results),
        tables.differences_table(results),
        tables.gap_table(results),
        tables.cost_table(results),
    )
    typer.echo("\n".join([fairness(results), *verdict(results)]))
    work.finish(results)
