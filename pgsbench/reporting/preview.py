"""The mask gallery for anybody's pictures: what each strategy keeps of them, before any training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pgsbench.data.shards import InMemory, open_reader, resolve
from pgsbench.data.transforms import decode, normalise
from pgsbench.errors import DataError
from pgsbench.masking.base import Strategy
from pgsbench.masking.edges import edge_map
from pgsbench.models.clip import Clip, build
from pgsbench.models.masked_tower import attach
from pgsbench.reporting.gallery import ShownSelection, mask_gallery


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
        images.append(torch.from_numpy(decode(path.read_bytes(), size, where=str(path)).copy()))
    return Pictures(torch.stack(images).permute(0, 3, 1, 2), [path.name for path in paths])


def from_data(train: str, size: tuple[int, int], *, count: int, seed: int) -> Pictures:
    """Draw pictures of training data: a built-in data set, or shards."""
    captions: list[str] = []

    def remember(texts: list[str]) -> Tensor:
        captions.extend(texts)
        return torch.arange(len(captions) - len(texts), len(captions))[:, None]

    shard = resolve(train)[:1]
    reader = open_reader(shard, image_size=size, tokenize=remember, memory_limit_gib=1e9, workers=1)
    assert isinstance(reader, InMemory)
    batch = next(reader.batches(seed=seed, batch_size=min(count, len(reader))))
    return Pictures(batch.images, [captions[int(index)] for index in batch.texts[:, 0]], batch.objects)


def preview(
    pictures: Pictures, strategies: Mapping[str, Strategy], model: str, *, seed: int, progress: float = 0.0
) -> Figure:
    """Draw what each strategy keeps of each picture, beside the edge map.

    Args:
        pictures: At the model's size.
        strategies: Name -> strategy.
        model: The CLIP model whose patches are meant.
        seed: Decides what is random in a mask.
        progress: Share of the training at which the masks are drawn; the model is untrained.
    """
    clip = build(model, seed=seed)
    images = normalise(pictures.images, clip.mean, clip.std)
    selections, grid, patch = {}, (1, 1), (1, 1)
    for name, strategy in strategies.items():
        selections[name], grid = _select(clip, images, pictures.objects, strategy, seed, progress)
        patch = (images.shape[2] // grid[0], images.shape[3] // grid[1])
    edges = edge_map(images, patch, operator="sobel", spread=0).numpy()
    return mask_gallery(
        pictures.images.permute(0, 2, 3, 1).numpy(),
        selections,
        grid=grid,
        captions=pictures.captions,
        maps={"edges": edges},
    )


def image_size_of(model: str) -> tuple[int, int]:
    """Return (height, width) of the pictures a model takes."""
    return build(model, seed=0).image_size


def _select(
    clip: Clip, images: Tensor, objects: Tensor | None, strategy: Strategy, seed: int, progress: float
) -> tuple[ShownSelection, tuple[int, int]]:
    masking = attach(clip.model, strategy)
    model: Any = clip.model.train()
    masking.begin_step(seed=seed, step=0, progress=progress, objects=objects)
    with torch.no_grad():
        model.encode_image(images)
    chosen = masking.last
    n = masking.grid[0] * masking.grid[1]
    if chosen is None:
        keep = torch.arange(n).expand(len(images), n)
        return ShownSelection(keep.numpy()), masking.grid
    visible = None if chosen.visible is None else chosen.visible.numpy()
    return ShownSelection(chosen.keep.numpy(), visible), masking.grid
