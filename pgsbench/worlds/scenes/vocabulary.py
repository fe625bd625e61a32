"""The words of the generated world. Their order is the meaning of the integers in `Scenes`."""

from __future__ import annotations

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
COLOURS = ("red", "green", "blue", "yellow")
PATTERNS = ("plain", "striped", "dotted")
SIZES = ("small", "large")
BACKGROUNDS = ("sand", "grass", "water", "bricks", "wood", "stone")
COUNTS = ("one object", "two objects", "three objects")
OPPOSITE = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
}
RELATIONS = tuple(OPPOSITE)
MAX_OBJECTS = len(COUNTS)
