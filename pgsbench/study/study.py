"""A study that has been read and checked, and the resolved configuration of each of its runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pgsbench.config.read import check, is_set, merge, normalise, set_path
from pgsbench.config.schema import RunConfig, StrategyConfig, StudyConfig
from pgsbench.errors import ConfigError
from pgsbench.masking.configure import configure, fields_of, strategy_class


@dataclass(frozen=True)
class Study:
    """A study file that has been read and checked.

    Attributes:
        config: What it says.
        source: Its text, comments included.
        folder: Where it lies; its relative paths start here.
        place: Where a dotted path stands, for messages: file and line, or the override that set it.
    """

    config: StudyConfig
    source: str
    folder: Path
    place: Callable[[str], str] = field(repr=False, compare=False)

    def named(self, name: str) -> Study:
        """Return the same study under another name."""
        return replace(self, config=self.config.model_copy(update={"name": name}))

    def with_seeds(self, seeds: Iterable[int]) -> Study:
        """Return the same study with other seeds."""
        return replace(self, config=self.config.model_copy(update={"seeds": list(seeds)}))

    def run_config(self, arm: str, params: Mapping[str, Any], seed: int) -> RunConfig:
        """Return the resolved configuration of one run.

        Args:
            arm: One of the study's arms.
            params: A point of the search space, dotted path -> value.
            seed: The run's seed.

        Raises:
            ConfigError: The combination is not valid; the message names the arm or the search path.
        """
        base, overrides = self.config.base(), normalise(self.config.arms.get(arm, {}))
        for place, given in ((f"arms.{arm}", overrides), ("search.space", params)):
            if "seed" in given:
                raise ConfigError(
                    "every arm is trained with the same seeds",
                    where=f"{place}.seed",
                    value=given["seed"],
                    way_out="list them under `seeds:`, beside the arms",
                )
        merged = merge(base, overrides)
        for path, value in params.items():
            set_path(merged, path, value)
        merged["seed"] = seed

        def where(path: str) -> str:  # in the arm, unless the mistake is one of the base
            return f"arms.{arm}.{path}" if is_set(overrides, path) else path

        run = check(RunConfig, merged, where)
        place = where("strategy")
        if any(path.startswith("strategy.") for path in params):
            place = f"search.space ({arm}: {', '.join(f'{k}={v}' for k, v in params.items())})"
        strategy = self._complete_strategy(run.strategy, base["strategy"].get("mask_ratio"), where=place)
        return RunConfig(**{**run.model_dump(), "strategy": strategy})

    def _complete_strategy(
        self, given: StrategyConfig, inherited_ratio: float | None, *, where: str
    ) -> dict[str, Any]:
        """Return a strategy with every field of its own; the base's ratio is taken over where it has one."""
        name, fields = given.name, given.fields
        kind = strategy_class(name, where=where, relative_to=self.folder)
        known = {field.name for field in dataclasses.fields(kind) if field.init}
        if inherited_ratio is not None and "mask_ratio" in known:
            fields = {"mask_ratio": inherited_ratio, **fields}
        strategy = configure(name, fields, where=where, relative_to=self.folder)
        if ".py:" in name:  # a worker process does not know the study's folder
            name = str((self.folder / name).resolve())
        return {"name": name, **fields_of(strategy)}
