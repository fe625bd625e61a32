"""What is in a picture: the drawing of scenes, before anything is painted.

A scene holds one to three objects. Lengths are in units of the picture's side and angles in radians, so that
a scene can be painted at any size. Shape letters: n scenes, m = `MAX_OBJECTS` slots.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pgsbench.worlds.scenes.recipe import Knobs
from pgsbench.worlds.scenes.vocabulary import (
    BACKGROUNDS,
    COLOURS,
    COUNTS,
    MAX_OBJECTS,
    PATTERNS,
    SHAPES,
    SIZES,
)

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[Any]  # float32; numpy does not carry the width through arithmetic

COUNT_SHARES = (0.60, 0.28, 0.12)
PATTERN_SHARES = (0.6, 0.2, 0.2)
#: How often an object has the colour of the first one. Were colours independent, the colours alone would
#: tell the pictures of a batch apart, and no other attribute would be learned.
SAME_COLOUR_SHARE = 0.4
#: Range of the share of the frame that an object covers for each size, in units of the median share. All
#: objects of a picture share it evenly but for their size, so every small one is smaller than a large one.
SIZE_FACTORS = ((0.25, 0.80), (1.2, 1.8))
#: Factor on the size of an object alone: it makes up for what the frame cuts off.
ALONE = 1.4
#: Largest share of the frame for the objects of a picture with several: more would leave no place for them.
CROWDED = 0.35
#: Area of each shape for a radius of 1, and the largest radius.
AREAS = {"circle": 2.32, "square": 1.96, "triangle": 1.30, "star": 1.32, "cross": 1.80, "ring": 1.99}
MAX_RADIUS = 0.8
MAX_TILT = 0.2
#: How far a centre may lie beyond its radius: less than 1, so the frame cuts some objects.
INSIDE = 0.8
GAP = 0.015
#: Share of the distance of two centres by which objects may overlap at the highest occlusion.
OVERLAP = 0.5
#: How often a background has one of the colours that objects have, and the tint of those that have none.
TINTED_SHARE = 0.25
NATURAL = -1
NUM_LAYOUTS = 96
#: The background where each shape belongs, in the order of `SHAPES`.
HOMES = ("sand", "bricks", "stone", "water", "grass", "wood")


@dataclass(frozen=True)
class Scenes:
    """Scenes as arrays; entries of unused slots mean nothing.

    Attributes:
        count: (n,) number of objects.
        background: (n,) index into `BACKGROUNDS`.
        tint: (n,) index into `COLOURS` of the background's colour, or `NATURAL`.
        shape: (n, m) index into `SHAPES`.
        colour: (n, m) index into `COLOURS`.
        pattern: (n, m) index into `PATTERNS`.
        size: (n, m) index into `SIZES`.
        x: (n, m) centre from the left.
        y: (n, m) centre from the top.
        radius: (n, m) radius of the circle around the object.
        angle: (n, m) tilt.
    """

    count: Ints
    background: Ints
    tint: Ints
    shape: Ints
    colour: Ints
    pattern: Ints
    size: Ints
    x: Floats
    y: Floats
    radius: Floats
    angle: Floats

    def __len__(self) -> int:
        return len(self.count)

    def __getitem__(self, rows: slice | Ints) -> Scenes:
        return Scenes(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @property
    def used(self) -> NDArray[np.bool_]:
        """(n, m) whether a slot holds an object."""
        return np.arange(MAX_OBJECTS)[None, :] < self.count[:, None]


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


def content(scenes: Scenes, row: int) -> Content:
    """Return one scene in words."""
    tint = scenes.tint[row]
    ground = Ground(BACKGROUNDS[scenes.background[row]], None if tint == NATURAL else COLOURS[tint])
    return Content(tuple(_things(scenes, row)), ground)


def _things(scenes: Scenes, row: int) -> list[Thing]:
    return [
        Thing(
            SHAPES[scenes.shape[row, slot]],
            COLOURS[scenes.colour[row, slot]],
            PATTERNS[scenes.pattern[row, slot]],
            SIZES[scenes.size[row, slot]],
            float(scenes.x[row, slot]),
            float(scenes.y[row, slot]),
        )
        for slot in range(int(scenes.count[row]))
    ]


def draw(rng: np.random.Generator, count: Ints, knobs: Knobs) -> Scenes:
    """Draw one scene for each wanted number of objects.

    No two objects of a scene agree in both shape and colour, so that naming both singles one out.
    """
    n = len(count)
    shape, colour = _draw_kinds(rng, n)
    size = rng.integers(len(SIZES), size=(n, MAX_OBJECTS))
    radius = _draw_radii(rng, count, shape, size, knobs)
    x, y, radius = _place(rng, count, radius, knobs)
    return Scenes(
        count=count,
        background=_draw_backgrounds(rng, shape[:, 0], knobs),
        tint=np.where(rng.random(n) < TINTED_SHARE, rng.integers(len(COLOURS), size=n), NATURAL),
        shape=shape,
        colour=colour,
        pattern=rng.choice(len(PATTERNS), size=(n, MAX_OBJECTS), p=PATTERN_SHARES),
        size=size,
        x=x,
        y=y,
        radius=radius,
        angle=rng.uniform(-MAX_TILT, MAX_TILT, (n, MAX_OBJECTS)).astype(np.float32),
    )


def draw_mixed(rng: np.random.Generator, n: int, knobs: Knobs) -> Scenes:
    """Draw scenes with one to three objects in the world's usual shares."""
    return draw(rng, 1 + rng.choice(len(COUNTS), size=n, p=COUNT_SHARES), knobs)


def draw_single(rng: np.random.Generator, n: int, knobs: Knobs) -> Scenes:
    """Draw scenes of one object in random order, balanced over shape x colour x background.

    Context moves the same share of each shape from every background to where the shape belongs.
    """
    number = np.arange(n)
    kinds = (len(SHAPES), len(COLOURS), len(BACKGROUNDS))
    shape, colour, background = np.unravel_index(number % np.prod(kinds), kinds)
    order = rng.permutation(n)
    shape, colour, background = shape[order], colour[order], background[order]
    scenes = draw(rng, np.ones(n, np.int64), knobs)
    cell = shape * len(BACKGROUNDS) + background
    earlier = np.array([(cell[:row] == cell[row]).sum() for row in range(n)])
    at_home = earlier < np.rint(knobs.context * np.bincount(cell)[cell])
    areas = np.asarray([AREAS[name] for name in SHAPES], np.float32)
    scenes.radius[:, 0] *= np.sqrt(areas[scenes.shape[:, 0]] / areas[shape])
    scenes.shape[:, 0], scenes.colour[:, 0] = shape, colour
    scenes.background[:] = np.where(at_home, _homes()[shape], background)
    return scenes


def _homes() -> Ints:
    return np.asarray([BACKGROUNDS.index(name) for name in HOMES], np.int64)


def _draw_backgrounds(rng: np.random.Generator, shape: Ints, knobs: Knobs) -> Ints:
    anywhere = rng.integers(len(BACKGROUNDS), size=len(shape))
    found: Ints = np.where(rng.random(len(shape)) < knobs.context, _homes()[shape], anywhere)
    return found


def _draw_radii(rng: np.random.Generator, count: Ints, shape: Ints, size: Ints, knobs: Knobs) -> Floats:
    """Return (n, m) radii, such that the objects of a picture share the wanted part of the frame."""
    low, high = np.log(np.asarray(SIZE_FACTORS)).T
    factor = np.exp(low[size] + (high - low)[size] * rng.random(size.shape))
    alone = (count == 1)[:, None]
    share = np.where(alone, ALONE * knobs.object_size, min(knobs.object_size, CROWDED)) * factor
    share /= count[:, None]
    areas = np.asarray([AREAS[name] for name in SHAPES])[shape]
    radius: Floats = np.minimum(np.sqrt(share / areas), MAX_RADIUS).astype(np.float32)
    return radius


def _draw_kinds(rng: np.random.Generator, n: int) -> tuple[Ints, Ints]:
    """Draw (n, m) shapes and colours, no pair of them twice in a scene."""
    colour = rng.integers(len(COLOURS), size=(n, MAX_OBJECTS))
    same = rng.random((n, MAX_OBJECTS)) < SAME_COLOUR_SHARE
    colour = np.where(same, colour[:, :1], colour)
    # One random order of all shapes per colour and scene: the j-th use of a colour takes the j-th shape.
    orders = np.argsort(rng.random((n, len(COLOURS), len(SHAPES))), axis=-1)
    rows = np.arange(n)
    shape = np.empty_like(colour)
    for slot in range(MAX_OBJECTS):
        earlier = (colour[:, :slot] == colour[:, slot : slot + 1]).sum(1)
        shape[:, slot] = orders[rows, colour[:, slot], earlier]
    return shape, colour


def _place(
    rng: np.random.Generator, count: Ints, radius: Floats, knobs: Knobs
) -> tuple[Floats, Floats, Floats]:
    """Return (n, m) x, y and radius of objects that overlap no further than the occlusion allows.

    The first of several random layouts that fits is taken; where none does, the best one is, with
    smaller objects.
    """
    n = len(count)
    largest = np.where(count == 1, 0.45, 0.25)[:, None]
    margin = np.minimum(INSIDE * radius, largest)[:, None, :, None].astype(np.float32)
    centres = margin + (1 - 2 * margin) * rng.random((n, NUM_LAYOUTS, MAX_OBJECTS, 2), dtype=np.float32)
    room = np.full((n, NUM_LAYOUTS), np.inf)  # largest factor by which the radii may grow
    apart = 1 - OVERLAP * knobs.occlusion
    for a in range(MAX_OBJECTS):
        for b in range(a + 1, MAX_OBJECTS):
            distance = np.hypot(*np.moveaxis(centres[:, :, a] - centres[:, :, b], -1, 0))
            factor = (distance - GAP) / (apart * (radius[:, a] + radius[:, b]))[:, None]
            room = np.where((count > b)[:, None], np.minimum(room, factor), room)
    fits = room >= 1
    chosen = np.where(fits.any(1), fits.argmax(1), room.argmax(1))
    rows = np.arange(n)
    shrink = np.minimum(room[rows, chosen], 1)[:, None]
    x, y = np.moveaxis(centres[rows, chosen], -1, 0).astype(np.float32)
    return x, y, (radius * shrink).astype(np.float32)
