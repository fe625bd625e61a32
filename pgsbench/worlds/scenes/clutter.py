"""What lies around objects and means nothing: texture, hard borders, shadows, things without a name.

Shape letters: b pictures of one chunk, h = w = side in pixels. All is painted in place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pgsbench.worlds.scenes.scene import Floats, Ints, Scenes
from pgsbench.worlds.scenes.textures import fractal, noise, pick, rgb
from pgsbench.worlds.scenes.words import COLOURS, MAX_OBJECTS

Masks = NDArray[np.bool_]
Bytes = NDArray[np.uint8]

NUM_BORDERS, NUM_THINGS, NUM_OCCLUDERS = 2, 5, 3
#: Range of the strength in one picture, in units of the knob.
SPREAD = (0.1, 1.9)
#: Least share of each object that things in front leave visible.
LEAST_VISIBLE = 0.5


@dataclass(frozen=True)
class Surroundings:
    """How strong the surroundings of each picture are.

    Attributes:
        strength: (b,) of clutter.
        grain: (b, h, w) texture with a photo's spectrum, of standard deviation 1 on the whole and uneven.
    """

    strength: Floats
    grain: Floats

    @classmethod
    def draw(cls, rng: np.random.Generator, b: int, side: int, clutter: float) -> Surroundings:
        """Draw the surroundings of b pictures."""
        strength = (clutter * rng.uniform(*SPREAD, b)).astype(np.float32)
        # Photos are busy in one place and smooth in another.
        places = noise(rng, b, 3, 3, side)
        return cls(strength, fractal(rng, b, side) * (0.15 + 2.2 * places * places))


def roughen(rng: np.random.Generator, pictures: Floats, around: Surroundings) -> None:
    """Raise the contrast of backgrounds and lay a texture over them."""
    strength = around.strength[:, None, None, None]
    mean = pictures.mean((2, 3), keepdims=True)
    pictures -= mean
    pictures *= 0.5 + 0.8 * strength
    pictures += mean
    hue = 1 + rng.normal(0, 0.35, (len(pictures), 3, 1, 1)).astype(np.float32)
    pictures += 0.17 * strength * hue * around.grain[:, None]


def add_borders(rng: np.random.Generator, pictures: Floats, around: Surroundings) -> None:
    """Paint parts of the backgrounds lighter or darker, with straight or round borders."""
    b, _, side, _ = pictures.shape
    x, y = axes(side)
    for _ in range(NUM_BORDERS):
        rows = np.flatnonzero(rng.random(b) < around.strength)
        n = len(rows)
        turn, place = pick(rng, 0, 2 * np.pi, n), pick(rng, -0.35, 0.35, n)
        bend = pick(rng, -1.5, 1.5, n) * (rng.random((n, 1, 1)) < 0.5)
        along, across = turned(x - 0.5, y - 0.5, turn)
        covered = np.clip(0.5 + (across + bend * along * along - place) * side, 0, 1)
        change = rng.normal(0, 0.22, (n, 1, 1, 1)) + rng.normal(0, 0.09, (n, 3, 1, 1))
        pictures[rows] += covered[:, None] * change.astype(np.float32)


def add_things(
    rng: np.random.Generator, pictures: Floats, around: Surroundings, *, colour: float, extra: int = 0
) -> None:
    """Paint things without a name: strokes and blobs, some in colours that objects have.

    Args:
        rng: What is drawn from.
        pictures: (b, 3, h, w).
        around: How strong clutter is.
        colour: The knob: the lower, the more things have colours of objects.
        extra: Further things, whatever the strength.
    """
    b = len(pictures)
    for number in range(NUM_THINGS + extra):
        chance = rng.random(b)
        rows = np.flatnonzero((chance < 0.75 * around.strength) | (number >= NUM_THINGS))
        cover = _thing(rng, len(rows), pictures.shape[-1])
        _paint_thing(rng, pictures, rows, cover, around.grain, 1 - colour)


def add_shadows(rng: np.random.Generator, pictures: Floats, around: Surroundings) -> None:
    """Darken a band of each picture, objects included, with one soft and one hard side."""
    b, _, side, _ = pictures.shape
    x, y = axes(side)
    rows = np.flatnonzero(rng.random(b) < 0.6 * around.strength)
    n = len(rows)
    _, across = turned(x - 0.5, y - 0.5, pick(rng, 0, 2 * np.pi, n))
    start, width = pick(rng, -0.4, 0.3, n), pick(rng, 0.1, 0.5, n)
    inside = np.clip((across - start) * side, 0, 1) * np.clip((start + width - across) * 8, 0, 1)
    pictures[rows] *= (1 - pick(rng, 0.2, 0.6, n) * inside)[:, None]


def add_occluders(
    rng: np.random.Generator,
    pictures: Floats,
    objects: Bytes,
    scenes: Scenes,
    around: Surroundings,
    occlusion: float,
) -> None:
    """Paint things in front of objects and take what they hide out of the map.

    What would hide too much of an object is left out.
    """
    b, side = len(pictures), pictures.shape[-1]
    whole = _visible(objects)
    for _ in range(NUM_OCCLUDERS):
        rows = np.flatnonzero(rng.random(b) < 0.7 * occlusion)
        cover = _thing(rng, len(rows), side)
        hidden = np.where(cover > 0.5, 0, objects[rows]).astype(np.uint8)
        fine = (_visible(hidden) >= LEAST_VISIBLE * whole[rows]).all(1)
        objects[rows[fine]] = hidden[fine]
        _paint_thing(rng, pictures, rows[fine], cover[fine], around.grain, 0.2)


def axes(side: int) -> tuple[Floats, Floats]:
    """Return (h, w) coordinates of the pixels' centres, x from the left and y from the top, in [0, 1]."""
    y, x = (np.mgrid[:side, :side].astype(np.float32) + np.float32(0.5)) / np.float32(side)
    return x, y


def turned(x: Floats, y: Floats, turn: Floats) -> tuple[Floats, Floats]:
    """Return coordinates in axes that are turned by an angle."""
    cos, sin = np.cos(turn), np.sin(turn)
    return cos * x + sin * y, cos * y - sin * x


def _visible(objects: Bytes) -> NDArray[np.int64]:
    return np.stack([(objects == slot + 1).sum((1, 2)) for slot in range(MAX_OBJECTS)], 1)


def _thing(rng: np.random.Generator, b: int, side: int) -> Floats:
    """Return (b, h, w) how far a stroke or a blob at a random place covers each pixel."""
    x, y = axes(side)
    u, v = turned(x - pick(rng, 0, 1, b), y - pick(rng, 0, 1, b), pick(rng, 0, np.pi, b))
    length, width = pick(rng, 0.05, 0.45, b), pick(rng, 0.015, 0.10, b)
    u += pick(rng, 0, 0.08, b) * np.sin(v * pick(rng, 10, 40, b))
    v += pick(rng, 0, 0.05, b) * np.sin(u * pick(rng, 10, 40, b))
    distance = np.hypot(np.maximum(np.abs(u) - length / 2, 0), v) - width
    return np.clip(0.5 - distance * side, 0, 1)


def _paint_thing(
    rng: np.random.Generator, pictures: Floats, rows: Ints, cover: Floats, grain: Floats, coloured: float
) -> None:
    b = len(rows)
    dull = rng.uniform(0.05, 0.95, (b, 1)) + rng.normal(0, 0.08, (b, 3))
    bright = rgb(rng, rng.integers(len(COLOURS), size=b), 1 - coloured)
    body = np.where(rng.random((b, 1)) < coloured, bright, dull).astype(np.float32)[:, :, None, None]
    texture = (pick(rng, 0, 0.15, b) * grain[rows].transpose(0, 2, 1))[:, None]
    behind = pictures[rows]
    pictures[rows] = behind + cover[:, None] * (body + texture - behind)
