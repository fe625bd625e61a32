"""``pgsbench masks findings``: what the published code does differently from its paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def findings(
    images: Annotated[list[Path] | None, typer.Argument(help="Image files; two or more.")] = None,
    data: Annotated[str, typer.Option(help="Without images: pictures of this training data.")] = "scenes",
    count: Annotated[int, typer.Option(min=2, help="How many of the data.")] = 256,
    model: Annotated[
        str | None, typer.Option(help="Whose patches (default: ViT-B-16; for data scenes-vit).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides what is random in a mask.")] = 0,
) -> None:
    """Measure what the published CLIP-PGS code does differently from its paper.

    Example: pgsbench masks findings photos/*.jpg
    """
    from pgsbench.data.transforms import normalise
    from pgsbench.errors import ConfigError
    from pgsbench.inspection import findings as measured
    from pgsbench.inspection import preview as previews
    from pgsbench.inspection.bias_effect import bias_effect
    from pgsbench.inspection.retention import compared, retention
    from pgsbench.masking.base import view_of
    from pgsbench.models.clip import build
    from pgsbench.models.tower_layout import layout_of
    from pgsbench.reporting import render

    if images and len(images) < 2:
        raise ConfigError(
            "two or more pictures are needed: part of what is measured is how those of a batch interact",
            where="IMAGES",
            value=str(images[0]),
            way_out="name more image files, or none for pictures of --data",
        )
    clip = build(model or ("ViT-B-16" if images else "scenes-vit"), seed=seed)
    if images:
        pictures = previews.from_files(images, clip.image_size)
    else:
        pictures = previews.from_data(data, clip.image_size, count=count, seed=seed)
    view = view_of(normalise(pictures.images, clip.mean, clip.std), layout_of(clip.model).patch_size)
    found = [*measured.findings(view, seed=seed), *bias_effect(clip.model, view, seed=seed)]
    table = render.Table(
        f"{view.batch_size} pictures, {view.grid[0]} x {view.grid[1]} patches",
        ["part", "what", "measured"],
        [[one.part, one.what, one.value] for one in found],
        [],
        text_columns=(1,),
    )
    ratios = (0.3, 0.5)
    kept = [retention(view, compared(ratio), seed=seed) for ratio in ratios]
    edges = render.Table(
        "Top-edge patches kept",
        ["mask", *(f"{what}, {ratio:.0%} masked" for ratio in ratios for what in ("kept", "IoU"))],
        [[name, *(f"{value:.2f}" for one in kept for value in one[name])] for name in kept[0]],
        [
            "Top-edge: a picture's tenth of patches with the strongest Sobel edges. IoU: of two seeds.",
            "True edge map, candidates lowest: one slip of the published code is repaired; both: both are.",
        ],
    )
    typer.echo("\n\n".join(render.text(one) for one in (table, edges)))
