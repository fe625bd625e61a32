"""Distribution shifts: the same scenes as the clean pictures, drawn or damaged in another way.

Shapes: pictures (b, 3, h, w) float32 in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pgsbench.worlds.scenes.paint import Look
from pgsbench.worlds.scenes.scene import Floats, Scenes

Damage = Callable[[np.random.Generator, Floats], Floats]


def _untouched(rng: np.random.Generator, pictures: Floats) -> Floats:
    return pictures


def _noise(rng: np.random.Generator, pictures: Floats) -> Floats:
    noisy: Floats = pictures + np.float32(0.16) * rng.standard_normal(pictures.shape, dtype=np.float32)
    return noisy


def _blur(rng: np.random.Generator, pictures: Floats) -> Floats:
    for _ in range(5):  # five passes of [1 2 1] / 4 both ways are near a Gaussian of 1.6 pixels
        for axis in (2, 3):
            pad = [(0, 0)] * 4
            pad[axis] = (1, 1)
            wide = np.moveaxis(np.pad(pictures, pad, mode="edge"), axis, 0)
            mean = (wide[:-2] + 2 * wide[1:-1] + wide[2:]) / np.float32(4)
            pictures = np.moveaxis(mean, 0, axis)
    return pictures


def _brightness(rng: np.random.Generator, pictures: Floats) -> Floats:
    b = len(pictures)
    dark = rng.random((b, 1, 1, 1)) < 0.5
    gamma = np.where(dark, 2.0, 0.45).astype(np.float32)
    gain = np.where(dark, 0.7, 1.15).astype(np.float32)
    return np.clip(pictures, 0, 1) ** gamma * gain


def _sketch(rng: np.random.Generator, pictures: Floats) -> Floats:
    grey = pictures.mean(1)
    slope_y, slope_x = np.gradient(grey, axis=(1, 2))
    ink = np.clip(np.hypot(slope_x, slope_y) * 6 - 0.08, 0, 0.9)
    paper = np.float32(0.95) + np.float32(0.02) * rng.standard_normal(grey.shape, dtype=np.float32)
    return np.repeat((paper * (1 - ink))[:, None], 3, axis=1).astype(np.float32)


@dataclass(frozen=True)
class Shift:
    """One kind of shift.

    Attributes:
        look: How the scenes are painted.
        damage: What happens to the finished pictures.
        fresh: Draw other scenes instead of repainting the clean ones.
        scale: Factor on the objects' radii.
        keeps_colour: Whether the colour task makes sense under the shift.
    """

    look: Look = Look()  # noqa: RUF009  (frozen)
    damage: Damage = _untouched
    fresh: bool = False
    scale: float = 1.0
    keeps_colour: bool = True

    def change(self, scenes: Scenes) -> Scenes:
        """Return the scenes as this shift shows them."""
        return replace(scenes, radius=(scenes.radius * self.scale).astype(np.float32))


SHIFTS = {
    "resampled": Shift(fresh=True),
    "small": Shift(scale=0.62),
    "cluttered": Shift(look=Look(num_strokes=(10, 16), stroke_opacity=0.95)),
    "lowcontrast": Shift(look=Look(opacity=(0.30, 0.45))),
    "rendition": Shift(look=Look(flat=True)),
    "sketch": Shift(look=Look(flat=True, num_strokes=(0, 0)), damage=_sketch, keeps_colour=False),
    "noise": Shift(damage=_noise),
    "blur": Shift(damage=_blur),
    "brightness": Shift(damage=_brightness),
}
