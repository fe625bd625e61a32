"""The words of the generated world, what a picture shows in them, and what a caption claims.

The order of the words is the meaning of the integers in `Scenes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Literal

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
COLOURS = ("red", "green", "blue", "yellow")
PATTERNS = ("plain", "striped", "dotted")
SIZES = ("small", "large")
BACKGROUNDS = ("sand", "grass", "water", "bricks", "wood", "stone")
COUNTS = ("one object", "two objects", "three objects")
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
RELATIONS = tuple(OPPOSITE)
MAX_OBJECTS = len(COUNTS)

Attribute = Literal["size", "pattern", "colour"]
ATTRIBUTES: tuple[Attribute, ...] = ("size", "pattern", "colour")

#: Least distance along the axis of a relation, and how much larger it is than across, for a caption to
#: name the relation. A relation is false only where the order is the other way round: what lies between
#: is neither claimed nor denied.
CLEAR_DISTANCE = 0.18
CLEAR_RATIO = 1.2


@dataclass(frozen=True)
class Thing:
    """One object in words, with its centre in units of the picture's side."""

    shape: str
    colour: str
    pattern: str
    size: str
    x: float
    y: float


@dataclass(frozen=True)
class Ground:
    """A background in words; the colour is None where it is natural, or not mentioned."""

    kind: str
    colour: str | None = None

    def fits(self, other: Ground) -> bool:
        """Return whether all that is mentioned is true of the other one."""
        return self.kind == other.kind and self.colour in (None, other.colour)

    def __str__(self) -> str:
        return f"{self.colour} {self.kind}" if self.colour else self.kind


@dataclass(frozen=True)
class Content:
    """What one picture shows, in words."""

    objects: tuple[Thing, ...]
    ground: Ground


@dataclass(frozen=True)
class Phrase:
    """One mentioned object; attributes that are None are not mentioned."""

    shape: str
    colour: str | None = None
    pattern: str | None = None
    size: str | None = None

    def fits(self, thing: Thing) -> bool:
        """Return whether all that is mentioned is so."""
        return all(said in (None, getattr(thing, kind)) for kind, said in vars(self).items())

    def __str__(self) -> str:
        words = (self.size, self.pattern, self.colour, self.shape)
        return "a " + " ".join(word for word in words if word)


@dataclass(frozen=True)
class Claim:
    """All that a caption says.

    Attributes:
        phrases: The mentioned objects, in order.
        relation: How the first is placed to the second, or None.
        ground: Named background, or None.
        counted: Whether the number of objects is named; it is then the number of phrases.
    """

    phrases: tuple[Phrase, ...]
    relation: str | None = None
    ground: Ground | None = None
    counted: bool = False

    def holds(self, shown: Content) -> bool:
        """Return whether the claim is true, every phrase naming another object."""
        if self.ground and not self.ground.fits(shown.ground):
            return False
        if self.counted and len(self.phrases) != len(shown.objects):
            return False
        return any(
            all(phrase.fits(thing) for phrase, thing in zip(self.phrases, chosen, strict=True))
            and (self.relation is None or related(self.relation, chosen[0], chosen[1]))
            for chosen in permutations(shown.objects, len(self.phrases))
        )


def related(relation: str, first: Thing, second: Thing) -> bool:
    """Return whether the first object's centre lies on the named side of the second's."""
    dx, dy = second.x - first.x, second.y - first.y
    return {"left of": dx > 0, "right of": dx < 0, "above": dy > 0, "below": dy < 0}[relation]


def clear_relation(first: Thing, second: Thing) -> str | None:
    """Return the relation that anyone would name, or None where there is no such one."""
    dx, dy = abs(first.x - second.x), abs(first.y - second.y)
    if max(dx, dy) < CLEAR_DISTANCE or max(dx, dy) < CLEAR_RATIO * min(dx, dy):
        return None
    level = RELATIONS[:2] if dx > dy else RELATIONS[2:]
    return next(relation for relation in level if related(relation, first, second))
