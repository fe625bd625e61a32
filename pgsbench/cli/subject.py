"""Whose masks a command looks at: a study's arms on its data, or strategies on any training data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pgsbench.cli.options import find_study, shipped_studies
from pgsbench.errors import ConfigError, nearest

if TYPE_CHECKING:
    from pgsbench.config.load import Study
    from pgsbench.config.schema import DataConfig
    from pgsbench.masking.base import Strategy


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
        mask_ratio: Takes the place of the study's.

    Raises:
        ConfigError: The study has mistakes.
        StudyError: A name is neither an arm nor a strategy.
    """
    from pgsbench.masking.configure import configure
    from pgsbench.masking.study import open_study
    from pgsbench.sweeps.plan import with_arms

    changed = [] if mask_ratio is None else [f"strategy.mask_ratio={mask_ratio}"]
    study = open_study(find_study(name), overrides=changed)
    config, wanted = study.config, list(dict.fromkeys(arms or study.config.arm_names))
    runs = {arm: with_arms(study, wanted).run_config(arm, {}, config.seeds[0]) for arm in wanted}
    strategies = {arm: configure(run.strategy.name, run.strategy.fields) for arm, run in runs.items()}
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
    from pgsbench.masking.configure import configure, strategy_class

    chosen = {}
    for name in dict.fromkeys(names):
        kind = strategy_class(name, where="--strategies")
        has_ratio = "mask_ratio" in kind.__dataclass_fields__
        fields = {"mask_ratio": mask_ratio} if has_ratio and mask_ratio is not None else {}
        chosen[name] = configure(name, fields, where="--strategies")
    return chosen
