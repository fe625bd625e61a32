"""``pgsbench bench``, ``doctor`` and ``ui``: what things cost on this machine, and what is in order on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgsbench.cli.options import (
    BatchSizeOption,
    DeviceOption,
    JsonOption,
    OutputOption,
    SuiteOption,
    group,
    names_in,
)
from pgsbench.progress import Bars
from pgsbench.reporting import render

bench = group("Measure speed on this machine.")


@bench.command()
def masks(
    model: Annotated[str, typer.Option(help="Whose image tower and patches.")] = "ViT-B-16",
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures in the batch.")] = 16,
    device: DeviceOption = "cpu",
    strategies: Annotated[
        str | None, typer.Option(help="Strategies, joined by commas (default: all built-in ones).")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the table here, too: .md or .csv.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Time every mask, and the stages of pgs and pgs-released, beside the unmasked image tower on one batch.

    Example: pgsbench bench masks --model ViT-B-16 --batch-size 16
    """
    from pgsbench.inspection.mask_costs import bench_masks

    render.check_ending(output, "--output")
    with Bars() as bars:
        table = bench_masks(
            model,
            strategies=names_in(strategies),
            batch_size=batch_size,
            device=device,
            threads=threads,
            progress=bars,
        )
    render.show(table, json=json)
    if output is not None:
        render.write(table, output)


@bench.command()
def train(
    model: Annotated[str, typer.Option(help="Which model is trained.")] = "scenes-vit",
    strategies: Annotated[str, typer.Option(help="Strategies, joined by commas.")] = "none,flip,pgs",
    batch_size: BatchSizeOption = 32,
    steps: Annotated[int, typer.Option(min=1, help="Counted steps of each.")] = 12,
    device: DeviceOption = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    json: JsonOption = False,
) -> None:
    """Time a training step by phase for each strategy, beside open_clip_train's own loop.

    Example: pgsbench bench train --strategies none,flip,pgs
    """
    from pgsbench.inspection.training_cost import bench_training

    with Bars() as bars:
        table = bench_training(
            model,
            strategies=names_in(strategies) or [],
            batch_size=batch_size,
            steps=steps,
            device=device,
            threads=threads,
            progress=bars,
        )
    render.show(table, json=json)


@bench.command(name="eval")
def eval_(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A run directory, a local-dir folder, or NAME:TAG.")
    ],
    suite: SuiteOption = "scenes",
    shape: Annotated[
        str | None,
        typer.Option(
            metavar="CxTxP",
            help="Instead of a suite: C classes, T templates, P made-up photos; CHECKPOINT then names an "
            "architecture. ImageNet is 1000x80x50000.",
        ),
    ] = None,
    batch_size: BatchSizeOption = 64,
    workers: Annotated[
        int, typer.Option(min=0, help="Reading processes of clip_benchmark, at most one a shard.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Evaluate with clip_benchmark's command line and with ours: equal scores, and both times.

    Theirs is one process a task, as its users run it; ours is one `pgsbench evaluate` without cached
    embeddings. A difference larger than ties can make is an error.

    Example: pgsbench bench eval runs/ratio/pgs-s0-0123456789 --suite scenes
    """
    from pgsbench.errors import EvaluationError
    from pgsbench.evaluation.side_by_side import compare_both
    from pgsbench.reporting.side_by_side_tables import cost_table, score_table

    with Bars() as show:
        found = compare_both(
            checkpoint, suite, shape=shape, batch_size=batch_size, workers=workers, progress=show
        )
    render.show(score_table(found), cost_table(found), json=as_json)
    if different := found.different:
        raise EvaluationError(f"{len(different)} scores differ by more than ties", value=different)


@bench.command()
def data(
    train: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help="Shards; default: some are made, of noise.")
    ] = None,
    size: Annotated[int, typer.Option(min=16, max=1024, help="Height and width in pixels.")] = 224,
    batch_size: BatchSizeOption = 64,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each loader is timed.")] = 5,
    json: JsonOption = False,
) -> None:
    """Time the reading of pairs beside open_clip_train's own loader, on one core.

    Example: pgsbench bench data '/data/cc12m/{00000..00003}.tar'
    """
    from pgsbench.inspection.data_costs import bench_data

    with Bars() as bars:
        table = bench_data(train, image_size=size, batch_size=batch_size, rounds=rounds, progress=bars)
    render.show(table, json=json)


def doctor(output: OutputOption = Path(), json: JsonOption = False) -> None:
    """Look for what will go wrong on this machine, and say what to do; exits with 1 where something will.

    Example: pgsbench doctor
    """
    from pgsbench.doctor import checks, checks_table
    from pgsbench.doctor.check import PROBLEM

    found = list(checks(output))
    render.show(checks_table(found), json=json)
    raise typer.Exit(any(one.state == PROBLEM for one in found))


def ui(
    port: Annotated[int, typer.Option(help="Port of the server.")] = 5000,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
) -> None:
    """Open MLflow's web pages on what was tracked here, or on MLFLOW_TRACKING_URI.

    Example: pgsbench ui --port 5000
    """
    from pgsbench.tracking.mlflow_server import serve

    serve(host=host, port=port)
