"""What is in a picture: the drawing of scenes, before anything is painted.

A scene holds one to three objects that never touch. Lengths are in units of the picture's side and angles
in radians, so that a scene can be painted at any size. Shape letters: n scenes, m = `MAX_OBJECTS` slots.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

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

COUNT_SHARES = (0.50, 0.36, 0.14)
PATTERN_SHARES = (0.6, 0.2, 0.2)
#: How often an object has the colour of the first one. Were colours independent, the colours alone would
#: tell the pictures of a batch apart, and no other attribute would be learned.
SAME_COLOUR_SHARE = 0.4
#: Range of the radius for each size beside other objects; an object alone is larger by a factor. Every
#: small one stays smaller than every large one.
RADII = ((0.16, 0.18), (0.218, 0.234))
ALONE = 1.0
MAX_TILT = 0.04
#: Centres lie near the points of a lattice of so many cells a side, off by up to the jitter: a small
#: model on little data need not learn every shape at every offset.
LATTICE = 4
JITTER = 0.006
GAP = 0.015
#: How often a background has one of the colours that objects have, and the tint of those that have none.
TINTED_SHARE = 0.6
NATURAL = -1
NUM_LAYOUTS = 160


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


def draw(rng: np.random.Generator, count: Ints) -> Scenes:
    """Draw one scene for each wanted number of objects.

    No two objects of a scene agree in both shape and colour, so that naming both singles one out.
    """
    n = len(count)
    shape, colour = _draw_kinds(rng, n)
    size = rng.integers(len(SIZES), size=(n, MAX_OBJECTS))
    # Three large objects would leave no choice of where to put them.
    crowded = (count == MAX_OBJECTS)[:, None] & (np.arange(MAX_OBJECTS) > 0)[None, :]
    size = np.where(crowded, 0, size)
    low, high = np.asarray(RADII, np.float32).T
    radius = (low[size] + (high - low)[size] * rng.random((n, MAX_OBJECTS))).astype(np.float32)
    radius *= np.where(count == 1, np.float32(ALONE), np.float32(1))[:, None]
    x, y, radius = _place(rng, count, radius)
    return Scenes(
        count=count,
        background=rng.integers(len(BACKGROUNDS), size=n),
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


def draw_mixed(rng: np.random.Generator, n: int) -> Scenes:
    """Draw scenes with one to three objects in the world's usual shares."""
    return draw(rng, 1 + rng.choice(len(COUNTS), size=n, p=COUNT_SHARES))


def draw_single(rng: np.random.Generator, n: int) -> Scenes:
    """Draw scenes of one object, balanced over shape x colour x background, in random order."""
    number = np.arange(n)
    kinds = (len(SHAPES), len(COLOURS), len(BACKGROUNDS))
    shape, colour, background = np.unravel_index(number % np.prod(kinds), kinds)
    order = rng.permutation(n)
    scenes = draw(rng, np.ones(n, np.int64))
    scenes.shape[:, 0], scenes.colour[:, 0] = shape[order], colour[order]
    scenes.background[:] = background[order]
    return scenes


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


def _place(rng: np.random.Generator, count: Ints, radius: Floats) -> tuple[Floats, Floats, Floats]:
    """Return (n, m) x, y and radius of objects that do not touch.

    The first of several random layouts that fits is taken; where none does, the best one is, with
    smaller objects.
    """
    n = len(count)
    first = np.ceil((radius + GAP) * LATTICE)[:, None, :, None]
    choices = LATTICE + 1 - 2 * first
    centres = (first + np.floor(rng.random((n, NUM_LAYOUTS, MAX_OBJECTS, 2)) * choices)) / LATTICE
    centres += rng.uniform(-JITTER, JITTER, centres.shape)
    room = np.full((n, NUM_LAYOUTS), np.inf)  # largest factor by which the radii may grow
    for a in range(MAX_OBJECTS):
        for b in range(a + 1, MAX_OBJECTS):
            distance = np.hypot(*np.moveaxis(centres[:, :, a] - centres[:, :, b], -1, 0))
            factor = (distance - GAP) / (radius[:, a] + radius[:, b])[:, None]
            room = np.where((count > b)[:, None], np.minimum(room, factor), room)
    fits = room >= 1
    chosen = np.where(fits.any(1), fits.argmax(1), room.argmax(1))
    rows = np.arange(n)
    shrink = np.minimum(room[rows, chosen], 1)[:, None]
    x, y = np.moveaxis(centres[rows, chosen], -1, 0).astype(np.float32)
    return x, y, (radius * shrink).astype(np.float32)
