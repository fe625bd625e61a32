"""Pictures to look at masks on: image files, or the first of a training data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pgsbench.config.schema import DataConfig
from pgsbench.data.damage import UnusableError
from pgsbench.data.pairs import Pairs
from pgsbench.data.shards import open_reader
from pgsbench.data.source_names import resolve
from pgsbench.data.transforms import Transform
from pgsbench.errors import DataError


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
