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
    """

    images: Tensor
    texts: Tensor
    objects: Tensor | None


class Reader(Protocol):
    """A source of training batches."""

    @property
    def has_objects(self) -> bool:
        """Whether batches carry object maps."""

    def batches(self, *, seed: int, batch_size: int, start_step: int = 0) -> Iterator[Batch]:
        """Yield batches without end, beginning with the batch of step `start_step`."""


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
