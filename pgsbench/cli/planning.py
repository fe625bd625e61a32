"""``--dry-run``: what a command would do, and how long it would take on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pgsbench.config.load import Study
    from pgsbench.sweeps.plan import PlannedRun


def print_plan(
    study: Study, runs: Sequence[PlannedRun], *, output: Path, device: str, num_random: int = 0
) -> None:
    """Print runs, steps, samples, tokens and estimated minutes; nothing is trained.

    Args:
        study: The study.
        runs: Its runs.
        output: Folder of ``runs/``, where complete runs are looked for.
        device: As given on the command line.
        num_random: How many of the runs are stand-ins for points that a sampler will choose.
    """
    from pgsbench.evaluation.suite import load_suite
    from pgsbench.experiment import is_complete
    from pgsbench.sweeps.estimate import Estimator
    from pgsbench.sweeps.worker import plan_slots
    from pgsbench.tracking.rundir import find_runs

    slots = plan_slots(len(runs), device=device)
    estimator = Estimator(slots.devices[0])
    suite = load_suite(study.config.evaluation.suite)
    found = find_runs((output / "runs").resolve(), {run.run_id for run in runs})
    rows = [("run", "mask", "steps", "samples", "patch tokens", "minutes", "")]
    samples = tokens = num_missing = 0
    minutes = 0.0
    for run in runs:
        cost = estimator.cost(run.config)
        exists = is_complete(found.get(run.run_id), suite)
        rows.append(
            (
                run.place.name,
                f"{cost.mask_ratio:.2f}",
                f"{run.config.training.steps:,}",
                f"{cost.samples:,}",
                f"{cost.patch_tokens:,}",
                f"{cost.train_seconds / 60:.1f}",
                "exists, would be reused" if exists else "",
            )
        )
        if not exists:
            num_missing += 1
            samples, tokens = samples + cost.samples, tokens + cost.patch_tokens
            minutes += cost.train_seconds / 60 / len(slots.devices)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(w) for cell, w in zip(row[1:-1], widths[1:-1], strict=True)),
        ]
        typer.echo("  ".join([*cells, row[-1]]).rstrip())
    typer.echo(f"\nstudy {study.config.name}: {len(runs)} runs, {num_missing} to train")
    typer.echo(f"to train: {samples:,} samples, {tokens:,} patch tokens")
    typer.echo(
        f"estimated: {minutes:.0f} minutes of training, {len(slots.devices)} run(s) at a time on "
        f"{', '.join(dict.fromkeys(slots.devices))}; measured just now on a few steps, no evaluation"
    )
    if num_random:
        typer.echo(f"{num_random} of the runs stand for points that the sampler will choose")
