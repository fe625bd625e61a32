"""What the published CLIP-PGS code does differently from its paper; docs/findings.md tells it.

``python -m research.findings photos/*.jpg``; without pictures 256 scenes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from benchmarks.script import show, start
from pgsbench.data.transforms import normalise
from pgsbench.errors import ConfigError
from pgsbench.inspection.preview import from_data, from_files
from pgsbench.masking.base import view_of
from pgsbench.models.clip import build
from pgsbench.models.tower_layout import layout_of
from research.edge_retention import compared, retention
from research.released_bias import bias_effect
from research.released_code import measure

#: Mask ratios at which the kept edges are compared.
RATIOS = (0.3, 0.5)


def findings(
    images: Sequence[Path], *, data: str, count: int, model: str | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure the published CLIP-PGS code beside its paper, on image files or on training data.

    Args:
        images: Image files, two or more; none: pictures of `data`.
        data: Training data.
        count: How many pictures of it.
        model: Whose patches; None: ViT-B-16, for data scenes-vit.

    Returns:
        The differences one by one, and the share of edge patches that masks keep.

    Raises:
        ConfigError: There is one picture only.
        DataError: A picture or the data cannot be read.
    """
    if len(images) == 1:
        raise ConfigError("two or more pictures are needed: those of a batch interact", where="IMAGES")
    clip = build(model or ("ViT-B-16" if images else "scenes-vit"), seed=0)
    size = clip.image_size
    pictures = from_files(images, size) if images else from_data(data, size, count=count, seed=0)
    view = view_of(normalise(pictures.images, clip.mean, clip.std), layout_of(clip.model).patch_size)
    differences = pd.DataFrame([*measure(view), *bias_effect(clip.model, view)])
    kept = [retention(view, compared(ratio)) for ratio in RATIOS]
    edges = pd.DataFrame(
        {
            "mask": name,
            **{
                f"{what}, {ratio:.0%} masked": round(value, 2)
                for ratio, found in zip(RATIOS, kept, strict=True)
                for what, value in zip(("kept", "IoU"), found[name], strict=True)
            },
        }
        for name in kept[0]
    )
    return differences, edges


def main(
    images: Annotated[list[Path] | None, typer.Argument(help="Image files; two or more.")] = None,
    data: Annotated[str, typer.Option(help="Without images: pictures of this training data.")] = "scenes",
    count: Annotated[int, typer.Option(help="How many of the data.", min=2)] = 256,
    model: Annotated[str | None, typer.Option(help="Whose patches (ViT-B-16; for data scenes-vit).")] = None,
) -> None:
    """Measure what the published CLIP-PGS code does differently from its paper."""
    differences, edges = findings(images or [], data=data, count=count, model=model)
    show("The published code", differences)
    show(
        "Top-edge patches kept",
        edges,
        "Top-edge: the tenth of a picture's patches with the strongest Sobel edges. IoU: of two seeds.",
        "True edge map, candidates lowest: one slip of the published code is repaired; both: both are.",
    )


if __name__ == "__main__":
    start(main)
