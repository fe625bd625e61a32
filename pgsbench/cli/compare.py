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
    find_study,
    names_in,
    seed_overrides,
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
    from pgsbench.cli.working import Work
    from pgsbench.experiment import open_study
    from pgsbench.reporting import render, tables
    from pgsbench.reporting.frames import read_frames
    from pgsbench.reporting.results import Results
    from pgsbench.reporting.verdict import fairness, verdict
    from pgsbench.sweeps import plan
    from pgsbench.sweeps.study import work_off

    opened = open_study(find_study(study), overrides=[*(set_ or []), *seed_overrides(seeds)])
    chosen = candidate or opened.config.base_arm
    others = names_in(baselines)
    opened = plan.with_arms(opened, [chosen, *others])
    runs = plan.planned_runs(opened, list(dict.fromkeys([chosen, *others])))
    if dry_run:
        print_plan(opened, runs, output=output, device=device)
        return
    work = Work(opened, output)
    with work.watching() as watcher:
        failed = work_off(work.folder, runs, watcher=watcher, jobs=jobs, device=device)
    results = Results(read_frames(work.folder.path), candidate=chosen, baselines=others)
    for table in (
        tables.scores_table(results), tables.differences_table(results),
        tables.gap_table(results), tables.cost_table(results),
    ):  # fmt: skip
        if table is not None:
            typer.echo(render.text(table))
    typer.echo("\n".join([fairness(results), *verdict(results)]))
    work.finish(failed, results)
