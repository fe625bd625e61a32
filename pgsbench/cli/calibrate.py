"""``pgsbench calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgsbench.cli.options import BatchSizeOption, DeviceOption, OfflineOption, RootOption


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
    from pgsbench.progress import Bars

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
