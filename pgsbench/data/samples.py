"""What a training sample is, and what batches and their readers look like.

A sample is ``KEY.jpg|png|webp`` and ``KEY.txt`` in a tar; ``KEY.captions.txt``, where present, has several
captions, one a line, and ``KEY.objects.png`` numbers the object of each pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Protocol

import torch
from torch import Tensor

Tokenize = Callable[[list[str]], Tensor]


@dataclass(frozen=True)
class Fault:
    """A sample that could not be used.

    Attributes:
        id: Its index in the data set.
        reason: One of those in `pgsbench.data.damage`.
        where: Its shard and its name.
    """

    id: int
    reason: str
    where: str


@dataclass(frozen=True)
class Batch:
    """Image-text pairs.

    Attributes:
        images: (b, 3, h, w) uint8.
        texts: (b, context length) int64 token ids.
        objects: (b, h, w) uint8 number of the object at each pixel, 0 for background; None where unknown.
        samples: (b,) int64 place of each pair in the stream of all steps: step * batch size + offset.
        ids: (b,) int64 index of each pair in the data set, the same whenever the pair is seen.
        faults: Damaged samples, in whose places others stand here.
    """

    images: Tensor
    texts: Tensor
    objects: Tensor | None
    samples: Tensor
    ids: Tensor
    faults: tuple[Fault, ...] = ()

    def pin_memory(self) -> Batch:
        """Return it where a GPU can copy it from by itself; torch's loader asks for this in a thread."""
        names = ("images", "texts", "samples", *(() if self.objects is None else ("objects",)))
        return replace(self, **{name: getattr(self, name).pin_memory() for name in names})


class Reader(Protocol):
    """A source of training batches."""

    @property
    def has_objects(self) -> bool:
        """Whether batches carry object maps."""

    def batches(
        self, *, seed: int, batch_size: int, start_step: int = 0, rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        """Yield batches without end, beginning with the batch of step `start_step`.

        Args:
            seed: Decides the order of pairs.
            batch_size: Pairs of a step, over all ranks.
            start_step: The first step.
            rank: Which part of every batch is wanted; see `rank_slice`.
            world_size: Number of parts.
        """


def rank_slice(batch_size: int, rank: int, world_size: int) -> slice:
    """Return which pairs of a batch belong to a rank: consecutive ones, as equal in number as can be."""
    return slice(rank * batch_size // world_size, (rank + 1) * batch_size // world_size)


@dataclass(frozen=True)
class MadeUp:
    """A reader of one batch of noise, again and again: for trials of steps, where pictures do not matter.

    Args:
        tokenize: The model's tokenizer.
        image_size: (height, width) in pixels.
    """

    tokenize: Tokenize
    image_size: tuple[int, int]
    has_objects: bool = True

    def batches(
        self, *, seed: int, batch_size: int, start_step: int = 0, rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        """Yield the batch; see `Reader`."""
        random = torch.Generator().manual_seed(seed)
        images = torch.randint(0, 256, (batch_size, 3, *self.image_size), generator=random, dtype=torch.uint8)
        texts = self.tokenize(["a picture of nothing in particular"] * batch_size)
        objects = torch.ones(batch_size, *self.image_size, dtype=torch.uint8)
        ids = torch.arange(batch_size)
        part = rank_slice(batch_size, rank, world_size)
        for step in count(start_step):
            samples = ids + step * batch_size
            yield Batch(images[part], texts[part], objects[part], samples[part], ids[part])
