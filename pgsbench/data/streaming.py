"""Shards too large for memory: read by worker processes, shuffled by seed, resumable at any step."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, count, islice
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from pgsbench.data.samples import Batch, Tokenize, caption_of, is_usable, objects_of, rank_slice
from pgsbench.data.tar import count_tar, image_of, read_tar
from pgsbench.data.transforms import decode

SHUFFLE_BUFFER = 2_000  # samples, still encoded

#: Index in the data set, place for messages, members.
_Sample = tuple[int, str, dict[str, bytes]]


@dataclass(frozen=True)
class StreamedShards:
    """A reader that holds no more than its shuffle buffers.

    Batch s comes from worker ``s % w`` of w, and each worker owns every w-th shard, so the order depends
    on seed and number of workers alone, whatever the timing. A resumed reader skips samples undecoded.
    """

    shards: tuple[Path, ...]
    image_size: tuple[int, int]
    tokenize: Tokenize
    has_objects: bool
    workers: int

    def batches(
        self, *, seed: int, batch_size: int, start_step: int = 0, rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        """Yield batches without end, beginning with the batch of step `start_step`."""
        workers = min(self.workers, len(self.shards))  # a worker without a shard would never answer
        part = rank_slice(batch_size, rank, world_size)
        source = _Source(self, seed, batch_size, start_step, workers, part)
        with warnings.catch_warnings():
            # more workers than cores: as asked
            warnings.filterwarnings("ignore", "This DataLoader will create")
            loader = DataLoader(
                source,
                batch_size=None,
                num_workers=workers,
                prefetch_factor=4,
                multiprocessing_context="spawn",
                pin_memory=torch.cuda.is_available(),
            )
            batches = iter(loader)  # where it warns, too
        yield from batches


class _Source(IterableDataset[Batch]):
    def __init__(
        self,
        reader: StreamedShards,
        seed: int,
        batch_size: int,
        start_step: int,
        workers: int,
        part: slice,
    ) -> None:
        self.reader, self.seed, self.batch_size = reader, seed, batch_size
        self.start_step, self.workers, self.part = start_step, workers, part
        shards = sorted(reader.shards)
        before = accumulate((count_tar(shard) for shard in shards), initial=0)
        self.first_ids = dict(zip(shards, before, strict=False))

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        assert info is not None
        torch.set_num_threads(1)
        # The loader asks its workers in turn, from 0: rotate, so that worker s % workers answers step s.
        worker = (info.id + self.start_step) % self.workers
        skipped_batches = len(range(worker, self.start_step, self.workers))
        samples = islice(self._samples(worker), skipped_batches * self.batch_size, None)
        step = worker + skipped_batches * self.workers
        while True:
            yield self._batch(list(islice(samples, self.batch_size)), step)
            step += self.workers

    def _samples(self, worker: int) -> Iterator[_Sample]:
        for epoch in count():
            order = random.Random(f"{self.seed}/{epoch}")
            shards = sorted(self.reader.shards)
            order.shuffle(shards)
            yield from _shuffled(
                shards[worker :: self.workers],
                random.Random(f"{self.seed}/{epoch}/{worker}"),
                self.first_ids,
            )

    def _batch(self, whole: list[_Sample], step: int) -> Batch:
        size, samples = self.reader.image_size, whole[self.part]
        images = [decode(image_of(parts, key).data, size, where=key) for _, key, parts in samples]
        texts = self.reader.tokenize([caption_of(parts) for _, _, parts in samples])
        objects = None
        if self.reader.has_objects:
            maps = [objects_of(parts, size, key) for _, key, parts in samples]
            objects = torch.from_numpy(np.stack(maps))
        pictures = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
        places = step * self.batch_size + torch.arange(self.part.start, self.part.stop)
        return Batch(pictures, texts, objects, places, torch.tensor([number for number, _, _ in samples]))


def _shuffled(
    shards: Sequence[Path], order: random.Random, first_ids: Mapping[Path, int]
) -> Iterator[_Sample]:
    buffer: list[_Sample] = []
    for shard in shards:
        for number, (key, parts) in enumerate(read_tar(shard), first_ids[shard]):
            if not is_usable(parts):
                continue
            sample = (number, f"{shard}:{key}", parts)
            if len(buffer) < SHUFFLE_BUFFER:
                buffer.append(sample)
                continue
            position = order.randrange(SHUFFLE_BUFFER)
            buffer[position], sample = sample, buffer[position]
            yield sample
    order.shuffle(buffer)
    yield from buffer
