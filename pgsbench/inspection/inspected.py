"""What is inspected: a study's arms on its data, or strategies on any training data, as training begins.

At its beginning (progress 0) only pixels count: strategies that compare tokens, too, get none. So no image
tower has to run, and an untrained one would add noise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pgsbench.config.data import DataConfig
from pgsbench.config.schema import arm_name
from pgsbench.data import store
from pgsbench.data.transforms import normalise
from pgsbench.errors import ConfigError, StudyError, nearest
from pgsbench.masking import STRATEGIES
from pgsbench.masking.base import Fuser, PatchView, Selection, Strategy, view_of
from pgsbench.masking.configure import configure, strategy_class
from pgsbench.masking.coverage import object_shares
from pgsbench.masking.noise import Draws
from pgsbench.masking.pgs import Pgs, PgsStages
from pgsbench.masking.selection_check import select_checked
from pgsbench.models.clip import Clip
from pgsbench.models.tower_layout import layout_of
from pgsbench.study import studies
from pgsbench.study.open import find_study, open_study_file
from pgsbench.study.plan import with_arms

#: Left out where all strategies are wanted: one masks nothing, the other as `random` does.
NOT_APART = ("none", "flip")


@dataclass(frozen=True)
class Inspected:
    """Strategies, and the training data whose batches they mask.

    Attributes:
        name: Of the study or the data, for titles and folders.
        data: The training data.
        model: The model whose patches are meant.
        strategies: Name -> strategy.
        batch_size: Pictures in a training batch.
        seed: Decides the batches.
        is_study: Whether a study was named.
    """

    name: str
    data: DataConfig
    model: str
    strategies: dict[str, Strategy]
    batch_size: int = 64
    seed: int = 0
    is_study: bool = False


def inspected(study_or_data: str, strategies: Sequence[str] | None = None) -> Inspected:
    """Find what a name on the command line stands for.

    Args:
        study_or_data: A study, a built-in data set, or shards.
        strategies: Names; None: the arms of a study, and on data all strategies but `NOT_APART`.

    Raises:
        UserError: It is neither, or there is no such strategy.
    """
    if is_study(study_or_data):
        return arms_of_study(study_or_data, strategies)
    path, known = Path(study_or_data), [*store.BUILTIN, *store.own_names()]
    if re.fullmatch(r"[\w-]+", study_or_data) and study_or_data not in known and not path.exists():
        ship = [path.stem for path in studies().values()]
        way_out = nearest(study_or_data, [*ship, *known])
        raise ConfigError("neither a study nor training data", value=study_or_data, way_out=way_out)
    name = path.parent.name if path.suffix == ".tar" else path.name  # shards are called after their folder
    masks = named_strategies(strategies or [one for one in STRATEGIES.builtin if one not in NOT_APART])
    return Inspected(name or "shards", DataConfig(train=study_or_data), "scenes-vit", masks)


def is_study(name: str) -> bool:
    """Tell whether a word on the command line names a study, by path or as one that ships."""
    if name.endswith((".yaml", ".yml")):
        return True
    try:
        return find_study(name).suffix in (".yaml", ".yml")
    except ConfigError:
        return False


def arms_of_study(name: str, arms: Sequence[str] | None, *, mask_ratio: float | None = None) -> Inspected:
    """Return a study's arms at the base of its search space, or some of them, on the base's data.

    Args:
        name: The study.
        arms: Arms, or strategies that the study has no arm for, which then inherit its mask ratio.
        mask_ratio: Of all strategies that have one, in place of the study's.

    Raises:
        ConfigError: The study has mistakes, or a strategy cannot have this mask ratio.
        StudyError: A name is neither an arm nor a strategy.
    """
    study = open_study_file(find_study(name))
    config, wanted = study.config, arms or study.config.arm_names
    complete = with_arms(study, wanted)
    runs = {arm: complete.run_config(arm, {}, config.seeds[0]) for arm in map(arm_name, wanted)}
    strategies = {
        arm: _at_ratio(mask_ratio, run.strategy.name, run.strategy.fields, where=f"arms.{arm}.strategy")
        for arm, run in runs.items()
    }
    return Inspected(
        config.name,
        config.data,
        config.model.name,
        strategies,
        config.training.batch_size,
        config.seeds[0],
        is_study=True,
    )


def named_strategies(names: Sequence[str], *, mask_ratio: float | None = None) -> dict[str, Strategy]:
    """Return strategies by name, all at one mask ratio where they have one and it is given.

    ``file.py:Class`` is called ``Class``, as an arm would be, unless another one is.

    Raises:
        ConfigError: The mask ratio is out of range.
        PluginError: A name stands for no strategy.
    """
    found: dict[str, Strategy] = {}
    for name in dict.fromkeys(names):
        called = arm_name(name) if arm_name(name) not in found else name
        found[called] = _at_ratio(mask_ratio, name, {}, where="--strategies")
    return found


def _at_ratio(ratio: float | None, name: str, fields: Mapping[str, Any], *, where: str) -> Strategy:
    if ratio is not None and not 0 <= ratio < 1:
        raise ConfigError("must be in [0, 1)", where="--mask-ratio", value=ratio)
    if ratio is not None and "mask_ratio" in strategy_class(name, where=where).__dataclass_fields__:
        fields = {**fields, "mask_ratio": ratio}
    return configure(name, fields, where=where)


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
