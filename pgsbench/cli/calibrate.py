"""``pgsbench calibrate``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pgsbench.cli.options import DeviceOption, OfflineOption, RootOption


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
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures or texts encoded at a time.")] = 256,
    device: DeviceOption = "auto",
    offline: OfflineOption = False,
) -> None:
    """Measure a public model on a public set and compare with clip_benchmark's published number.

    Exit status 0: it agrees; 1: it misses, or the score is marked and does not compare (a set of another
    size, for example). Where data lie, and how they are fetched: `pgsbench data fetch`.

    Example: pgsbench calibrate ViT-B-32:openai --data vtab/cifar100
    """
    from tempfile import TemporaryDirectory

    from pgsbench.cli.checkpoints import described, open_checkpoint
    from pgsbench.devices import devices_named
    from pgsbench.evaluation import calibration
    from pgsbench.evaluation.evaluate import evaluate
    from pgsbench.evaluation.suite import data_folder, locate
    from pgsbench.progress import Bars

    expected = calibration.published_score(model, data) if expect is None else expect
    suite = calibration.suite_of(data)
    find = partial(data_folder, root=root)
    locate(suite, find)  # said before any weights are fetched
    on = devices_named(device)[0]
    source, architecture = (str(checkpoint), model) if checkpoint else (model, None)
    if checkpoint and checkpoint.is_dir():
        architecture = None
    clip = open_checkpoint(source, model=architecture, device=on).clip
    with TemporaryDirectory() as out, Bars() as show:
        report = evaluate(
            clip,
            suite,
            data_folder=find,
            out=Path(out),
            device=on,
            batch_size=batch_size,
            progress=show,
        )
    score = next(iter(report.primary().values()))
    found = calibration.Calibration(expected, score.value, tolerance, tuple(score.notes))
    typer.echo(f"{model} on {data}, top-1 of {score.n:,} pictures: {found}")
    typer.echo(f"model: {described(clip)}")
    raise typer.Exit(0 if found.passes else 1)
