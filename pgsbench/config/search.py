"""What `pgsbench sweep` searches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from pgsbench.config.strict import MismatchError, Strict

#: What a search can set a score against, or keep below a limit.
COSTS = ("train_seconds", "tokens", "flops", "memory")

#: The score that is searched unless another is named: the mean of the suite's groups.
MEAN = "mean"

Choice = bool | int | float | str | None

Pruner = Literal["median", "halving", "wilcoxon"]

#: Larger seeds are slips of the pen.
MAX_SEED = 2**32 - 1

#: Value of another path, or of ``arm``, on which a path of a search space depends.
When = dict[str, Annotated[list[Choice], Field(min_length=1)]]
WHEN = "The path exists only where these paths, or `arm`, have one of these values."


class Range(Strict):
    """An interval of a search space."""

    low: float
    high: float
    log: bool = Field(False, description="Search on a logarithmic scale.")
    step: float | None = Field(
        None,
        gt=0,
        description="Distance of two neighbours; a grid needs one. Default: 1 where the field takes whole "
        "numbers only.",
    )
    when: When = Field(default_factory=dict, description=WHEN)

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low < self.high:
            raise MismatchError("low must be below high", "low", "high")
        is_whole = self.step == 1 and self.low.is_integer() and self.high.is_integer()
        if self.log and (self.low <= 0 or not (self.step is None or is_whole)):
            raise MismatchError(
                "a logarithmic range needs low > 0 and no step but 1 between whole numbers",
                "low",
                "high",
                "log",
                "step",
            )
        return self


class Listed(Strict):
    """Choices of a search space that depend on others."""

    choices: list[Choice] = Field(min_length=1)
    when: When = Field(default_factory=dict, description=WHEN)


def _kind(given: Any) -> str:
    # By its keys: of a union without a rule, pydantic would tell what is wrong for each member.
    if isinstance(given, Mapping):
        return "[Listed]" if any(str(key).startswith("choice") for key in given) else "[Range]"
    return f"[{type(given).__name__}]" if isinstance(given, Range | Listed) else "[list]"


#: What a path of a search space is given. Tags have brackets, so that no path of a message shows them.
Searched = Annotated[
    Annotated[list[Choice], Field(min_length=1), Tag("[list]")]
    | Annotated[Range, Tag("[Range]")]
    | Annotated[Listed, Tag("[Listed]")],
    Discriminator(_kind),
]


class SpaceConfig(Strict):
    """A search space, and how its points are chosen."""

    space: dict[str, Searched] = Field(
        min_length=1, description="Dotted path -> choices or a range, e.g. strategy.mask_ratio: [0.5, 0.75]."
    )
    sampler: Literal["grid", "random", "qmc", "tpe", "gp"] = Field(
        "grid", description="All points, or those that one of Optuna's samplers draws."
    )
    trials: int | None = Field(
        None, ge=1, le=100_000, description="How many points are drawn; grid: at most this many."
    )
    first: list[dict[str, Choice]] = Field(
        default_factory=list,
        description="Points that a sampler begins with, path -> value; the base's own values come before.",
    )


class TuneConfig(SpaceConfig):
    """What is chosen for each arm by itself before arms are compared: each gets as many trials."""

    sampler: Literal["grid", "random", "qmc", "tpe", "gp"] = Field(
        "qmc",
        description="All points, or those that one of Optuna's samplers draws; qmc spreads a few evenly, the "
        "same for every arm.",
    )
    trials: int | None = Field(6, ge=1, le=1000, description="Points of each arm; grid: at most this many.")
    seeds: list[Annotated[int, Field(ge=0, le=MAX_SEED)]] = Field(
        default_factory=lambda: [100],
        min_length=1,
        max_length=100,
        description="Seeds that choose; no comparison may use them.",
    )
    metric: str = Field(
        MEAN, description="mean (of the suite's groups), a group, or TASK/METRIC; higher is better."
    )
    on: str = Field(
        "dev",
        description="What points are tested on. dev: one half of the test items of each task, drawn by hash; "
        "the study then compares on the other half. Or a suite that the study does not use.",
    )
    share: float = Field(
        1.0, gt=0, le=1, description="Share of the study's budget, or samples, that a tuning run has."
    )


class SearchConfig(SpaceConfig):
    """What `pgsbench sweep` searches."""

    arms: list[str] = Field(
        default_factory=list,
        description="The arms that are searched; default: the base. The others are trained once, beside it.",
    )
    per_arm: bool = Field(
        False,
        description="Search each arm by itself, with as many trials, in place of all as one space; no other "
        "arm is trained.",
    )
    metric: str | Annotated[list[str], Field(min_length=1, max_length=2)] = Field(
        MEAN,
        description="mean (of the suite's groups), a group, or TASK/METRIC; higher is better. With a cost "
        "behind it, [mean, -train_seconds], what is searched is the front of both; costs are "
        "train_seconds (processor time on CPUs, else wall time), tokens, flops and memory.",
    )
    at_most: dict[Literal["train_seconds", "tokens", "flops", "memory"], Annotated[float, Field(gt=0)]] = (
        Field(
            default_factory=dict,
            description="Cost of a run that a sampler shall keep below, cost -> limit; no point "
            "above is the best.",
        )
    )

    pruner: Pruner | None = Field(
        None,
        description="Ends trainings whose scores (evaluation.during) look bad beside those of the same seed. "
        "median: below the median of the complete ones, once four are. halving: not in the better half of "
        "those that came as far. wilcoxon: worse on the test items than the best complete one (paired "
        "signed-rank test, one-sided p < 0.05 at each look).",
    )

    @model_validator(mode="after")
    def _pruner_has_one_number_to_look_at(self) -> SearchConfig:
        if self.pruner and len(self.metrics) > 1:
            raise MismatchError(
                "a pruner works for one metric; what is cheap and poor may be on the front",
                "pruner",
                "metric",
            )
        if self.pruner and all(path.startswith("data.") for path in self.space):
            raise MismatchError(
                "no point of a search over data is better than another: there is none to prune",
                "pruner",
                "space",
            )
        return self

    @property
    def metrics(self) -> list[str]:
        """The score, and the cost that it is set against if there is one."""
        return [self.metric] if isinstance(self.metric, str) else list(self.metric)

    @field_validator("metric")
    @classmethod
    def _score_then_cost(cls, metric: str | list[str]) -> str | list[str]:
        score, *costs = [metric] if isinstance(metric, str) else metric
        if score.startswith("-") or any(cost.removeprefix("-") not in COSTS for cost in costs):
            raise ValueError(
                f"a score comes first, then perhaps a cost: {', '.join(f'-{one}' for one in COSTS)}"
            )
        if any(not cost.startswith("-") for cost in costs):
            raise ValueError("a cost has a minus before it: less is better")
        return metric
