"""What a training sample is in its tar, and what batches and their readers look like.

A sample is ``KEY.jpg|png|webp`` and ``KEY.txt``; ``KEY.objects.png``, where present, numbers the object of
each pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from pgsbench.data.tar import IMAGE_TYPES
from pgsbench.data.transforms import Pixels, decode_objects
from pgsbench.errors import DataError

OBJECTS = "objects.png"

Tokenize = Callable[[list[str]], Tensor]


@dataclass(frozen=True)
class Batch:
    """Image-text pairs.

    Attributes:
        images: (b, 3, h, w) uint8.
        texts: (b, context length) int64 token ids.
        objects: (b, h, w) uint8 number of the object at each pixel, 0 for background; None where unknown.
        samples: (b,) int64 place of each pair in the stream of all steps: step * batch size + offset.
        ids: (b,) int64 index of each pair in the data set, the same whenever the pair is seen.
    """

    images: Tensor
    texts: Tensor
    objects: Tensor | None
    samples: Tensor
    ids: Tensor


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


def is_usable(parts: Mapping[str, bytes]) -> bool:
    """Tell whether a sample has a picture and a caption."""
    return "txt" in parts and any(kind in parts for kind in IMAGE_TYPES)


def caption_of(parts: Mapping[str, bytes]) -> str:
    """Return the caption of a sample."""
    return parts["txt"].decode("utf-8", "replace").strip()


def objects_of(parts: Mapping[str, bytes], size: tuple[int, int], where: str) -> Pixels:
    """Return the object map of a sample, (h, w) uint8.

    Raises:
        DataError: It has none, although the first sample of the data had one.
    """
    if OBJECTS not in parts:
        raise DataError("this sample lacks its object map, others have one", where=where, value=sorted(parts))
    return decode_objects(parts[OBJECTS], size, where=where)
