"""``pgsbench train``."""

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
    StudyArgument,
)


def train(
    study: StudyArgument,
    arm: Annotated[list[str] | None, typer.Option(help="Only this arm; may be repeated.")] = None,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    output: OutputOption = Path(),
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    dry_run: DryRunOption = False,
) -> None:
    """Train and evaluate the arms of a study; what exists with the same configuration is reused.

    Example: pgsbench train studies/baselines.yaml --arm pgs --arm flip --seeds 1
    """
    from pgsbench.cli.planning import print_plan
    from pgsbench.cli.working import Work, show
    from pgsbench.reporting import tables

    work = Work.open(study, set_=set_, seeds=seeds, output=output, jobs=jobs, device=device)
    runs = work.plan(arm or work.study.config.arm_names)
    if dry_run:
        print_plan(work, runs)
        return
    work.train(runs)
    results = work.results()
    show(tables.scores_table(results), tables.cost_table(results))
    work.finish(results)
