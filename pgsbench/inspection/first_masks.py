"""Masks as a training draws them at its beginning, when only pixels count (progress 0).

Strategies that compare tokens, too, get none. So no image tower has to run, and an untrained one would add
noise.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pgsbench.data.transforms import normalise
from pgsbench.errors import StudyError
from pgsbench.masking.base import Fuser, PatchView, Selection, Strategy, view_of
from pgsbench.masking.coverage import object_shares
from pgsbench.masking.noise import Draws
from pgsbench.masking.pgs import Pgs, PgsStages
from pgsbench.masking.selection_check import select_checked
from pgsbench.models.clip import Clip
from pgsbench.models.tower_layout import layout_of


def first_view(clip: Clip, images: Tensor, objects: Tensor | None) -> PatchView:
    """Return what strategies see of (b, 3, h, w) uint8 pictures at progress 0.

    Args:
        clip: The model whose patches are meant.
        images: Pictures at the model's size.
        objects: (b, h, w) object maps, or None where unknown.
    """
    patch_size = layout_of(clip.model).patch_size
    shares = None if objects is None else object_shares(objects, patch_size)
    return view_of(normalise(images, clip.mean, clip.std), patch_size, objects=shares)


def draw(strategy: Strategy, view: PatchView, *, seed: int, step: int) -> Selection:
    """Choose patches as training with this seed does at this step.

    Raises:
        PluginError: The strategy looks at what it does not need, or its answer is malformed.
    """
    with torch.no_grad():
        return select_checked(strategy, view, draws=Draws.of_batch(view.batch_size, seed=seed, step=step))


def draw_stages(strategy: Pgs, view: PatchView, *, seed: int, step: int) -> PgsStages:
    """Return edge map, candidates and scores of pgs on the way to what `draw` chooses."""
    with torch.no_grad():
        return strategy.stages(view, draws=Draws.of_batch(view.batch_size, seed=seed, step=step))


def usable(strategies: Mapping[str, Strategy], *, has_objects: bool) -> tuple[dict[str, Strategy], list[str]]:
    """Return the strategies that need no training to be seen, and a sentence on each that is left out.

    Raises:
        StudyError: No strategy is left.
    """
    reasons = {}
    for name, strategy in strategies.items():
        if "attention" in strategy.needs:
            reasons[name] = "it needs the attention of a teacher"
        elif isinstance(strategy, Fuser):
            reasons[name] = "it merges tokens between the blocks of a tower"
        elif "objects" in strategy.needs and not has_objects:
            reasons[name] = "it needs object maps, which these data lack"
    left = {name: strategy for name, strategy in strategies.items() if name not in reasons}
    notes = [f"Left out: {name}; {reason}." for name, reason in reasons.items()]
    if not left:
        raise StudyError("no strategy can run on these data", way_out=" ".join(notes))
    return left, notes
