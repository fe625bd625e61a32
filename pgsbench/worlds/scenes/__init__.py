"""Scenes: a generated world of pictures and captions in which masks matter, and every object is known.

`make` writes it once as ordinary shards and evaluation sets; nothing below reads it in a special way.
"""

from __future__ import annotations

from pathlib import Path

from pgsbench.data.store import Progress, no_source
from pgsbench.worlds.scenes.recipe import Knobs, Recipe, identity, knobs_of, recipe_with

__all__ = ["Knobs", "Recipe", "identity", "knobs_of", "make", "recipe_with"]


def make(
    root: Path,
    *,
    recipe: Recipe = Recipe(),  # noqa: B008
    source: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Make the data set under `root`, or reuse it, and return its folder; see `build.make`."""
    no_source("scenes", source)
    from pgsbench.worlds.scenes import build  # numpy and Pillow are only needed to make one

    return build.make(root, recipe=recipe, progress=progress)
