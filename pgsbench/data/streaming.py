"""Batches of any step, read and decoded by reader processes, or in the training's own."""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from multiprocessing.context import BaseContext

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from pgsbench.data.damage import UnusableError
from pgsbench.data.order import MAX_ATTEMPTS, draws
from pgsbench.data.pairs import OpenShards, Pairs
from pgsbench.data.samples import Batch, Fault, Tokenize, rank_slice
from pgsbench.data.transforms import Pixels, Transform
from pgsbench.errors import DataError, UserError

# What the randomness of a place is for; order has no number of its own.
_FOR_PICTURE, _FOR_CAPTION = 1, 2


@dataclass(frozen=True)
class Streamed:
    """A reader that holds no more than the batches it has ready.

    Attributes:
        pairs: The data.
        transform: From image files to pixels.
        tokenize: Texts to token ids.
        workers: Reader processes; 0: the training's own process reads. They change no batch.
    """

    pairs: Pairs
    transform: Transform
    tokenize: Tokenize
    workers: int

    @property
    def has_objects(self) -> bool:
        """Whether batches carry object maps."""
        return self.pairs.has_objects

    def batches(
        self, *, seed: int, batch_size: int, start_step: int = 0, rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        """Yield batches without end, beginning with the batch of step `start_step`.

        Raises:
            DataError: There are fewer pairs than one batch needs, or nothing can stand in for a damaged one.
        """
        check_batch_size(len(self.pairs), batch_size)
        source = _Source(self, seed, batch_size, start_step, rank_slice(batch_size, rank, world_size))
        with warnings.catch_warnings():
            # more workers than cores: as asked
            warnings.filterwarnings("ignore", "This DataLoader will create")
            loader = DataLoader(
                source,
                batch_size=None,
                num_workers=self.workers,
                prefetch_factor=2 if self.workers else None,
                multiprocessing_context=_forked_light() if self.workers else None,
                pin_memory=torch.cuda.is_available(),
                generator=torch.Generator(),  # else it draws from everyone's
            )
            batches = iter(loader)  # where it warns, too
        for batch in batches:
            if isinstance(batch, UserError):
                raise batch
            yield batch


def _forked_light() -> BaseContext:
    """Return how readers are started: forked from a process that has loaded once what they need."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pgsbench.data.reader_process"])
    return context


def check_batch_size(num_pairs: int, batch_size: int) -> None:
    """Check that there are enough pairs for a batch.

    Raises:
        DataError: There are not.
    """
    if num_pairs < batch_size:
        raise DataError(
            f"a batch needs more pairs than the {num_pairs} there are",
            where="training.batch_size",
            value=batch_size,
        )


def none_left(where: str) -> DataError:
    """Return the error of a pair that nothing can stand in for."""
    rule = f"neither this sample nor any of {MAX_ATTEMPTS - 1} others can be used"
    return DataError(rule, where=where, way_out="`pgsbench data verify DATA` counts the damage")


def chosen(num_captions: int, seed: int, visit: int, number: int) -> int:
    """Return which of the captions of a pair is read.

    Args:
        num_captions: How many there are.
        seed: The run's.
        visit: How many times the data was gone through before.
        number: Index of the pair.
    """
    if num_captions == 1:
        return 0
    return int(draws(_FOR_CAPTION, seed, visit, number, count=1)[0]) % num_captions


class _Source(IterableDataset[Batch | UserError]):
    def __init__(self, reader: Streamed, seed: int, batch_size: int, start_step: int, part: slice) -> None:
        self.reader, self.seed, self.batch_size = reader, seed, batch_size
        self.start_step, self.part = start_step, part

    def __iter__(self) -> Iterator[Batch | UserError]:
        info = get_worker_info()
        if info is not None:
            torch.set_num_threads(1)
        first, stride = (info.id, info.num_workers) if info is not None else (0, 1)
        opened = OpenShards(self.reader.pairs)
        for step in count(self.start_step + first, stride):  # the loader asks its workers in turn
            try:
                yield self._batch(opened, step)
            except UserError as error:  # raised here, it would come with a traceback of this process
                yield error
                return

    def _batch(self, opened: OpenShards, step: int) -> Batch:
        places = step * self.batch_size + np.arange(self.part.start, self.part.stop)
        wanted = self.reader.pairs.order.at(places, self.seed)
        faults: list[Fault] = []
        images = np.empty((len(places), 3, *self.reader.transform.size), np.uint8)
        maps = np.empty((len(places), *self.reader.transform.size), np.uint8)
        captions, ids = list[str](), list[int]()
        numbers = zip(wanted.ids.tolist(), places.tolist(), wanted.visits.tolist(), strict=True)
        for row, of_pair in enumerate(numbers):
            pixels, caption, objects, number = self._pair(opened, *of_pair, faults)
            images[row] = pixels.transpose(2, 0, 1)
            if objects is not None:
                maps[row] = objects
            captions.append(caption)
            ids.append(number)
        return Batch(
            images=torch.from_numpy(images),
            texts=self.reader.tokenize(captions).long(),
            objects=torch.from_numpy(maps) if self.reader.has_objects else None,
            samples=torch.from_numpy(places),
            ids=torch.tensor(ids),
            faults=tuple(faults),
        )

    def _pair(
        self, opened: OpenShards, number: int, place: int, visit: int, faults: list[Fault]
    ) -> tuple[Pixels, str, Pixels | None, int]:
        drawn = int(draws(_FOR_PICTURE, self.seed, place, count=1)[0] >> np.uint64(1))
        for one in self.reader.pairs.order.candidates(number, place, self.seed):
            try:
                pair = opened.read(one)
                pixels, objects = self.reader.transform(pair.picture, pair.objects, drawn)
            except UnusableError as error:
                faults.append(Fault(one, error.reason, opened.where(one)))
                continue
            caption = pair.captions[chosen(len(pair.captions), self.seed, visit, one)]
            return pixels, caption, objects, one
        raise none_left(opened.where(number))
