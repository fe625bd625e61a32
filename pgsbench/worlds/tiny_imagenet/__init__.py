"""Tiny-ImageNet: 100,000 photos of 64 x 64 pixels in 200 classes, each with the box of its object.

Its photos are not made but read, from the official archive; what is written is what every other built-in data
set has:

==================  ==================================================================================
train               the first photos of each class as they are, a caption from CLIP's templates, the box
eval/val            the validation photos; 200 classes
eval/val-shifted    the same, each under one of the four kinds of damage that scenes know
eval/val-a, val-b   two halves of the classes, each with its own photos: what is chosen on one half can
                    be confirmed on the other
==================  ==================================================================================
"""

from __future__ import annotations

from pathlib import Path

from pgsbench.data.store import Progress
from pgsbench.worlds.tiny_imagenet.recipe import Recipe, identity

__all__ = ["Recipe", "identity", "make"]


def make(
    root: Path,
    *,
    recipe: Recipe = Recipe(),  # noqa: B008
    source: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Make the data set under `root`, or reuse it, and return its folder; see `build.make`."""
    from pgsbench.worlds.tiny_imagenet import build  # numpy and Pillow are only needed to make one

    return build.make(root, recipe=recipe, source=source, progress=progress)
