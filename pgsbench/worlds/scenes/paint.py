"""From scenes to pictures: backgrounds, clutter, shadows, objects and light, and the map of objects.

Shape letters: b pictures of one chunk, h = w = side in pixels. Colours are RGB in [0, 1] until the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pgsbench.worlds.scenes import Knobs, clutter, textures
from pgsbench.worlds.scenes.clutter import Surroundings, axes, turned
from pgsbench.worlds.scenes.scene import Floats, Ints, Scenes
from pgsbench.worlds.scenes.textures import pick
from pgsbench.worlds.scenes.words import MAX_OBJECTS, PATTERNS, SHAPES

Bytes = NDArray[np.uint8]

#: Range of the share by which a slope towards the light is brighter than a level place.
RELIEF = (0.0, 0.5)
#: Range of the contrast of an object's own texture; half of the objects are smooth.
BUSY = (0.05, 0.25)
#: Contrast of the surface that a shape has all over, and the distance of its grooves. As with fur, any part
#: of an object tells what it is; outlines alone would ask for the whole of it.
SURFACE, GROOVES = (0.05, 0.15), (0.065, 0.085)
#: Direction of the grooves of each shape, and whether they cross.
_SURFACES = {
    "circle": (0.0, False),
    "square": (np.pi / 2, False),
    "triangle": (np.pi / 4, False),
    "star": (-np.pi / 4, False),
    "cross": (0.0, True),
    "ring": (np.pi / 4, True),
}
#: Range of the saturation and of the contrast of a picture, in units of what was painted.
SATURATION, CONTRAST = (0.4, 1.0), (0.8, 1.7)
#: What contrast leaves as it is.
GREY = np.float32(0.4)


@dataclass(frozen=True)
class Look:
    """How scenes are painted.

    Attributes:
        opacity: Range of how much an object covers what is behind it.
        extra_things: Further things without a name, whatever the clutter.
        flat: Paint like a poster: even background, even colours, dark outlines, no shadow or shading.
    """

    opacity: tuple[float, float] = (0.90, 1.0)
    extra_things: int = 0
    flat: bool = False


def paint(
    seed: np.random.SeedSequence, scenes: Scenes, side: int, knobs: Knobs, look: Look = Look()
) -> tuple[Floats, Bytes]:
    """Return pictures (b, 3, h, w) in [0, 1] and object maps (b, h, w): 0 background, 1.. slot + 1.

    What the parts of a picture draw does not depend on the look: the same seed under another look gives
    the same background, places and colours.
    """
    ground, rough, things, bodies, front, light = (np.random.default_rng(child) for child in seed.spawn(6))
    pictures = textures.paint(ground, scenes.background, scenes.tint, side, 1 - knobs.colour)
    around = Surroundings.draw(rough, len(scenes), side, knobs.clutter)
    if look.flat:
        pictures = _flatten(pictures)
    else:
        clutter.roughen(rough, pictures, around)
        clutter.add_borders(rough, pictures, around)
    clutter.add_things(things, pictures, around, colour=knobs.colour, extra=look.extra_things)
    direction = light.uniform(-np.pi, np.pi, len(scenes)).astype(np.float32)
    objects = np.zeros((len(scenes), side, side), np.uint8)
    painter = _Objects(bodies, pictures, objects, scenes, around, direction, knobs, look)
    for slot in range(MAX_OBJECTS):
        painter.add(slot)
    clutter.add_occluders(front, pictures, objects, scenes, around, knobs.occlusion)
    if not look.flat:
        clutter.add_shadows(rough, pictures, around)
        _shed_light(light, pictures, direction)
    return np.clip(pictures, 0, 1, out=pictures), objects


def _flatten(pictures: Floats) -> Floats:
    mean = pictures.mean((2, 3), keepdims=True)
    return np.broadcast_to(0.45 + 0.55 * mean, pictures.shape).copy()


@dataclass(frozen=True)
class _Objects:
    """Paints objects into pictures (b, 3, h, w) and enters them into their maps, in place."""

    rng: np.random.Generator
    pictures: Floats
    objects: Bytes
    scenes: Scenes
    around: Surroundings
    direction: Floats
    knobs: Knobs
    look: Look

    def add(self, slot: int) -> None:
        """Paint the objects of one slot."""
        scenes, side = self.scenes, self.objects.shape[-1]
        for shape in range(len(SHAPES)):
            rows = np.flatnonzero((scenes.count > slot) & (scenes.shape[:, slot] == shape))
            if not len(rows):
                continue
            u, v = self._own_axes(rows, slot)
            radius = scenes.radius[rows, slot][:, None, None]
            distance = signed_distance(shape, u, v, radius)
            cover = np.clip(0.5 - distance * side, 0, 1)
            body = self._body(rows, slot, u, v)
            opacity = pick(self.rng, *self.look.opacity, len(rows))
            relief = pick(self.rng, *RELIEF, len(rows))
            if self.look.flat:
                body *= np.clip(np.abs(distance) * side - 0.4, 0.15, 1)[:, None]
            else:
                body *= _relief(distance * side, self.direction[rows], relief)[:, None]
                _add_shadow(self.pictures, rows, distance * side, self.direction[rows])
            self.pictures[rows] += (cover * opacity)[:, None] * (body - self.pictures[rows])
            found = self.objects[rows]
            found[cover > 0.5] = slot + 1
            self.objects[rows] = found

    def _own_axes(self, rows: Ints, slot: int) -> tuple[Floats, Floats]:
        """Return (b, h, w) coordinates about the objects' centres, turned with them."""
        x, y = axes(self.objects.shape[-1])
        scenes = self.scenes
        dx, dy = x - scenes.x[rows, slot][:, None, None], y - scenes.y[rows, slot][:, None, None]
        return turned(dx, dy, scenes.angle[rows, slot][:, None, None])

    def _body(self, rows: Ints, slot: int, u: Floats, v: Floats) -> Floats:
        """Return (b, 3, h, w) the objects' colours, pattern and texture, as if they filled the picture."""
        rng, b = self.rng, len(rows)
        colour = textures.rgb(rng, self.scenes.colour[rows, slot], self.knobs.colour)
        # The second colour is a light or a dark version of the first, so the colour word stays true.
        towards = np.where(rng.random((b, 1)) < 0.5, 0.97, 0.08).astype(np.float32)
        second = colour + 0.55 * (towards - colour)
        share = _pattern(rng, self.scenes.pattern[rows, slot], u, v)[:, None]
        body = colour[:, :, None, None] + share * (second - colour)[:, :, None, None]
        busy = pick(rng, *BUSY, b) * (rng.random((b, 1, 1)) < 0.5)
        surface = pick(rng, *SURFACE, b) * _surface(rng, int(self.scenes.shape[rows[0], slot]), u, v)
        if not self.look.flat:
            body *= (1 + busy * self.around.grain[rows, ::-1] / 0.6 + surface)[:, None]
        return body.astype(np.float32)


def _surface(rng: np.random.Generator, shape: int, u: Floats, v: Floats) -> Floats:
    """Return (b, h, w) the surface that all objects of one shape have, between -1 and 1."""
    b = len(u)
    turn, is_crossed = _SURFACES[SHAPES[shape]]
    along, across = turned(u, v, np.full((b, 1, 1), turn, np.float32))
    waves = 2 * np.pi / pick(rng, *GROOVES, b)
    grooves: Floats = np.sin(waves * along + pick(rng, 0, 2 * np.pi, b))
    return grooves * np.sin(waves * across) * 1.5 if is_crossed else grooves


def _pattern(rng: np.random.Generator, pattern: Ints, u: Floats, v: Floats) -> Floats:
    """Return (b, h, w) the share of the second colour."""
    b, side = len(pattern), u.shape[-1]
    pitch, turn = pick(rng, 0.078, 0.110, b), pick(rng, 0, np.pi, b)
    share = np.zeros_like(u)
    striped = np.flatnonzero(pattern == PATTERNS.index("striped"))
    along, _ = turned(u[striped], v[striped], turn[striped])
    p = pitch[striped]
    share[striped] = np.clip(0.5 + np.sin(2 * np.pi / p * along) * p * side / 4, 0, 1)
    dotted = np.flatnonzero(pattern == PATTERNS.index("dotted"))
    p = pitch[dotted]
    cell_u, cell_v = (np.mod(axis / p, 1) - 0.5 for axis in turned(u[dotted], v[dotted], turn[dotted]))
    share[dotted] = np.clip(0.5 + (0.33 - np.hypot(cell_u, cell_v)) * p * side, 0, 1)
    return share


def _relief(distance: Floats, direction: Floats, strength: Floats) -> Floats:
    """Return (b, h, w) factors of light on bodies that rise from their outline like a cut stone."""
    down, right = np.gradient(distance, axis=(1, 2))
    facing = right * np.cos(direction)[:, None, None] + down * np.sin(direction)[:, None, None]
    rim = np.clip(-distance * 0.5, 1 - 0.55 * strength / RELIEF[1], 1)
    return (1 + strength * facing) * rim


def _add_shadow(pictures: Floats, rows: Ints, distance: Floats, direction: Floats) -> None:
    """Darken a soft copy of the objects, moved by two pixels away from the light, in place."""
    soft = 0.35 * np.clip(0.7 - distance / 4, 0, 1)
    shift = np.rint(2 * np.stack([np.sin(direction), np.cos(direction)], -1)).astype(np.int64)
    for dy, dx in np.unique(shift, axis=0):
        same = (shift == (dy, dx)).all(1)
        pictures[rows[same]] *= 1 - np.roll(soft[same], (-dy, -dx), (1, 2))[:, None]


def _stretch(pictures: Floats, centre: Floats | np.float32, factor: Floats) -> None:
    pictures -= centre
    pictures *= factor[:, None]
    pictures += centre


def _shed_light(rng: np.random.Generator, pictures: Floats, direction: Floats) -> None:
    """Add a slope of light, a vignette, a contrast, an exposure, a tint and grain, in place."""
    b, _, side, _ = pictures.shape
    x, y = axes(side)
    x, y = x - 0.5, y - 0.5
    slope = x * np.cos(direction)[:, None, None] + y * np.sin(direction)[:, None, None]
    light = 1 + pick(rng, 0, 0.5, b) * slope - pick(rng, 0, 0.5, b) * (x * x + y * y)
    exposure = rng.uniform(0.7, 1.2, (b, 1, 1, 1)) + rng.normal(0, 0.025, (b, 3, 1, 1))
    pictures *= light[:, None] * exposure.astype(np.float32)
    _stretch(pictures, pictures.mean(1, keepdims=True), pick(rng, *SATURATION, b))
    _stretch(pictures, GREY, pick(rng, *CONTRAST, b))
    noise = rng.standard_normal((b, 1, side, side), dtype=np.float32)
    pictures += noise * pick(rng, 0.004, 0.03, b)[:, None]


# --------------------------------------------------------------------------------------------- shapes


def _circle(x: Floats, y: Floats, radius: Floats) -> Floats:
    return np.hypot(x, y) - 0.86 * radius


def _square(x: Floats, y: Floats, radius: Floats) -> Floats:
    return np.maximum(np.abs(x), np.abs(y)) - 0.70 * radius


def _triangle(x: Floats, y: Floats, radius: Floats) -> Floats:
    # Three half-planes at distance radius / 2 from the centre; the tip points up (y grows downwards).
    slope = np.float32(np.sqrt(3) / 2)
    return np.maximum(np.maximum(y, -0.5 * y + slope * x), -0.5 * y - slope * x) - 0.5 * radius


def _star(x: Floats, y: Floats, radius: Floats) -> Floats:
    # Folded into one tenth of the turn, the outline is the straight line from a tip to an inner corner.
    tenth = np.float32(np.pi / 5)
    turn = np.arctan2(x, -y)
    folded = np.abs(np.mod(turn + tenth, 2 * tenth) - tenth)
    distance = np.hypot(x, y)
    u, v = distance * np.cos(folded), distance * np.sin(folded)
    inner = np.float32(0.45)
    edge_u, edge_v = inner * np.cos(tenth) - 1, inner * np.sin(tenth)
    length = np.hypot(edge_u, edge_v)
    return (edge_v * (u - radius) - edge_u * v) / length


def _cross(x: Floats, y: Floats, radius: Floats) -> Floats:
    long, short = np.maximum(np.abs(x), np.abs(y)), np.minimum(np.abs(x), np.abs(y))
    return np.maximum(long - 0.90 * radius, short - 0.30 * radius)


def _ring(x: Floats, y: Floats, radius: Floats) -> Floats:
    return np.abs(np.hypot(x, y) - 0.72 * radius) - 0.22 * radius


_DISTANCES = dict(zip(SHAPES, (_circle, _square, _triangle, _star, _cross, _ring), strict=True))


def signed_distance(shape: int, x: Floats, y: Floats, radius: Floats) -> Floats:
    """Return the distance of each point to the outline of one shape, negative inside it.

    The shapes are scaled to look equally big; all lie within the radius.

    Args:
        shape: Index into `SHAPES`.
        x: (..., h, w) coordinates relative to the object's centre, already turned.
        y: Likewise; y grows downwards.
        radius: Broadcasts against them.
    """
    return _DISTANCES[SHAPES[shape]](x, y, radius)
