"""``pgsbench evaluate``, ``calibrate``, ``bench``, ``doctor``: models and this machine, measured."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pgsbench.cli import options as opt
from pgsbench.cli.commands import argument, command, group, names_in, option
from pgsbench.progress import Bars
from pgsbench.reporting import terminal

app = group()
bench = group("Measure speed on this machine.", name="bench")

_CHECKPOINT = (
    "Run directories, folders in open_clip's local-dir layout, files of weights (with --model), "
    "NAME:PRETRAINED_TAG, hf-hub:OWNER/NAME, or MLflow URIs (runs:/..., models:/...)."
)
_EVALUATED = "A run directory, a local-dir folder, or NAME:TAG."
_MODEL = "Architecture of a file of weights: its name, its JSON file, or NAME:TAG of published ones."
_TO = "Where scores go (default: CHECKPOINT/eval-SUITE, or evaluations/)."
_MLFLOW = "MLflow run that gets the scores, too; mirror: the run directory's."
_PART = "Measure only the K-th of N parts; the call without it joins them."
_SHAPE = (
    "Instead of a suite: C classes, T templates, P made-up photos; CHECKPOINT then names an architecture. "
    "ImageNet is 1000x80x50000."
)


@command(app, "pgsbench evaluate runs/ratio/pgs-s0-0123456789 --suite scenes", slow=True)
def evaluate(
    checkpoints: Annotated[list[str], argument(_CHECKPOINT, "CHECKPOINT...")],
    suite: opt.Suite = "scenes",
    model: Annotated[str | None, option(_MODEL, metavar="NAME")] = None,
    root: opt.Root = None,
    to: Annotated[Path | None, option(_TO, metavar="DIR")] = None,
    batch_size: opt.BatchSize = 256,
    device: opt.Device = "auto",
    precision: Annotated[str, option("Of encoding: fp32, as published numbers have, bf16 or fp16.")] = "fp32",
    limit: Annotated[int | None, option("Only so many first items of each task.", min=1, max=10**12)] = None,
    mlflow: Annotated[str | None, option(_MLFLOW, metavar="RUN_ID")] = None,
    cache: Annotated[bool, option("Keep embeddings in the data folder, and use those there.")] = True,
    part: Annotated[str | None, option(_PART, metavar="K/N")] = None,
    with_mask: Annotated[bool, option("Once more under the mask of its training.", "--with-mask")] = False,
    offline: opt.Offline = False,
    json: opt.Json = False,
) -> None:
    """Test any open_clip models on a suite; what was measured before is not measured again.

    Several models stand side by side in one table; another has their differences to the first, by item.
    """
    from pgsbench.checkpoints import evaluate_checkpoints, log_scores, mlflow_run
    from pgsbench.reporting.checkpoints.score_tables import evaluation_lines, evaluation_tables

    mirrors = [mlflow_run(checkpoint, mlflow) for checkpoint in checkpoints] if mlflow else []
    test = partial(evaluate_checkpoints, checkpoints, suite, model=model, root=root, to=to)
    test = partial(test, batch_size=batch_size, device=device, precision=precision, cache=cache)
    with Bars() as bars:
        found = test(limit=limit, part=part, with_mask=with_mask, progress=bars)
    terminal.show(*evaluation_tables(found), json=json)
    for one in found:
        if one.note:
            typer.echo(f"note: {one.name}: {one.note}", err=True)
    for line in [] if json else evaluation_lines(found):
        typer.echo(line)
    for one, run_id in zip(found, mirrors, strict=bool(mirrors)):
        log_scores(one, run_id)


@command(app, "pgsbench calibrate ViT-B-32:openai --data vtab/cifar100", slow=True)
def calibrate(
    model: Annotated[str, argument("A published open_clip model.", "NAME:TAG")] = "ViT-B-32:openai",
    data: Annotated[str, option("A set as clip_benchmark names it, or a folder.")] = "vtab/cifar100",
    checkpoint: Annotated[Path | None, option("Its weights, if there is no network.", metavar="FILE")] = None,
    expect: Annotated[float | None, option("Accuracy (default: the published one).", min=0, max=1)] = None,
    tolerance: Annotated[float, option("Largest difference that passes.", min=0)] = 0.005,
    root: opt.Root = None,
    batch_size: opt.BatchSize = 256,
    device: opt.Device = "auto",
    offline: opt.Offline = False,
) -> None:
    """Measure a public model on a public set and compare with clip_benchmark's published number.

    Exit status 0: it agrees; 1: it misses, or the score is marked and does not compare (a set of another
    size, for example). Where data lie, and how they are fetched: `pgsbench data fetch`.
    """
    from pgsbench.evaluation import calibration

    test = partial(calibration.calibrate, model, data, root=root, batch_size=batch_size, device=device)
    with Bars() as bars:
        found = test(weights=checkpoint, expected=expect, tolerance=tolerance, progress=bars)
    if found.note:
        typer.echo(f"note: {found.note}", err=True)
    typer.echo(f"{model} on {data}, top-1 of {found.num_pictures:,} pictures: {found}\nmodel: {found.model}")
    raise typer.Exit(0 if found.passes else 1)


@command(bench, "pgsbench bench masks --model ViT-B-16 --batch-size 16", slow=True)
def masks(
    model: Annotated[str, option("Whose image tower and patches.")] = "ViT-B-16",
    batch_size: Annotated[int, option("Pictures in the batch.", min=1, max=2**20)] = 16,
    device: opt.Device = "cpu",
    strategies: Annotated[str | None, option("Joined by commas (default: all).")] = None,
    threads: opt.Threads = 1,
    json: opt.Json = False,
) -> None:
    """Time every mask, and the stages of pgs and pgs-released, beside the unmasked image tower."""
    from pgsbench.inspection.mask_costs import bench_masks

    bench = partial(bench_masks, model, strategies=names_in(strategies), batch_size=batch_size)
    with Bars() as bars:
        table = bench(device=device, threads=threads, progress=bars)
    terminal.show(table, json=json)


@command(bench, "pgsbench bench train --strategies none,flip,pgs", slow=True)
def train(
    model: Annotated[str, option("Which model is trained.")] = "scenes-vit",
    strategies: Annotated[str, option("Joined by commas.")] = "none,flip,pgs",
    batch_size: opt.BatchSize = 32,
    steps: Annotated[int, option("Counted steps of each.", min=1, max=1_000_000)] = 12,
    device: opt.Device = "cpu",
    threads: opt.Threads = 1,
    json: opt.Json = False,
) -> None:
    """Time a training step by phase for each strategy, beside open_clip_train's own loop."""
    from pgsbench.inspection.training_cost import bench_training

    bench = partial(bench_training, model, strategies=names_in(strategies) or [], batch_size=batch_size)
    with Bars() as bars:
        table = bench(steps=steps, device=device, threads=threads, progress=bars)
    terminal.show(table, json=json)


@command(bench, "pgsbench bench eval runs/ratio/pgs-s0-0123456789 --suite scenes", name="eval", slow=True)
def eval_(
    checkpoint: Annotated[str, argument(_EVALUATED, "CHECKPOINT")],
    suite: opt.Suite = "scenes",
    shape: Annotated[str | None, option(_SHAPE, metavar="CxTxP")] = None,
    batch_size: opt.BatchSize = 64,
    workers: Annotated[int, option("Reading processes of clip_benchmark.", min=0, max=1024)] = 0,
    json: opt.Json = False,
) -> None:
    """Evaluate with clip_benchmark's command line and with ours: equal scores, and both times.

    Theirs is one process a task, as its users run it; ours is one `pgsbench evaluate` without cached
    embeddings. A difference larger than ties can make is an error.
    """
    from pgsbench.errors import EvaluationError
    from pgsbench.evaluation.side_by_side import compare_both
    from pgsbench.reporting.checkpoints.side_by_side_tables import cost_table, score_table

    compare = partial(compare_both, checkpoint, suite, shape=shape)
    with Bars() as bars:
        found = compare(batch_size=batch_size, workers=workers, progress=bars)
    terminal.show(score_table(found), cost_table(found), json=json)
    if different := found.different:
        raise EvaluationError(f"{len(different)} scores differ by more than ties", value=different)


@command(bench, "pgsbench bench data '/data/cc12m/{00000..00003}.tar'", slow=True)
def data(
    train: Annotated[str | None, argument("Shards; default: some are made, of noise.", "[DATA]")] = None,
    size: Annotated[int, option("Height and width in pixels.", min=16, max=1024)] = 224,
    batch_size: opt.BatchSize = 64,
    rounds: Annotated[int, option("Times that each loader is timed.", min=1, max=1000)] = 5,
    json: opt.Json = False,
) -> None:
    """Time the reading of pairs beside open_clip_train's own loader, on one core."""
    from pgsbench.inspection.data_costs import bench_data

    with Bars() as bars:
        table = bench_data(train, image_size=size, batch_size=batch_size, rounds=rounds, progress=bars)
    terminal.show(table, json=json)


@command(app, "pgsbench doctor")
def doctor(output: opt.Output = Path(), json: opt.Json = False) -> None:
    """Look for what will go wrong on this machine, and say what to do; exits with 1 where something will."""
    from pgsbench.doctor import checks, checks_table
    from pgsbench.doctor.machine import PROBLEM

    found = list(checks(output))
    terminal.show(checks_table(found), json=json)
    raise typer.Exit(any(one.state == PROBLEM for one in found))
