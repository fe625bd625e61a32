"""``pgsbench evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgsbench.cli.options import DeviceOption


def evaluate(
    run_or_checkpoint: Annotated[
        Path, typer.Argument(help="A run directory, or a folder in open_clip's local-dir layout.")
    ],
    suite: Annotated[str, typer.Option(help="A suite that ships, or a suite's YAML file.")] = "scenes",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where scores go (default: CHECKPOINT/eval-SUITE).")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures or texts encoded at a time.")] = 256,
    device: DeviceOption = "auto",
) -> None:
    """Test a checkpoint on a suite; no trainer and no tracker is needed.

    Example: pgsbench evaluate runs/ratio/pgs-s0-0123456789 --suite scenes
    """
    from pgsbench.cli.progress import Progress
    from pgsbench.data import store
    from pgsbench.evaluation import suite as suites
    from pgsbench.evaluation.evaluate import evaluate as measure
    from pgsbench.models import checkpoint
    from pgsbench.models.clip import load
    from pgsbench.reporting import render
    from pgsbench.sweeps.worker import plan_slots

    tasks = suites.load_suite(suite)
    trained = run_or_checkpoint / "checkpoints" / "model"
    folder = trained if trained.is_dir() else run_or_checkpoint
    on = plan_slots(1, device=device).devices[0]
    clip = load(folder, device=on)
    target = out or run_or_checkpoint / f"eval-{tasks.name}"
    with Progress() as show:
        for name in sorted(suites.builtin_datasets(tasks)):
            store.ensure(name, progress=show)
        report = measure(
            clip.model,
            tokenizer=clip.tokenize,
            preprocess=clip.preprocess_cfg,
            suite=tasks,
            out=target,
            device=on,
            batch_size=batch_size,
            progress=lambda _, done, total: show("tasks", done, total),
            checkpoint_sha256=checkpoint.weights_hash(folder),
        )
    rows = []
    for score in report.scores:
        if score.primary:
            interval = f"{score.low:.1%} to {score.high:.1%}"
            numbers = [f"{score.value:.1%}", interval, str(score.n), f"{score.chance:.1%}"]
            rows.append([score.task, score.metric, *numbers, "; ".join(score.notes)])
    header = ["task", "metric", "score", "95 % interval", "n", "chance", "note"]
    typer.echo(render.text(render.Table(f"Suite {tasks.name}", header, rows, [], text_columns=(1, 6))))
    typer.echo(f"scores: {target / 'scores.json'}")
