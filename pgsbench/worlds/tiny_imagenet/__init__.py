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

import hashlib
import runpy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from pgsbench.data import store
from pgsbench.errors import DataError
from pgsbench.hashing import digest

ATTRIBUTION = (
    "Tiny-ImageNet: photos of ImageNet (image-net.org), resized and with boxes by Stanford's course CS231n; "
    "for non-commercial research and education under ImageNet's terms, copyright with the photographers; "
    "class names as curated by the authors of CLIP"
)


#: A selection from the 80 templates that CLIP's authors wrote for ImageNet, articles as they have them.
#: Templates that claim a style, a size or a state (a sketch, the small one, a dirty one) would be untrue.
TEMPLATES = (
    "a photo of a {c}.",
    "a photo of the {c}.",
    "a photo of one {c}.",
    "a photo of my {c}.",
    "a good photo of a {c}.",
    "a good photo of the {c}.",
    "a cropped photo of a {c}.",
    "a cropped photo of the {c}.",
    "a low resolution photo of a {c}.",
    "a low resolution photo of the {c}.",
    "itap of a {c}.",
    "itap of the {c}.",
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
        rule, way_out = "this data set has no knobs", "leave them out, or use scenes"
        raise DataError(rule, where=next(iter(knobs)), value="tiny-imagenet", way_out=way_out)
    return Recipe()


def knobs_of(recipe: Mapping[str, Any]) -> dict[str, float]:
    """Return the knobs of a recipe: there are none."""
    return {}


def identity(recipe: Recipe) -> str:
    """Return the hash that names the folder of what the recipe makes with these curated names."""
    names = digest(sorted(curated_names().items()))
    return store.identity_of("tiny-imagenet", {**asdict(recipe), "names": names})


@cache
def curated_names() -> dict[str, str]:
    """Return the name of each of ImageNet's 1,000 WordNet ids, as CLIP's authors curated them.

    open_clip has the names, in the order of the sorted ids; timm has the ids. Both are read as files, since
    importing the packages takes seconds.
    """
    ids = distribution("timm").locate_file("timm/data/_info/imagenet_synsets.txt")
    names = distribution("open_clip_torch").locate_file("open_clip/zero_shot_metadata.py")
    said = runpy.run_path(str(names))["IMAGENET_CLASSNAMES"]
    read = Path(str(ids)).read_text()
    return dict(zip(sorted(read.split()), said, strict=True))


def caption(name: str, key: str, *, seed: int) -> str:
    """Return the caption of a photo; the phrase follows from the photo's key alone.

    Args:
        name: Name of its class.
        key: Name of the photo.
        seed: Chooses other phrases.
    """
    number = int.from_bytes(hashlib.sha256(f"{seed}/{key}".encode()).digest()[:8])
    return TEMPLATES[number % len(TEMPLATES)].format(c=name)
