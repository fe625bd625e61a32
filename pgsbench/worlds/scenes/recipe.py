"""What decides the content of a generated data set, and the hash that names it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from pgsbench.data import store
from pgsbench.errors import DataError


@dataclass(frozen=True)
class Recipe:
    """All that decides the bytes of a data set of scenes.

    Attributes:
        num_train: Training pairs; each is drawn afresh.
        seed: Seed of everything that is drawn.
        image_size: Side of a picture in pixels.
        train_shard: Training pairs in one archive.
        num_single: Pictures of one object, shared by the shape, colour and background tasks. Balanced
            over all combinations of shape, colour and background where it is a multiple of 144.
        num_shifted: Pictures in each robustness set.
        num_retrieval: Pictures of one to three objects with five captions each; the count task and the
            pairs use them too.
        num_pairs: Pairs in each of the seven compositionality subsets; fewer where no more can be built.
        jpeg_quality: Quality of the JPEG files, 1 to 95.
        version: Of the generator: it goes up whenever the same numbers would give other bytes.
    """

    num_train: int = 36_864
    seed: int = 0
    image_size: int = 64
    train_shard: int = 1_024
    num_single: int = 1_008
    num_shifted: int = 576
    num_retrieval: int = 1_000
    num_pairs: int = 500
    jpeg_quality: int = 92
    version: int = 8

    def __post_init__(self) -> None:
        for name in ("num_train", "train_shard", "num_single", "num_shifted", "num_retrieval", "num_pairs"):
            if getattr(self, name) < 1:
                raise DataError(
                    "must be at least 1", where=f"scenes recipe: {name}", value=getattr(self, name)
                )
        if self.image_size < 32:
            raise DataError(
                "objects are not recognisable in pictures below 32 pixels",
                where="scenes recipe: image_size",
                value=self.image_size,
            )
        if not 1 <= self.jpeg_quality <= 95:
            raise DataError("must be in 1..95", where="scenes recipe: jpeg_quality", value=self.jpeg_quality)


def identity(recipe: Recipe = Recipe()) -> str:
    """Return the hash that names the folder of what the recipe makes."""
    return store.identity_of("scenes", asdict(recipe))
