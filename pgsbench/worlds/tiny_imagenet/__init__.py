"""Tiny-ImageNet: 100,000 photos of 64 x 64 pixels in 200 classes, each with the box of its object.

Its photos are not made but read, from the official archive; what is written is what every other built-in data
set has:

==================  ==================================================================================
train               the first photos of each class as they are, a caption from CLIP's templates, the box
eval/val            the validation photos; 200 classes
eval/val-shifted    the same, each under one of the four kinds of damage that scenes know
eval/val-a, val-b   two halves of the classes, each with its own photos: what is chosen on one half can
                    be confirmed on the other
==================  ==================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pgsbench.data import store
from pgsbench.errors import DataError
from pgsbench.hashing import digest
from pgsbench.worlds.tiny_imagenet.names import curated_names

ATTRIBUTION = (
    "Tiny-ImageNet: photos of ImageNet (image-net.org), resized and with boxes by Stanford's course CS231n; "
    "for non-commercial research and education under ImageNet's terms, copyright with the photographers; "
    "class names as curated by the authors of CLIP"
)


@dataclass(frozen=True)
class Recipe:
    """All that decides the bytes of the data set, beside the photos and the curated names.

    Attributes:
        per_class: Training photos of each class, the first ones by number; the archive has 500.
        num_classes: Classes that the archive must have.
        num_val: Validation photos that it must have.
        seed: Seed of the order of the photos, of their captions and of the damage.
        train_shard: Training pairs in one archive.
        jpeg_quality: Quality of damaged photos; all others keep their bytes.
        version: Of the generator: it goes up whenever the same numbers would give other bytes.
    """

    per_class: int = 250
    num_classes: int = 200
    num_val: int = 10_000
    seed: int = 0
    train_shard: int = 1_000
    jpeg_quality: int = 92
    version: int = 1

    @property
    def num_train(self) -> int:
        """Training pairs."""
        return self.per_class * self.num_classes


def recipe_with(knobs: Mapping[str, float]) -> Recipe:
    """Return the recipe.

    Raises:
        DataError: There are knobs.
    """
    if knobs:
        raise DataError("this data set has no knobs", where=next(iter(knobs)), value="tiny-imagenet")
    return Recipe()


def knobs_of(recipe: Mapping[str, Any]) -> dict[str, float]:
    """Return the knobs of a recipe: there are none."""
    return {}


def identity(recipe: Recipe) -> str:
    """Return the hash that names the folder of what the recipe makes with these curated names."""
    names = digest(sorted(curated_names().items()))
    return store.identity_of("tiny-imagenet", {**asdict(recipe), "names": names})
