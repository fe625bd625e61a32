"""What decides the content of a generated data set: its knobs and sizes, and the hash that names it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pgsbench.data import store
from pgsbench.errors import DataError, nearest

#: Least and largest value of each knob.
LIMITS = {
    "clutter": (0.0, 1.0),
    "object_size": (0.05, 0.6),
    "context": (0.0, 1.0),
    "occlusion": (0.0, 1.0),
    "colour": (0.0, 1.0),
}
#: Most training pairs that a study may ask for.
MAX_TRAIN = 1_000_000


@dataclass(frozen=True)
class Knobs:
    """What kind of world it is; a study sets them under ``data.recipe``.

    Attributes:
        clutter: How strong the edges and contrasts are that mean nothing: texture, hard borders, shadows and
            things without a name. Single pictures have between 0.1 and 1.9 times as much.
        object_size: Share of the frame that an object alone in a picture covers, median over pictures.
            Several objects share as much, but not more than a third.
        context: How often the first object lies where its shape belongs (a star on water). Else the
            background says nothing about the shape.
        occlusion: How much things in front hide, and how far objects may overlap.
        colour: How far the colours of objects stand out: at 0 they are pale, and the surroundings have them,
            too.
    """

    clutter: float = 0.7
    object_size: float = 0.35
    context: float = 0.7
    occlusion: float = 0.4
    colour: float = 0.4

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not low <= value <= high:
                raise DataError(f"must be a number in {low:g}..{high:g}", where=name, value=value)
            object.__setattr__(self, name, float(value))


@dataclass(frozen=True)
class Recipe:
    """All that decides the bytes of a data set of scenes.

    Attributes:
        knobs: What kind of world it is.
        num_train: Training pairs; each is drawn afresh.
        seed: Seed of everything that is drawn.
        image_size: Side of a picture in pixels.
        train_shard: Training pairs in one archive.
        num_single: Pictures of one object, shared by the shape, colour and background tasks. Shapes and
            colours are balanced where it is a multiple of 144, backgrounds where there is no context.
        num_shifted: Pictures in each robustness set.
        num_retrieval: Pictures of one to three objects with five captions each; the count task and the
            pairs use them too.
        num_pairs: Pairs in each of the seven compositionality subsets; fewer where no more can be built.
        jpeg_quality: Quality of the JPEG files, 1 to 95.
        version: Of the generator: it goes up whenever the same numbers would give other bytes.
    """

    knobs: Knobs = field(default_factory=Knobs)
    num_train: int = 36_864
    seed: int = 0
    image_size: int = 64
    train_shard: int = 1_024
    num_single: int = 1_008
    num_shifted: int = 576
    num_retrieval: int = 1_000
    num_pairs: int = 500
    jpeg_quality: int = 92
    version: int = 9

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


def recipe_with(knobs: Mapping[str, float]) -> Recipe:
    """Return the recipe with these knobs, the others at their defaults; ``num_train`` is one of them.

    Raises:
        DataError: There is no such knob, or its value is out of range.
    """
    known = [*LIMITS, "num_train"]
    for name in knobs:
        if name not in known:
            raise DataError(
                f"scenes have no such knob; they have {', '.join(known)}",
                where=name,
                value=knobs[name],
                way_out=nearest(name, known),
            )
    num_train = knobs.get("num_train", Recipe.num_train)
    if not (1 <= num_train <= MAX_TRAIN and num_train == int(num_train)):
        raise DataError(f"must be a whole number in 1..{MAX_TRAIN:,}", where="num_train", value=num_train)
    looks = {name: value for name, value in knobs.items() if name in LIMITS}
    return Recipe(Knobs(**looks), num_train=int(num_train))


def knobs_of(recipe: Mapping[str, Any]) -> dict[str, float]:
    """Return the knobs with which `recipe_with` gives a recipe, defaults left out.

    Args:
        recipe: As `asdict` gives it and a data set's manifest holds it.
    """
    default = asdict(Knobs()) | {"num_train": Recipe.num_train}
    chosen = recipe["knobs"] | {"num_train": recipe["num_train"]}
    return {name: value for name, value in chosen.items() if value != default.get(name)}


def identity(recipe: Recipe = Recipe()) -> str:
    """Return the hash that names the folder of what the recipe makes."""
    return store.identity_of("scenes", asdict(recipe))
