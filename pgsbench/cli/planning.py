"""``--dry-run``: what a command would do, and how long it would take on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pgsbench.cli.working import Work
    from pgsbench.study.plan import PlannedRun


def print_plan(work: Work, runs: Sequence[PlannedRun], *, num_random: int = 0) -> None:
    """Print runs, steps, samples, tokens and estimated minutes; nothing is trained.

    Args:
        work: The study, and where complete runs are looked for.
        runs: Its runs.
        num_random: How many of the runs are stand-ins for points that a sampler will choose.
    """
    from pgsbench.evaluation.identity import current_fingerprint
    from pgsbench.evaluation.suite import load_suite
    from pgsbench.execution.estimate import Estimator
    from pgsbench.execution.worker import plan_slots
    from pgsbench.experiment import is_complete
    from pgsbench.reporting import render
    from pgsbench.tracking.rundir import find_runs

    slots = plan_slots(len(runs), jobs=work.jobs, device=work.device)
    estimator = Estimator(slots.devices[0])
    tested_on = current_fingerprint(load_suite(work.study.config.evaluation.suite))
    found = find_runs(work.runs_root, {run.run_id for run in runs})
    rows = []
    samples = tokens = num_missing = 0
    minutes = 0.0
    for run in runs:
        cost = estimator.cost(run.config)
        exists = is_complete(found.get(run.run_id), tested_on)
        rows.append(
            [
                run.place.name,
                f"{cost.dropped:.2f}",
                f"{run.config.training.steps:,}",
                f"{cost.samples:,}",
                f"{cost.patch_tokens:,}",
                f"{cost.train_seconds / 60:.1f}",
                "exists, would be reused" if exists else "to train",
            ]
        )
        if not exists:
            num_missing += 1
            samples, tokens = samples + cost.samples, tokens + cost.patch_tokens
            minutes += cost.train_seconds / 60 / len(slots.devices)
    header = ["run", "dropped", "steps", "samples", "patch tokens", "minutes", "state"]
    notes = [
        f"{len(runs)} runs, {num_missing} to train: {samples:,} samples, {tokens:,} patch tokens.",
        f"Estimated: {minutes:.0f} minutes of training, {len(slots.devices)} run(s) at a time on "
        f"{', '.join(dict.fromkeys(slots.devices))}; measured just now on a few steps, no evaluation.",
    ]
    if num_random:
        notes.append(f"{num_random} of the runs stand for points that the sampler will choose.")
    typer.echo(
        render.text(render.Table(f"Study {work.study.config.name}", header, rows, notes, text_columns=(6,)))
    )
