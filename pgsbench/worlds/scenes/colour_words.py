"""Colour words as RGB in [0, 1], each time a little different."""

from __future__ import annotations

import numpy as np

from pgsbench.worlds.scenes.scene import Floats, Ints
from pgsbench.worlds.scenes.vocabulary import COLOURS

#: Range of hue (turns), saturation and value of each colour word where colours stand out most.
_HSV = {
    "red": ((-0.025, 0.02), (0.72, 0.95), (0.60, 0.92)),
    "green": ((0.30, 0.41), (0.55, 0.90), (0.42, 0.80)),
    "blue": ((0.57, 0.66), (0.60, 0.92), (0.50, 0.92)),
    "yellow": ((0.125, 0.160), (0.70, 0.95), (0.78, 0.98)),
}
#: Factors on saturation where colours stand out least.
_PALE = (0.45, 0.8)
#: Least value (brightness) there, in units of what it else is.
_DARK = 0.55


def rgb(rng: np.random.Generator, colour: Ints, vividness: float) -> Floats:
    """Return (b, 3) RGB of colour words, paler and of more different brightness where less vivid."""
    ranges = np.asarray([_HSV[name] for name in COLOURS], np.float32)[colour]
    low, high = ranges[..., 0], ranges[..., 1]
    hue, saturation, value = (low + (high - low) * rng.random(low.shape, dtype=np.float32)).T
    pale, dark = rng.uniform(*_PALE, len(colour)), rng.uniform(_DARK, 1, len(colour))
    saturation = saturation * (vividness + (1 - vividness) * pale)
    value = value * (vividness + (1 - vividness) * dark)
    # The usual HSV formula, channel by channel.
    place = np.mod(np.asarray([5, 3, 1], np.float32)[None] + 6 * hue[:, None], 6)
    dip = np.clip(np.minimum(place, 4 - place), 0, 1)
    found: Floats = (value[:, None] * (1 - saturation[:, None] * dip)).astype(np.float32)
    return found
