"""From scenes to pictures: backgrounds, clutter, shadows, objects and light, and the map of objects.

Shape letters: b pictures of one chunk, h = w = side in pixels. Colours are RGB in [0, 1] until the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pgsbench.worlds.scenes import textures
from pgsbench.worlds.scenes.scene import Floats, Ints, Scenes
from pgsbench.worlds.scenes.shapes import signed_distance
from pgsbench.worlds.scenes.vocabulary import COLOURS, MAX_OBJECTS, PATTERNS, SHAPES

Bytes = NDArray[np.uint8]

#: Range of hue (turns), saturation and value of each colour word.
_HSV = {
    "red": ((-0.025, 0.02), (0.72, 0.95), (0.60, 0.92)),
    "green": ((0.30, 0.41), (0.55, 0.90), (0.42, 0.80)),
    "blue": ((0.57, 0.66), (0.60, 0.92), (0.50, 0.92)),
    "yellow": ((0.125, 0.160), (0.70, 0.95), (0.78, 0.98)),
}


#: Share by which a slope towards the light is brighter than a level place.
RELIEF = 0.5


@dataclass(frozen=True)
class Look:
    """How scenes are painted.

    Attributes:
        opacity: Range of how much an object covers what is behind it.
        num_strokes: Range of the number of distracting strokes on the background, both ends included.
        stroke_opacity: Largest opacity of a stroke.
        flat: Paint like a poster: even background, even colours, dark outlines, no shadow or shading.
    """

    opacity: tuple[float, float] = (0.80, 1.0)
    num_strokes: tuple[int, int] = (0, 3)
    stroke_opacity: float = 0.55
    flat: bool = False


def paint(
    seed: np.random.SeedSequence,
    scenes: Scenes,
    side: int,
    look: Look = Look(),
) -> tuple[Floats, Bytes]:
    """Return pictures (b, 3, h, w) in [0, 1] and object maps (b, h, w): 0 background, 1.. slot + 1.

    What the parts of a picture draw does not depend on the look: the same seed under another look gives
    the same background, places and colours.
    """
    ground, strokes, bodies, light = (np.random.default_rng(child) for child in seed.spawn(4))
    pictures = textures.paint(ground, scenes.background, scenes.tint, side)
    if look.flat:
        pictures = _flatten(pictures)
    _add_strokes(strokes, pictures, look)
    direction = light.normal(-0.75 * np.pi, 0.35, len(scenes)).astype(np.float32)  # from the upper left
    objects = np.zeros((len(scenes), side, side), np.uint8)
    for slot in range(MAX_OBJECTS):
        _add_objects(bodies, pictures, objects, scenes, slot, direction, look)
    if not look.flat:
        _shed_light(light, pictures, direction)
    return np.clip(pictures, 0, 1, out=pictures), objects


def to_bytes(pictures: Floats) -> Bytes:
    """Return (b, h, w, 3) bytes of (b, 3, h, w) pictures in [0, 1]."""
    pixels = (np.clip(pictures, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))


def _axes(side: int) -> tuple[Floats, Floats]:
    y, x = (np.mgrid[:side, :side].astype(np.float32) + np.float32(0.5)) / np.float32(side)
    return x, y


def _pick(rng: np.random.Generator, low: float, high: float, b: int) -> Floats:
    return rng.uniform(low, high, (b, 1, 1)).astype(np.float32)


def _flatten(pictures: Floats) -> Floats:
    mean = pictures.mean((2, 3), keepdims=True)
    return np.broadcast_to(0.45 + 0.55 * mean, pictures.shape).copy()


def _add_strokes(rng: np.random.Generator, pictures: Floats, look: Look) -> None:
    """Paint distracting strokes and spots in dull colours, in place."""
    b, _, side, _ = pictures.shape
    x, y = _axes(side)
    number = rng.integers(look.num_strokes[0], look.num_strokes[1] + 1, b)
    for stroke in range(look.num_strokes[1]):
        ax, ay, turn = _pick(rng, 0, 1, b), _pick(rng, 0, 1, b), _pick(rng, 0, np.pi, b)
        length, width = _pick(rng, 0.0, 0.5, b), _pick(rng, 0.012, 0.05, b)
        along = (x - ax) * np.cos(turn) + (y - ay) * np.sin(turn)
        across = (y - ay) * np.cos(turn) - (x - ax) * np.sin(turn)
        distance = np.hypot(along - np.clip(along, 0, length), across) - width
        shown = np.reshape(number > stroke, (b, 1, 1))
        opacity = _pick(rng, 0.15, look.stroke_opacity, b) * shown
        cover = (opacity * np.clip(0.5 - distance * side * 0.7, 0, 1))[:, None]
        grey = rng.uniform(0.1, 0.9, (b, 1, 1, 1)) + rng.normal(0, 0.07, (b, 3, 1, 1))
        pictures += cover * (grey.astype(np.float32) - pictures)


def _add_objects(
    rng: np.random.Generator,
    pictures: Floats,
    objects: Bytes,
    scenes: Scenes,
    slot: int,
    direction: Floats,
    look: Look,
) -> None:
    """Paint the objects of one slot and enter them into the map, in place."""
    side = objects.shape[-1]
    for shape in range(len(SHAPES)):
        rows = np.flatnonzero((scenes.count > slot) & (scenes.shape[:, slot] == shape))
        if not len(rows):
            continue
        u, v = _own_axes(scenes, rows, slot, side)
        radius = scenes.radius[rows, slot][:, None, None]
        distance = signed_distance(shape, u, v, radius)
        cover = np.clip(0.5 - distance * side, 0, 1)
        body = _colour_object(rng, scenes, rows, slot, u, v, look)
        opacity = _pick(rng, *look.opacity, len(rows))
        if look.flat:
            body *= np.clip(np.abs(distance) * side - 0.4, 0.15, 1)[:, None]
        else:
            body *= _relief(distance * side, direction[rows])[:, None]
            _add_shadow(pictures, rows, distance * side, direction[rows])
        pictures[rows] += (cover * opacity)[:, None] * (body - pictures[rows])
        found = objects[rows]
        found[cover > 0.5] = slot + 1
        objects[rows] = found


def _own_axes(scenes: Scenes, rows: Ints, slot: int, side: int) -> tuple[Floats, Floats]:
    """Return (b, h, w) coordinates about the objects' centres, turned with them."""
    x, y = _axes(side)
    dx, dy = x - scenes.x[rows, slot][:, None, None], y - scenes.y[rows, slot][:, None, None]
    angle = scenes.angle[rows, slot][:, None, None]
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * dx + sin * dy, cos * dy - sin * dx


def _colour_object(
    rng: np.random.Generator, scenes: Scenes, rows: Ints, slot: int, u: Floats, v: Floats, look: Look
) -> Floats:
    """Return (b, 3, h, w) the objects' colours with their pattern, as if they filled the picture."""
    b = len(rows)
    colour = _rgb(rng, scenes.colour[rows, slot])
    # The second colour is a light or a dark version of the first, so the colour word stays true.
    towards = np.where(rng.random((b, 1)) < 0.5, 0.97, 0.08).astype(np.float32)
    second = colour + 0.55 * (towards - colour)
    pitch = _pick(rng, 0.078, 0.100, b)
    turn = _pick(rng, 0, np.pi, b)
    along, across = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
    side = u.shape[-1]
    stripes = np.clip(0.5 + np.sin(2 * np.pi / pitch * along) * pitch * side / 4, 0, 1)
    cell_u, cell_v = (np.mod(axis / pitch, 1) - 0.5 for axis in (along, across))
    dots = np.clip(0.5 + (0.33 - np.hypot(cell_u, cell_v)) * pitch * side, 0, 1)
    pattern = scenes.pattern[rows, slot][:, None, None]
    share = np.where(pattern == PATTERNS.index("striped"), stripes, 0)
    share = np.where(pattern == PATTERNS.index("dotted"), dots, share)[:, None]
    body = colour[:, :, None, None] + share * (second - colour)[:, :, None, None]
    typed: Floats = body.astype(np.float32)
    return typed


def _rgb(rng: np.random.Generator, colour: Ints) -> Floats:
    """Return (b, 3) RGB of colour words, each a little different."""
    ranges = np.asarray([_HSV[name] for name in COLOURS], np.float32)[colour]
    low, high = ranges[..., 0], ranges[..., 1]
    hue, saturation, value = (low + (high - low) * rng.random(low.shape, dtype=np.float32)).T
    # The usual HSV formula, channel by channel.
    place = np.mod(np.asarray([5, 3, 1], np.float32)[None] + 6 * hue[:, None], 6)
    dip = np.clip(np.minimum(place, 4 - place), 0, 1)
    rgb: Floats = (value[:, None] * (1 - saturation[:, None] * dip)).astype(np.float32)
    return rgb


def _relief(distance: Floats, direction: Floats) -> Floats:
    """Return (b, h, w) factors of light on bodies that rise from their outline like a cut stone."""
    down, right = np.gradient(distance, axis=(1, 2))
    facing = right * np.cos(direction)[:, None, None] + down * np.sin(direction)[:, None, None]
    rim = np.clip(-distance * 0.5, 0.45, 1)
    light: Floats = (1 + RELIEF * facing) * rim
    return light


def _add_shadow(pictures: Floats, rows: Ints, distance: Floats, direction: Floats) -> None:
    """Darken a soft copy of the objects, moved by two pixels away from the light, in place."""
    soft = 0.35 * np.clip(0.7 - distance / 4, 0, 1)
    shift = np.rint(2 * np.stack([np.sin(direction), np.cos(direction)], -1)).astype(np.int64)
    for dy, dx in np.unique(shift, axis=0):
        same = (shift == (dy, dx)).all(1)
        pictures[rows[same]] *= 1 - np.roll(soft[same], (-dy, -dx), (1, 2))[:, None]


def _shed_light(rng: np.random.Generator, pictures: Floats, direction: Floats) -> None:
    """Add a slope of light, a vignette, an exposure, a tint and grain, in place."""
    b, _, side, _ = pictures.shape
    x, y = _axes(side)
    x, y = x - 0.5, y - 0.5
    slope = x * np.cos(direction)[:, None, None] + y * np.sin(direction)[:, None, None]
    light = 1 + _pick(rng, 0, 0.5, b) * slope - _pick(rng, 0, 0.5, b) * (x * x + y * y)
    exposure = rng.uniform(0.85, 1.12, (b, 1, 1, 1)) + rng.normal(0, 0.025, (b, 3, 1, 1))
    pictures *= light[:, None] * exposure.astype(np.float32)
    grain = rng.standard_normal((b, 1, side, side), dtype=np.float32)
    pictures += grain * _pick(rng, 0.008, 0.035, b)[:, None]
