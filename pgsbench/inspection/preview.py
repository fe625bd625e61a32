"""The mask gallery for anybody's pictures: what each strategy keeps of them, before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from pgsbench.config.data import DataConfig
from pgsbench.data.damage import UnusableError
from pgsbench.data.pairs import Pairs
from pgsbench.data.shards import open_reader, resolve
from pgsbench.data.transforms import Transform
from pgsbench.errors import ConfigError, DataError
from pgsbench.inspection.inspected import (
    arms_of_study,
    draw,
    draw_stages,
    first_view,
    is_study,
    named_strategies,
    usable,
)
from pgsbench.masking.base import Strategy
from pgsbench.masking.coverage import appearance
from pgsbench.masking.edges import edge_map
from pgsbench.masking.pgs import Pgs
from pgsbench.masking.pgs_mixed import PgsMixed
from pgsbench.masking.token_counts import token_count
from pgsbench.models.clip import Clip, build
from pgsbench.reporting.gallery import ShownSelection, mask_gallery

#: What is shown where nobody says which.
DEFAULT_STRATEGIES = ("pgs", "random", "grid")


def preview_masks(
    images_or_study: Sequence[str | Path] = (),
    *,
    data: str | None = None,
    strategies: Sequence[str] | None = None,
    mask_ratio: float | None = None,
    count: int = 4,
    model: str | None = None,
    seed: int = 0,
) -> tuple[Figure, list[str]]:
    """Draw what masks keep of image files, or of the pictures of a study or of training data.

    Args:
        images_or_study: Image files, or one study.
        data: Training data to take pictures of, in their place.
        strategies: Names; None: a study's arms, else `DEFAULT_STRATEGIES`, but for those
            that cannot be shown.
        mask_ratio: Share of the patches that is masked; None: each mask's own.
        count: Pictures of a study or of data.
        model: Whose patches; None: the study's, scenes-vit for data, ViT-B-16 for image files.
        seed: Decides the pictures of data, and what is random in a mask.

    Returns:
        A gallery with one row for each picture and one column for each strategy, and a sentence on each
        strategy that was left out.

    Raises:
        UserError: There is nothing to show, or it cannot be read, or a name or a ratio is wrong.
    """
    if bool(images_or_study) == bool(data):
        raise ConfigError(
            "name either image files, a study or --data", way_out="pgsbench masks preview --data scenes"
        )
    source, patches_of = data, "scenes-vit" if data else "ViT-B-16"
    if len(images_or_study) == 1 and is_study(str(images_or_study[0])):
        study = arms_of_study(str(images_or_study[0]), strategies, mask_ratio=mask_ratio)
        chosen, source, patches_of = study.strategies, study.data.source, study.model
    else:
        chosen = named_strategies(strategies or DEFAULT_STRATEGIES, mask_ratio=mask_ratio)
    clip = build(model or patches_of, seed=0)
    if source:
        pictures = from_data(source, clip.image_size, count=count, seed=seed)
    else:
        pictures = from_files([Path(image) for image in images_or_study], clip.image_size)
    chosen, notes = usable(chosen, has_objects=pictures.objects is not None)
    if strategies and notes:
        raise DataError("a preview cannot show this", where="--strategies", value=" ".join(notes))
    return preview(pictures, chosen, clip, seed=seed), notes


def preview(pictures: Pictures, strategies: Mapping[str, Strategy], clip: Clip, *, seed: int) -> Figure:
    """Draw what each strategy keeps of each picture as training begins, beside the edge map.

    The edge map is that of pgs, and the candidates of pgs are outlined; without pgs it is Sobel's.

    Args:
        pictures: At the model's size.
        strategies: Name -> strategy that needs no training to be seen.
        clip: The model whose patches are meant; its weights do not matter.
        seed: Decides what is random in a mask.
    """
    view = first_view(clip, pictures.images, pictures.objects)
    assert view.images is not None
    selections: dict[str, ShownSelection] = {}
    maps = {}
    images = pictures.images.float()
    for name, strategy in strategies.items():
        chosen = draw(strategy, view, seed=seed, step=0)
        candidates = None
        if isinstance(strategy, Pgs):
            stages = draw_stages(strategy, view, seed=seed, step=0)
            maps[_edge_title(strategy)] = stages.edge.numpy()
            candidates = stages.candidates.numpy()
        changed = appearance(strategy, chosen, view, images)
        if changed is not None:
            tokens = token_count(strategy, view.grid, num_blocks=1).mean
            as_bytes = changed.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
            shown = chosen.shown(view.num_patches).numpy()
            selections[name] = ShownSelection(shown, seen=as_bytes, tokens=tokens)
            continue
        first = chosen.view(0)
        kept, hidden = (np.zeros((view.batch_size, view.num_patches), dtype=bool) for _ in range(2))
        np.put_along_axis(kept, first.keep.numpy(), True, axis=1)
        if first.visible is not None:
            np.put_along_axis(hidden, first.keep.numpy(), ~first.visible.numpy(), axis=1)
        selections[name] = ShownSelection(kept & ~hidden, hidden, candidates)
    if not maps:
        maps["edges"] = edge_map(view.images, view.patch_size, operator="sobel").numpy()
    return mask_gallery(
        pictures.images.permute(0, 2, 3, 1).numpy(),
        selections,
        grid=view.grid,
        captions=pictures.captions,
        maps=maps,
    )


def _edge_title(strategy: Pgs) -> str:
    operator = "" if strategy.edge == "sobel" else f" ({strategy.edge})"
    radius = strategy.edge_spread if isinstance(strategy, PgsMixed) else 0
    spread = f"\nspread {radius}" if radius else ""
    return f"edges{operator}{spread}"


@dataclass(frozen=True)
class Pictures:
    """Pictures to look at.

    Attributes:
        images: (b, 3, h, w) uint8.
        captions: One text for each.
        objects: (b, h, w) object maps, or None where unknown.
    """

    images: Tensor
    captions: list[str]
    objects: Tensor | None = None


def from_files(paths: Sequence[Path], size: tuple[int, int]) -> Pictures:
    """Read image files at the size of a model.

    Raises:
        DataError: A file is missing or no image.
    """
    images = []
    for path in paths:
        if not path.is_file():
            raise DataError("there is no such picture", where=str(path))
        try:
            pixels, _ = Transform(size)(path.read_bytes(), None, 0)
        except UnusableError as error:
            way_out = "name a PNG, JPEG or WebP picture"
            raise DataError(error.reason, where=str(path), way_out=way_out) from None
        images.append(torch.from_numpy(pixels.copy()))
    return Pictures(torch.stack(images).permute(0, 3, 1, 2), [path.name for path in paths])


def from_data(train: str, size: tuple[int, int], *, count: int, seed: int) -> Pictures:
    """Draw pictures of the first shard of training data: a built-in data set, or shards.

    Raises:
        DataError: There is no such data.
    """
    pairs = Pairs.of([resolve(train)[:1]])
    captions: list[str] = []

    def remember(texts: list[str]) -> Tensor:
        captions.extend(texts)
        return torch.zeros(len(texts), 1)

    data = DataConfig(train=train, augment=None)
    reader = open_reader(pairs, data, image_size=size, tokenize=remember, few=True)
    batch = next(reader.batches(seed=seed, batch_size=min(count, len(pairs))))
    return Pictures(batch.images, captions, batch.objects)
