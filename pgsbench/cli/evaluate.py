"""``pgsbench evaluate``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

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
    from pgsbench.masking.base import Strategy

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
    with_mask: Annotated[
        bool, typer.Option("--with-mask", help="Of a run: once more under the mask it was trained with.")
    ] = False,
) -> None:
    """Test any open_clip model on a suite; what was measured before is not measured again.

    Example: pgsbench evaluate runs/ratio/pgs-s0-0123456789 --suite scenes
    """
    from pgsbench.cli.progress import Progress
    from pgsbench.data import store
    from pgsbench.evaluation import suite as suites
    from pgsbench.evaluation.evaluate import evaluate as measure
    from pgsbench.models.masked_tower import attach
    from pgsbench.sweeps.worker import plan_slots

    tasks = suites.load_suite(suite)
    on = plan_slots(1, device=device).devices[0]
    opened = open_checkpoint(checkpoint, model=model, device=on)
    mask = _mask_of(checkpoint) if with_mask else None
    target = out or scores_folder(checkpoint, tasks.name)
    with Progress() as show:
        for name in sorted(suites.builtin_datasets(tasks)):
            store.ensure(name, progress=show)
        measure_on = partial(
            measure,
            opened.clip.model,
            tokenizer=opened.clip.tokenize,
            preprocess=opened.clip.preprocess_cfg,
            suite=tasks,
            device=on,
            batch_size=batch_size,
            progress=lambda _, done, total: show("tasks", done, total),
            checkpoint_sha256=opened.sha256,
            cache=store.root() / "embeddings" if cache else None,
        )
        report = measure_on(out=target, architecture=opened.clip.model_cfg)
        masked = None
        if mask:
            # The mask is a part of the model here, so scores and embeddings are kept apart from the others.
            architecture = {**opened.clip.model_cfg, "mask": mask.description, "mask_seed": mask.seed}
            masking = attach(opened.clip.model, mask.strategy)
            with masking.at_eval(seed=mask.seed):
                masked = measure_on(out=target.with_name(f"{target.name}-masked"), architecture=architecture)
    if mlflow:
        _log(mlflow, checkpoint, report, target)
    typer.echo(scores_table(report))
    typer.echo(f"tasks: {len(tasks.tasks) - len(report.reused)} measured, {len(report.reused)} reused")
    typer.echo(f"scores: {target / 'scores.json'}\n        {target / 'scores.csv'}")
    if masked:
        typer.echo(f"\n{_gap_table(report, masked)}")
        typer.echo(f"scores: {target.with_name(f'{target.name}-masked') / 'scores.json'}")


class _Mask(NamedTuple):
    strategy: Strategy
    seed: int
    description: dict[str, Any]


def _mask_of(checkpoint: str) -> _Mask:
    """Return the mask that a run was trained with."""
    from pgsbench.errors import RunError
    from pgsbench.masking.configure import configure
    from pgsbench.tracking.rundir import RunDir

    if not Path(checkpoint, "config.json").is_file():
        raise RunError(
            "only a run directory knows the mask it was trained with", where="--with-mask",
            value=checkpoint, way_out="name a directory under runs/",
        )  # fmt: skip
    config = RunDir.open(Path(checkpoint)).config["config"]
    fields = {key: value for key, value in config["strategy"].items() if key != "name"}
    return _Mask(configure(config["strategy"]["name"], fields), config["seed"], config["strategy"])


def _gap_table(whole: Report, masked: Report) -> str:
    """Return the group means on whole and on masked pictures, and what the mask costs at evaluation."""
    from pgsbench.reporting import render

    rows = [
        [group, f"{mean.value:.1%}", f"{masked.groups[group].value:.1%}",
         f"{100 * (masked.groups[group].value - mean.value):+.1f}"]
        for group, mean in whole.groups.items()
    ]  # fmt: skip
    notes = ["Gap: masked minus whole, in points. Training saw masked pictures, except in its last phase."]
    header = ["group", "whole pictures", "under the training mask", "gap"]
    return render.text(render.Table("Under the mask of the training", header, rows, notes))


def _log(run_id: str, checkpoint: str, report: Report, out: Path) -> None:
    from pgsbench.tracking import artifacts
    from pgsbench.tracking.rundir import RunDir

    if run_id == MIRROR:
        run_id = artifacts.mirrored_run(RunDir.open(Path(checkpoint)))
    values = {task: score.value for task, score in report.primary().items()}
    values |= {f"group/{group}": mean.value for group, mean in report.groups.items()}
    artifacts.log_scores(run_id, report.suite, values, out)
