"""Scenes: a generated world of pictures and captions in which masks matter, and every object is known.

`make` writes it once as ordinary shards and evaluation sets; nothing below reads it in a special way.
"""

from __future__ import annotations

from pathlib import Path

from pgsbench.data.store import Progress
from pgsbench.errors import DataError
from pgsbench.worlds.scenes.recipe import Knobs, Recipe, identity, knobs_of, recipe_with

__all__ = ["Knobs", "Recipe", "identity", "knobs_of", "make", "recipe_with"]


def make(
    root: Path,
    *,
    recipe: Recipe = Recipe(),  # noqa: B008
    source: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Make the data set under `root`, or reuse it, and return its folder; see `build.make`.

    Raises:
        DataError: There is a source.
    """
    if source is not None:
        raise DataError(
            "scenes are generated: there is nothing to read them from",
            where="--from",
            value=str(source),
            way_out="pgsbench data make scenes",
        )
    from pgsbench.worlds.scenes import build  # numpy and Pillow are only needed to make one

    return build.make(root, recipe=recipe, progress=progress)
