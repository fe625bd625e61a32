"""``pgsbench evaluate`` and ``calibrate``: the commands that test a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pgsbench.cli.options import (
    BatchSizeOption,
    DeviceOption,
    JsonOption,
    OfflineOption,
    RootOption,
    SuiteOption,
)
from pgsbench.progress import Bars
from pgsbench.reporting import render

if TYPE_CHECKING:
    from pgsbench.checkpoints import Evaluation


def evaluate(
    checkpoints: Annotated[
        list[str],
        typer.Argument(
            metavar="CHECKPOINT...",
            help="Run directories, folders in open_clip's local-dir layout, files of weights (with --model), "
            "NAME:PRETRAINED_TAG, hf-hub:OWNER/NAME, or MLflow URIs (runs:/..., models:/...).",
        ),
    ],
    suite: SuiteOption = "scenes",
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Architecture of a file of weights: its name, its JSON file, or NAME:TAG of published ones.",
        ),
    ] = None,
    root: RootOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where scores go (default: CHECKPOINT/eval-SUITE, or evaluations/)."
        ),
    ] = None,
    batch_size: BatchSizeOption = 256,
    device: DeviceOption = "auto",
    precision: Annotated[
        str, typer.Option(help="Precision of encoding: fp32, as published numbers have, bf16 or fp16.")
    ] = "fp32",
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Measure only the first N items of each task: a look."),
    ] = None,
    mlflow: Annotated[
        str | None,
        typer.Option(
            metavar="RUN_ID", help="MLflow run that gets the scores, too; mirror: the run directory's."
        ),
    ] = None,
    cache: Annotated[
        bool, typer.Option(help="Keep embeddings under the data folder, and use those that are there.")
    ] = True,
    part: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Measure only the K-th of N parts; the call without it joins them."),
    ] = None,
    with_mask: Annotated[
        bool, typer.Option("--with-mask", help="Measure a run once more under the mask it was trained with.")
    ] = False,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
) -> None:
    """Test any open_clip models on a suite; what was measured before is not measured again.

    Several models stand side by side in one table; another has their differences to the first, by item.

    Example: pgsbench evaluate runs/ratio/pgs-s0-0123456789 --suite scenes
    """
    from pgsbench.checkpoints import evaluate_checkpoints, log_scores, mlflow_run
    from pgsbench.reporting.score_tables import evaluation_tables

    mirrors = [mlflow_run(checkpoint, mlflow) for checkpoint in checkpoints] if mlflow else []
    with Bars() as show:
        found = evaluate_checkpoints(
            checkpoints,
            suite,
            model=model,
            root=root,
            output=output,
            batch_size=batch_size,
            device=device,
            precision=precision,
            cache=cache,
            part=part,
            with_mask=with_mask,
            limit=limit,
            progress=show,
        )
    render.show(*evaluation_tables(found), json=as_json)
    for one in found:
        if one.note:
            typer.echo(f"note: {one.name}: {one.note}", err=True)
        if not as_json:
            _say(one, with_name=len(found) > 1)
    for one, run_id in zip(found, mirrors, strict=bool(mirrors)):
        log_scores(one, run_id)


def calibrate(
    model: Annotated[
        str, typer.Argument(metavar="NAME:TAG", help="A published open_clip model.")
    ] = "ViT-B-32:openai",
    data: Annotated[
        str, typer.Option(help="A data set by clip_benchmark's name, or a folder in its layout.")
    ] = "vtab/cifar100",
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Its weights, where there is no network to fetch them."),
    ] = None,
    expect: Annotated[
        float | None, typer.Option(min=0, max=1, help="Expected accuracy (default: the published one).")
    ] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="Largest difference that passes.")] = 0.005,
    root: RootOption = None,
    batch_size: BatchSizeOption = 256,
    device: DeviceOption = "auto",
    offline: OfflineOption = False,
) -> None:
    """Measure a public model on a public set and compare with clip_benchmark's published number.

    Exit status 0: it agrees; 1: it misses, or the score is marked and does not compare (a set of another
    size, for example). Where data lie, and how they are fetched: `pgsbench data fetch`.

    Example: pgsbench calibrate ViT-B-32:openai --data vtab/cifar100
    """
    from pgsbench.evaluation import calibration

    with Bars() as show:
        found = calibration.calibrate(
            model,
            data,
            weights=checkpoint,
            expected=expect,
            tolerance=tolerance,
            root=root,
            batch_size=batch_size,
            device=device,
            progress=show,
        )
    if found.note:
        typer.echo(f"note: {found.note}", err=True)
    typer.echo(f"{model} on {data}, top-1 of {found.num_pictures:,} pictures: {found}")
    typer.echo(f"model: {found.model}")
    raise typer.Exit(0 if found.passes else 1)


def _say(one: Evaluation, *, with_name: bool) -> None:
    reused = len(one.scores.reused)
    measured = len(one.scores.primary()) - reused
    typer.echo(f"model: {one.model}" if not with_name else f"\n{one.name}: {one.model}")
    typer.echo(f"tasks: {measured} measured, {reused} reused")
    for folder in (one.folder, *([one.masked_folder] if one.masked else [])):
        typer.echo(f"scores: {folder / 'scores.json'}\n        {folder / 'scores.csv'}")
