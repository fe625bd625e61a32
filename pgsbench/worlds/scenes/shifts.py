"""Distribution shifts: the same scenes as the clean pictures, drawn or damaged in another way."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pgsbench.worlds.corruptions import Damage, blur, brightness, noise, sketch, untouched
from pgsbench.worlds.scenes.paint import Look
from pgsbench.worlds.scenes.scene import Scenes


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
    damage: Damage = untouched
    fresh: bool = False
    scale: float = 1.0
    keeps_colour: bool = True

    def change(self, scenes: Scenes) -> Scenes:
        """Return the scenes as this shift shows them."""
        return replace(scenes, radius=(scenes.radius * self.scale).astype(np.float32))


SHIFTS = {
    "resampled": Shift(fresh=True),
    "small": Shift(scale=0.62),
    "cluttered": Shift(look=Look(extra_things=7)),
    "lowcontrast": Shift(look=Look(opacity=(0.35, 0.50))),
    "rendition": Shift(look=Look(flat=True)),
    "sketch": Shift(look=Look(flat=True), damage=sketch, keeps_colour=False),
    "noise": Shift(damage=noise),
    "blur": Shift(damage=blur),
    "brightness": Shift(damage=brightness),
}
