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
    from pgsbench.cli.working import Work, show
    from pgsbench.errors import StudyError
    from pgsbench.reporting import tables
    from pgsbench.study import plan

    work = Work.open(study, set_=set_, seeds=seeds, output=output, jobs=jobs, device=device)
    if work.study.config.search is None:
        raise StudyError(
            "the study has nothing to search",
            where=study,
            way_out="add `search:` with a `space:`, or use `pgsbench train` or `compare`",
        )
    plan.check_space(work.study)
    references = work.plan(plan.reference_arms(work.study))
    searched, num_random = plan.searched_runs(work.study, trials)
    if dry_run:
        print_plan(work, [*references, *searched], num_random=num_random)
        return
    importances = work.search(references, trials)
    results = work.results()
    show(tables.scores_table(results), tables.sweep_table(results, importances))
    work.finish(results, importances=importances)
