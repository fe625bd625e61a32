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
    find_study,
    seed_overrides,
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
    from pgsbench.cli.working import Work
    from pgsbench.experiment import open_study
    from pgsbench.reporting import render, tables
    from pgsbench.reporting.frames import read_frames
    from pgsbench.reporting.results import Results
    from pgsbench.sweeps import plan
    from pgsbench.sweeps.study import work_off

    opened = open_study(find_study(study), overrides=[*(set_ or []), *seed_overrides(seeds)])
    arms = arm or opened.config.arm_names
    opened = plan.with_arms(opened, arms)
    runs = plan.planned_runs(opened, arms)
    if dry_run:
        print_plan(opened, runs, output=output, device=device)
        return
    work = Work(opened, output)
    with work.watching() as watcher:
        failed = work_off(work.folder, runs, watcher=watcher, jobs=jobs, device=device)
    results = Results(read_frames(work.folder.path))
    typer.echo(render.text(tables.scores_table(results)))
    typer.echo(render.text(tables.cost_table(results)))
    work.finish(failed, results)
