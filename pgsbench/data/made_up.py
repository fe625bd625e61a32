"""Batches that were made up: for trials that measure steps, where pictures do not matter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from pgsbench.data.samples import Batch, Tokenize, rank_slice


@dataclass(frozen=True)
class MadeUp:
    """A reader of one batch of noise, again and again.

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
        """Yield the batch; see `pgsbench.data.samples.Reader`."""
        random = torch.Generator().manual_seed(seed)
        images = torch.randint(0, 256, (batch_size, 3, *self.image_size), generator=random, dtype=torch.uint8)
        texts = self.tokenize(["a picture of nothing in particular"] * batch_size)
        objects = torch.ones(batch_size, *self.image_size, dtype=torch.uint8)
        ids = torch.arange(batch_size)
        part = rank_slice(batch_size, rank, world_size)
        step = start_step
        while True:
            samples = ids + step * batch_size
            yield Batch(images[part], texts[part], objects[part], samples[part], ids[part])
            step += 1
