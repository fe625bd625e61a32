"""``pgsbench sweep``."""

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


def sweep(
    study: StudyArgument,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials in all, past ones included.")] = None,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    output: OutputOption = Path(),
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    dry_run: DryRunOption = False,
) -> None:
    """Search the study's space with Optuna; print the best trials and what mattered.

    Example: pgsbench sweep studies/ratio.yaml --set training.samples=8192
    """
    from pgsbench.cli.planning import print_plan
    from pgsbench.cli.working import Work
    from pgsbench.errors import StudyError
    from pgsbench.experiment import open_study
    from pgsbench.reporting import render, tables
    from pgsbench.reporting.frames import read_frames
    from pgsbench.reporting.results import Results
    from pgsbench.sweeps import plan
    from pgsbench.sweeps.search import search

    opened = open_study(find_study(study), overrides=[*(set_ or []), *seed_overrides(seeds)])
    if opened.config.search is None:
        raise StudyError(
            "the study has nothing to search", where=study,
            way_out="add `search:` with a `space:`, or use `pgsbench train` or `compare`",
        )  # fmt: skip
    plan.check_space(opened)
    references = plan.planned_runs(opened, plan.reference_arms(opened))
    searched, num_random = plan.searched_runs(opened, trials)
    if dry_run:
        print_plan(opened, [*references, *searched], num_random=num_random, output=output, device=device)
        return
    work = Work(opened, output)
    with work.watching() as watcher:
        found = search(work.folder, references, watcher=watcher, trials=trials, jobs=jobs, device=device)
    results = Results(read_frames(work.folder.path))
    for table in (tables.scores_table(results), tables.sweep_table(results, found.importances)):
        if table is not None:
            typer.echo(render.text(table))
    work.finish(found.failed, results, importances=found.importances)
