"""Shards too large for memory: read by worker processes, shuffled by seed, resumable at any step."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from pgsbench.data.samples import Batch, Tokenize, caption_of, is_usable, objects_of
from pgsbench.data.tar import image_of, read_tar
from pgsbench.data.transforms import decode

SHUFFLE_BUFFER = 2_000  # samples, still encoded


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

    def batches(self, *, seed: int, batch_size: int, start_step: int = 0) -> Iterator[Batch]:
        """Yield batches without end, beginning with the batch of step `start_step`."""
        workers = min(self.workers, len(self.shards))  # a worker without a shard would never answer
        source = _Source(self, seed, batch_size, start_step, workers)
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
        self, reader: StreamedShards, seed: int, batch_size: int, start_step: int, workers: int
    ) -> None:
        self.reader, self.seed, self.batch_size = reader, seed, batch_size
        self.start_step, self.workers = start_step, workers

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        assert info is not None
        torch.set_num_threads(1)
        # The loader asks its workers in turn, from 0: rotate, so that worker s % workers answers step s.
        worker = (info.id + self.start_step) % self.workers
        skipped_batches = len(range(worker, self.start_step, self.workers))
        samples = islice(self._samples(worker), skipped_batches * self.batch_size, None)
        while True:
            yield self._batch(list(islice(samples, self.batch_size)))

    def _samples(self, worker: int) -> Iterator[tuple[str, dict[str, bytes]]]:
        for epoch in count():
            order = random.Random(f"{self.seed}/{epoch}")
            shards = sorted(self.reader.shards)
            order.shuffle(shards)
            yield from _shuffled(
                shards[worker :: self.workers], random.Random(f"{self.seed}/{epoch}/{worker}")
            )

    def _batch(self, samples: list[tuple[str, dict[str, bytes]]]) -> Batch:
        size = self.reader.image_size
        images = [decode(image_of(parts, key).data, size, where=key) for key, parts in samples]
        texts = self.reader.tokenize([caption_of(parts) for _, parts in samples])
        objects = None
        if self.reader.has_objects:
            maps = [objects_of(parts, size, key) for key, parts in samples]
            objects = torch.from_numpy(np.stack(maps))
        pictures = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
        return Batch(pictures, texts, objects)


def _shuffled(shards: Sequence[Path], order: random.Random) -> Iterator[tuple[str, dict[str, bytes]]]:
    buffer: list[tuple[str, dict[str, bytes]]] = []
    for shard in shards:
        for key, parts in read_tar(shard):
            if not is_usable(parts):
                continue
            sample = (f"{shard}:{key}", parts)
            if len(buffer) < SHUFFLE_BUFFER:
                buffer.append(sample)
                continue
            position = order.randrange(SHUFFLE_BUFFER)
            buffer[position], sample = sample, buffer[position]
            yield sample
    order.shuffle(buffer)
    yield from buffer
