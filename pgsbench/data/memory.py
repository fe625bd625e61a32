"""Shards that fit into memory: decoded once, then batches by index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pgsbench.data.samples import Batch, caption_of, is_usable, objects_of, rank_slice
from pgsbench.data.store import Progress
from pgsbench.data.tar import image_of, read_tar
from pgsbench.data.transforms import Pixels, decode
from pgsbench.errors import DataError


@dataclass(frozen=True)
class InMemory:
    """All pairs as tensors: images (n, 3, h, w) uint8, texts (n, context) int32, objects (n, h, w) uint8."""

    images: Tensor
    texts: Tensor
    objects: Tensor | None

    @property
    def has_objects(self) -> bool:
        """Whether batches carry object maps."""
        return self.objects is not None

    def __len__(self) -> int:
        return len(self.images)

    def batches(
        self, *, seed: int, batch_size: int, start_step: int = 0, rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        """Yield batches without end; each epoch is a new permutation, its incomplete rest is left out.

        Raises:
            DataError: There are fewer pairs than one batch needs.
        """
        part = rank_slice(batch_size, rank, world_size)
        order = batch_indices(len(self), seed=seed, batch_size=batch_size, start_step=start_step)
        for step, whole in enumerate(order, start_step):
            index = whole[part]
            objects = self.objects[index] if self.objects is not None else None
            samples = step * batch_size + torch.arange(part.start, part.stop)
            yield Batch(self.images[index], self.texts[index].long(), objects, samples, index)


def batch_indices(num_pairs: int, *, seed: int, batch_size: int, start_step: int = 0) -> Iterator[Tensor]:
    """Yield without end which pairs (b,) are in each batch, beginning with step `start_step`.

    Each epoch is a new permutation of all pairs; its incomplete rest is left out.

    Raises:
        DataError: There are fewer pairs than one batch needs.
    """
    steps_per_epoch = num_pairs // batch_size
    if not steps_per_epoch:
        raise DataError(
            f"a batch needs more pairs than the {num_pairs} there are",
            where="training.batch_size",
            value=batch_size,
        )
    epoch, order = -1, torch.empty(0)
    for step in count(start_step):
        if step // steps_per_epoch != epoch:
            epoch = step // steps_per_epoch
            generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
            order = torch.randperm(num_pairs, generator=generator)
        first = step % steps_per_epoch * batch_size
        yield order[first : first + batch_size]


@dataclass(frozen=True)
class Decoded:
    """What shards hold: images (n, 3, h, w) uint8, captions, objects (n, h, w) uint8 where they are known."""

    images: Tensor
    captions: list[str]
    objects: Tensor | None


# The runs of a study share their data, and a worker process trains one after another: keep the last set.
_last_decoded: dict[tuple[tuple[Path, ...], tuple[int, int]], Decoded] = {}


def decoded(
    shards: tuple[Path, ...], size: tuple[int, int], has_objects: bool, progress: Progress | None
) -> Decoded:
    """Return what the shards hold, at model resolution; the last answer is kept."""
    key = (shards, size)
    if key in _last_decoded:
        return _last_decoded[key]
    images: list[Pixels] = []
    maps: list[Pixels] = []
    captions: list[str] = []
    for number, shard in enumerate(shards):
        for name, parts in read_tar(shard):
            if not is_usable(parts):
                continue
            where = f"{shard}:{name}"
            images.append(decode(image_of(parts, where).data, size, where=where))
            captions.append(caption_of(parts))
            if has_objects:
                maps.append(objects_of(parts, size, where))
        if progress:
            progress("reading shards", number + 1, len(shards))
    pictures = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    _last_decoded.clear()
    _last_decoded[key] = Decoded(
        pictures, captions, torch.from_numpy(np.stack(maps)) if has_objects else None
    )
    return _last_decoded[key]
