"""``pgsbench evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pgsbench.cli.checkpoints import (
    CheckpointArgument,
    ModelOption,
    open_checkpoint,
    scores_folder,
    scores_table,
)
from pgsbench.cli.options import DeviceOption

if TYPE_CHECKING:
    from pgsbench.evaluation.report import Report

#: Stands for the run that mirrors the run directory in question.
MIRROR = "mirror"


def evaluate(
    checkpoint: CheckpointArgument,
    suite: Annotated[str, typer.Option(help="A suite that ships, or a suite's YAML file.")] = "scenes",
    model: ModelOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where scores go (default: CHECKPOINT/eval-SUITE, or evaluations/)."
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures or texts encoded at a time.")] = 256,
    device: DeviceOption = "auto",
    mlflow: Annotated[
        str | None,
        typer.Option(
            metavar="RUN_ID", help="MLflow run that gets the scores, too; mirror: the run directory's."
        ),
    ] = None,
    cache: Annotated[
        bool, typer.Option(help="Keep embeddings under the data folder, and use those that are there.")
    ] = True,
) -> None:
    """Test any open_clip model on a suite; what was measured before is not measured again.

    Example: pgsbench evaluate runs/ratio/pgs-s0-0123456789 --suite scenes
    """
    from pgsbench.cli.progress import Progress
    from pgsbench.data import store
    from pgsbench.evaluation import suite as suites
    from pgsbench.evaluation.evaluate import evaluate as measure
    from pgsbench.sweeps.worker import plan_slots

    tasks = suites.load_suite(suite)
    on = plan_slots(1, device=device).devices[0]
    opened = open_checkpoint(checkpoint, model=model, device=on)
    target = out or scores_folder(checkpoint, tasks.name)
    with Progress() as show:
        for name in sorted(suites.builtin_datasets(tasks)):
            store.ensure(name, progress=show)
        report = measure(
            opened.clip.model,
            tokenizer=opened.clip.tokenize,
            preprocess=opened.clip.preprocess_cfg,
            suite=tasks,
            out=target,
            device=on,
            batch_size=batch_size,
            progress=lambda _, done, total: show("tasks", done, total),
            checkpoint_sha256=opened.sha256,
            architecture=opened.clip.model_cfg,
            cache=store.root() / "embeddings" if cache else None,
        )
    if mlflow:
        _log(mlflow, checkpoint, report, target)
    typer.echo(scores_table(report))
    typer.echo(f"tasks: {len(tasks.tasks) - len(report.reused)} measured, {len(report.reused)} reused")
    typer.echo(f"scores: {target / 'scores.json'}\n        {target / 'scores.csv'}")


def _log(run_id: str, checkpoint: str, report: Report, out: Path) -> None:
    from pgsbench.tracking import artifacts
    from pgsbench.tracking.rundir import RunDir

    if run_id == MIRROR:
        run_id = artifacts.mirrored_run(RunDir.open(Path(checkpoint)))
    values = {task: score.value for task, score in report.primary().items()}
    values |= {f"group/{group}": mean.value for group, mean in report.groups.items()}
    artifacts.log_scores(run_id, report.suite, values, out)
