"""One run of a study before it is checked: what it would be, and where its mistakes stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pgsbench.config.read import is_set, merge, normalise, set_path
from pgsbench.config.schema import SHORT_FORMS, RunConfig, StudyConfig
from pgsbench.config.training import TrainingConfig
from pgsbench.errors import ConfigError, UserError, nearest

#: Paths whose value decides which other fields there are.
_NAMES = ("strategy.name", "text.strategy")


@dataclass(frozen=True)
class Draft:
    """An arm of a study, a point of its search and a seed.

    Attributes:
        study: The study.
        arm: One of its arms.
        params: The point, dotted path -> value; empty where nothing is searched.
        seed: The run's seed.
    """

    study: StudyConfig
    arm: str
    params: Mapping[str, Any]
    seed: int

    @cached_property
    def overrides(self) -> dict[str, Any]:
        """What the arm sets."""
        return normalise(self.study.arms.get(self.arm, {}))

    def settings(self) -> dict[str, Any]:
        """Return the whole configuration, unchecked: base, arm, what it was tuned to, point and seed."""
        merged = merge(self.study.base(), self.overrides)
        # A searched strategy takes over what an arm with another one takes over, so names are set first.
        chosen = {**self.study.tuned.get(self.arm, {}), **self.params}
        for path, value in sorted(chosen.items(), key=lambda param: param[0] not in _NAMES):
            point: dict[str, Any] = {}
            set_path(point, path, value)
            merged = merge(merged, point)
        return {**merged, "seed": self.seed}

    def inherited(self, section: str) -> dict[str, Any]:
        """Return the fields that a strategy of this section may take over: the base's, then the arm's."""
        base = self.study.base()
        of_arm = merge(base, self.overrides)[section]
        return {**base[section], **(of_arm if isinstance(of_arm, Mapping) else {})}

    def where(self, path: str) -> str:
        """Return where a value stands: in the arm, unless it is one of the base."""
        return f"arms.{self.arm}.{path}" if is_set(self.overrides, path) else path

    def where_in(self, section: str, path: str) -> str:
        """Return where a value of a section stands: in the point, in the arm or in the base.

        `path` may end with a comma and a file, which stay.
        """
        path, comma, file = path.partition(", ")
        if any(param.partition(".")[0] == section for param in self.params):
            values = ", ".join(f"{name}={value}" for name, value in self.params.items())
            path = f"search.space ({self.arm}: {values})"
        elif section in SHORT_FORMS and is_set(self.overrides, f"{section}.{SHORT_FORMS[section]}"):
            path = f"arms.{self.arm}.{path}"
        else:
            path = self.where(path)
        return f"{path}{comma}{file}"

    def seed_problems(self) -> list[UserError]:
        """Return what is wrong where an arm or a search sets a seed."""
        return [
            ConfigError(
                "every arm is trained with the same seeds",
                where=f"{place}.seed",
                value=given["seed"],
                way_out="list them under `seeds:`, beside the arms",
            )
            for place, given in ((f"arms.{self.arm}", self.overrides), ("search.space", self.params))
            if "seed" in given
        ]

    def keep_problems(self, run: RunConfig) -> Iterator[UserError]:
        """Yield what is wrong with the checkpoints that a run keeps."""
        keep, during = run.training.keep, self.study.evaluation.during
        if keep is not None and keep.best is not None and keep.best not in (during.tasks if during else ()):
            yield ConfigError(
                "the best checkpoint is that of a task or group that evaluation.during names",
                where=self.where_in("training", "training.keep.best"),
                value=keep.best,
                way_out=nearest(keep.best, during.tasks) if during else "set evaluation.during",
            )

    def length_problems(self, run: RunConfig) -> Iterator[UserError]:
        """Yield what is wrong with the number of pairs of a run, and with its warm-up.

        A budget decides the number, and whether the warm-up ends within it (`pgsbench.study.budget`).
        """
        training, rule, way_out = run.training, "", ""
        if run.budget is not None:
            path, value = "training.samples", training.samples
            is_told = is_set(self.overrides, path) or path in self.params
            default = TrainingConfig.model_fields["samples"].default  # in a record it stands like a value
            if is_told or self.study.training.samples != default:
                rule = "the number of pairs follows from the budget"
                way_out = "leave it out, or say `budget: null`"
        else:
            path, value = "training.warmup_steps", training.warmup_steps or 0
            if value > training.longest_warmup:
                before = "training" if training.schedule == "cosine" else "part before the decay"
                rule = f"the warm-up is longer than the {before}, which has {training.longest_warmup:,} steps"
                way_out = "say less, or `warmup_steps: null` and a warmup_share"
        if rule:
            yield ConfigError(rule, where=self.where_in("training", path), value=value, way_out=way_out)
