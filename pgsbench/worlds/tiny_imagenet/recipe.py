"""What decides the content of the Tiny-ImageNet data set, and the hash that names it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from pgsbench.data import store
from pgsbench.errors import DataError
from pgsbench.hashing import digest
from pgsbench.worlds.tiny_imagenet.names import curated_names


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

    def __post_init__(self) -> None:
        for name, low in (("per_class", 1), ("num_classes", 2), ("num_val", 1), ("train_shard", 1)):
            if getattr(self, name) < low:
                raise DataError(
                    f"must be at least {low}",
                    where=f"tiny-imagenet recipe: {name}",
                    value=getattr(self, name),
                )


def identity(recipe: Recipe = Recipe()) -> str:
    """Return the hash that names the folder of what the recipe makes with these curated names."""
    names = digest(sorted(curated_names().items()))
    return store.identity_of("tiny-imagenet", {**asdict(recipe), "names": names})
