"""The tables of ``pgsbench masks findings``: what the published code does differently from its paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pgsbench.data.transforms import normalise
from pgsbench.errors import ConfigError
from pgsbench.inspection.edge_retention import compared, retention
from pgsbench.inspection.pictures import from_data, from_files
from pgsbench.inspection.released_bias import bias_effect
from pgsbench.inspection.released_code import measure
from pgsbench.masking.base import PatchView, view_of
from pgsbench.models.clip import build
from pgsbench.models.tower_layout import layout_of
from pgsbench.reporting.render import Format, Table

#: Mask ratios at which the kept edges are compared.
RATIOS = (0.3, 0.5)


def findings(
    images: Sequence[Path] = (),
    *,
    data: str = "scenes",
    count: int = 256,
    model: str | None = None,
    seed: int = 0,
) -> list[Table]:
    """Measure the published CLIP-PGS code beside its paper, on image files or on training data.

    Args:
        images: Image files, two or more; none: pictures of `data`.
        data: Training data.
        count: How many pictures of it.
        model: Whose patches; None: ViT-B-16, for data scenes-vit.
        seed: Decides what is random in a mask.

    Returns:
        The differences one by one, and the share of edge patches that masks keep.

    Raises:
        ConfigError: There is one picture only.
        DataError: A picture or the data cannot be read.
    """
    if len(images) == 1:
        raise ConfigError(
            "two or more pictures are needed: part of what is measured is how those of a batch interact",
            where="IMAGES",
            value=str(images[0]),
            way_out="name more image files, or none for pictures of --data",
        )
    clip = build(model or ("ViT-B-16" if images else "scenes-vit"), seed=seed)
    if images:
        pictures = from_files(images, clip.image_size)
    else:
        pictures = from_data(data, clip.image_size, count=count, seed=seed)
    view = view_of(normalise(pictures.images, clip.mean, clip.std), layout_of(clip.model).patch_size)
    found = [*measure(view, seed=seed), *bias_effect(clip.model, view, seed=seed)]
    differences = Table(
        f"{view.batch_size} pictures, {view.grid[0]} x {view.grid[1]} patches",
        ["part", "what", ("measured", Format())],
        [[one.part, one.what, one.value] for one in found],
        [],
    )
    return [differences, _edges_kept(view, seed)]


def _edges_kept(view: PatchView, seed: int) -> Table:
    kept = [retention(view, compared(ratio), seed=seed) for ratio in RATIOS]
    return Table(
        "Top-edge patches kept",
        [
            "mask",
            *(
                (f"{what}, {ratio:.0%} masked", Format("{:.2f}"))
                for ratio in RATIOS
                for what in ("kept", "IoU")
            ),
        ],
        [[name, *(float(value) for one in kept for value in one[name])] for name in kept[0]],
        [
            "Top-edge: the tenth of a picture's patches with the strongest Sobel edges. IoU: of two seeds.",
            "True edge map, candidates lowest: one slip of the published code is repaired; both: both are.",
        ],
    )
