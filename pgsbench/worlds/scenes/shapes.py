"""Signed distances of the shapes: negative inside, zero on the outline, in the units of the coordinates.

Each function takes (..., h, w) coordinates relative to the object's centre, already turned, and a radius
that broadcasts against them. The shapes are scaled to look equally big; all lie within the radius.
"""

from __future__ import annotations

import numpy as np

from pgsbench.worlds.scenes.scene import Floats
from pgsbench.worlds.scenes.words import SHAPES


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
    """Return the distance of each point to the outline of one shape, negative inside it."""
    return _DISTANCES[SHAPES[shape]](x, y, radius)
