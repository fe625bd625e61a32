"""The first batches of a training, to look at before it begins; the rest of the data is not decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pgsbench.data.memory import batch_indices
from pgsbench.data.samples import Batch, Tokenize, caption_of, is_usable, objects_of, rank_slice
from pgsbench.data.store import Progress
from pgsbench.data.tar import image_of, read_tar
from pgsbench.data.transforms import decode


class FirstBatches:
    """The batches that `InMemory` begins with on the same shards, without decoding the rest.

    Args:
        shards: The archives, in order.
        image_size: (height, width) in pixels.
        tokenize: Texts to token ids.
        has_objects: Whether the samples have object maps.
        num_batches: How many there are.
        progress: Told of every shard.
    """

    def __init__(
        self,
        shards: Sequence[Path],
        *,
        image_size: tuple[int, int],
        tokenize: Tokenize,
        has_objects: bool,
        num_batches: int,
        progress: Progress | None = None,
    ) -> None:
        self._shards, self._image_size, self._tokenize = shards, image_size, tokenize
        self._has_objects, self._num_batches, self._progress = has_objects, num_batches, progress
        self._last: tuple[tuple[int, int, int], list[Batch]] | None = None

    @property
    def has_objects(self) -> bool:
        """Whether batches carry object maps."""
        return self._has_objects

    def batches(
        self, *, seed: int, batch_size: int, start_step: int = 0, rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        """Yield the batches, the first of step `start_step`.

        Raises:
            DataError: There are fewer pairs than one batch needs, or a picture is damaged.
        """
        key = (seed, batch_size, start_step)
        if self._last is None or self._last[0] != key:
            self._last = (key, self._decode(*key))
        part = rank_slice(batch_size, rank, world_size)
        for batch in self._last[1]:
            objects = batch.objects[part] if batch.objects is not None else None
            yield Batch(batch.images[part], batch.texts[part], objects, batch.samples[part], batch.ids[part])

    def _decode(self, seed: int, batch_size: int, start_step: int) -> list[Batch]:
        counts = [self._count(shard) for shard in self._shards]
        order = batch_indices(sum(counts), seed=seed, batch_size=batch_size, start_step=start_step)
        indices = list(islice(order, self._num_batches))
        wanted = {int(index) for batch in indices for index in batch}
        found: dict[int, tuple[Tensor, str, Tensor | None]] = {}
        first = 0
        for number, (shard, count) in enumerate(zip(self._shards, counts, strict=True)):
            here = {index - first for index in wanted if first <= index < first + count}
            found |= {first + place: sample for place, sample in self._samples(shard, here)}
            first += count
            if self._progress:
                self._progress("reading shards", number + 1, len(self._shards))
        return [
            self._batch([found[int(index)] for index in ids], ids, step * batch_size)
            for step, ids in enumerate(indices, start_step)
        ]

    def _count(self, shard: Path) -> int:
        return sum(is_usable(parts) for _, parts in read_tar(shard, with_content=False))

    def _samples(
        self, shard: Path, places: set[int]
    ) -> Iterator[tuple[int, tuple[Tensor, str, Tensor | None]]]:
        # The samples at some places among the usable ones of a shard, decoded.
        if not places:
            return
        place = -1
        for name, parts in read_tar(shard):
            place += is_usable(parts)
            if place not in places or not is_usable(parts):
                continue
            where = f"{shard}:{name}"
            pixels = decode(image_of(parts, where).data, self._image_size, where=where)
            objects = None
            if self._has_objects:
                objects = torch.from_numpy(objects_of(parts, self._image_size, where).copy())
            image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
            yield place, (image, caption_of(parts), objects)

    def _batch(self, samples: list[tuple[Tensor, str, Tensor | None]], ids: Tensor, first: int) -> Batch:
        images, captions, objects = zip(*samples, strict=True)
        texts = self._tokenize(list(captions)).long()
        maps = [one for one in objects if one is not None]
        stacked = torch.stack(maps) if maps else None
        return Batch(torch.stack(images), texts, stacked, first + torch.arange(len(ids)), ids)
