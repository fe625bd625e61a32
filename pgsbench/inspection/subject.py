"""Whose masks a command looks at: a study's arms on its data, or strategies on any training data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgsbench.errors import ConfigError, nearest
from pgsbench.study.shipped import find_study, shipped_studies

if TYPE_CHECKING:
    from pgsbench.config.schema import DataConfig
    from pgsbench.masking.base import Strategy
    from pgsbench.study.study import Study


@dataclass(frozen=True)
class Subject:
    """Strategies and the data they look at.

    Attributes:
        name: Of the study or the data, for titles and folders.
        data: The training data.
        model: The model whose patches are meant.
        strategies: Name -> strategy.
        own_names: Name -> the strategy's own name, as a study gives it.
        batch_size: Pictures in a training batch.
        seed: Decides the batches.
        study: The study, where one was named.
    """

    name: str
    data: DataConfig
    model: str
    strategies: dict[str, Strategy]
    own_names: dict[str, str]
    batch_size: int = 64
    seed: int = 0
    study: Study | None = None


def is_study(name: str) -> bool:
    """Tell whether a word on the command line names a study, by path or as one that ships."""
    if name.endswith((".yaml", ".yml")):
        return True
    try:
        return find_study(name).suffix in (".yaml", ".yml")
    except ConfigError:
        return False


def study_subject(name: str, arms: Sequence[str] | None, *, mask_ratio: float | None = None) -> Subject:
    """Return a study's arms at the base of its search space, or some of them, on the base's data.

    Args:
        name: The study.
        arms: Arms, or strategies that the study has no arm for, which then inherit its mask ratio.
        mask_ratio: Of all strategies that have one, in place of the study's.

    Raises:
        ConfigError: The study has mistakes, or a strategy cannot have this mask ratio.
        StudyError: A name is neither an arm nor a strategy.
    """
    from pgsbench.config.schema import arm_name
    from pgsbench.study.open import open_study
    from pgsbench.study.plan import with_arms

    study = open_study(find_study(name))
    config, wanted = study.config, arms or study.config.arm_names
    complete = with_arms(study, wanted)
    runs = {arm: complete.run_config(arm, {}, config.seeds[0]) for arm in map(arm_name, wanted)}
    strategies = {
        arm: _at_ratio(mask_ratio, run.strategy.name, run.strategy.fields, where=f"arms.{arm}.strategy")
        for arm, run in runs.items()
    }
    return Subject(
        config.name,
        config.data,
        config.model.name,
        strategies,
        {arm: run.strategy.name for arm, run in runs.items()},
        config.training.batch_size,
        config.seeds[0],
        study,
    )


def data_subject(train: str, strategies: Sequence[str]) -> Subject:
    """Return strategies at their defaults on training data: a built-in data set, or shards.

    Raises:
        ConfigError: `train` is neither.
        PluginError: A name stands for no strategy.
    """
    from pgsbench.config.schema import DataConfig
    from pgsbench.data.store import BUILTIN

    if re.fullmatch(r"[\w-]+", train) and train not in BUILTIN and not Path(train).exists():
        studies = [path.stem for path in shipped_studies().rglob("*.yaml")]
        way_out = nearest(train, [*studies, *BUILTIN])
        raise ConfigError("neither a study nor training data", value=train, way_out=way_out)
    path = Path(train)
    name = path.parent.name if path.suffix == ".tar" else path.name  # shards are called after their folder
    data = DataConfig(train=train)
    chosen = named_strategies(strategies)
    return Subject(name or "shards", data, "scenes-vit", chosen, {name: name for name in chosen})


def named_strategies(names: Sequence[str], *, mask_ratio: float | None = None) -> dict[str, Strategy]:
    """Return strategies by name, all at one mask ratio where they have one and it is given.

    Raises:
        ConfigError: The mask ratio is out of range.
        PluginError: A name stands for no strategy.
    """
    return {name: _at_ratio(mask_ratio, name, {}, where="--strategies") for name in dict.fromkeys(names)}


def _at_ratio(ratio: float | None, name: str, fields: Mapping[str, Any], *, where: str) -> Strategy:
    from pgsbench.masking.configure import configure, strategy_class

    if ratio is None or "mask_ratio" not in strategy_class(name, where=where).__dataclass_fields__:
        return configure(name, fields, where=where)
    try:
        return configure(name, {**fields, "mask_ratio": ratio}, where=where)
    except ConfigError as error:  # such as a largest ratio below it
        raise ConfigError(
            error.rule,
            where=f"--mask-ratio {ratio}, {error.where}",
            value=error.value,
            way_out="name those that can have it: --strategies A,B",
        ) from error
