"""From what an arm may spend, in pairs, tokens, operations or seconds, to the pairs that it sees."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgsbench.config.schema import RunConfig
from pgsbench.config.training import MAX_SAMPLES, TrainingConfig
from pgsbench.errors import ConfigError
from pgsbench.training.optim import first_unmasked_step

if TYPE_CHECKING:
    from pgsbench.models.pair_cost import PairCost


@dataclass(frozen=True)
class PairSeconds:
    """What one pair takes in a step.

    Attributes:
        masked: Seconds while masks are on.
        whole: Seconds in the last phase, on whole pictures and captions.
    """

    masked: float
    whole: float


#: Tells the seconds of a pair in a run.
Pace = Callable[[RunConfig], PairSeconds]


def spend(config: RunConfig, pace: Pace | None = None) -> RunConfig:
    """Return the configuration with as many pairs as its budget pays for, in whole steps.

    Its last phase on whole pictures costs more a pair and is in the sum. Without a budget it stays as it is.

    Args:
        config: A resolved configuration.
        pace: Needed for a budget of seconds.

    Raises:
        ConfigError: The budget pays for no step, too many, or fewer than the warm-up has; or FLOPs cannot be
            told of this model.
    """
    if config.budget is None:
        return config
    steps = _steps_within(config.budget.amount, config.training, _prices(config, pace))
    training = {**config.training.model_dump(), "samples": steps * config.training.batch_size}
    spent = config.model_copy(update={"training": TrainingConfig(**training)})
    warmup = config.training.warmup_steps
    if warmup is not None and warmup > spent.training.longest_warmup:
        raise ConfigError(
            f"the warm-up is longer than the training: the budget pays for {steps:,} steps of this arm",
            where="training.warmup_steps",
            value=warmup,
            way_out="say less, or `warmup_steps: null` and a warmup_share",
        )
    return spent


def _prices(config: RunConfig, pace: Pace | None) -> tuple[float, float]:
    """Return what a pair costs while masks are on, and in the last phase."""
    assert config.budget is not None
    if config.budget.equal == "samples":
        return 1.0, 1.0
    if config.budget.equal == "seconds":
        if pace is None:
            raise ConfigError(
                "seconds become steps where the study is trained, as steps are timed there",
                where="budget.equal",
                value="seconds",
                way_out="use `pgsbench train` or `plan`, or open_study",
            )
        seconds = pace(config)
        return seconds.masked, seconds.whole
    from pgsbench.models.pair_cost import pair_costs  # it builds a model; most studies need none to be read

    masked, unmasked = pair_costs(config.model, config.strategy, config.text)
    return _price(masked, config), _price(unmasked, config)


def _price(pair: PairCost, config: RunConfig) -> float:
    budget = config.budget
    assert budget is not None
    if budget.equal == "tokens":
        return pair.patch_tokens + pair.text_tokens
    if pair.flops is None:
        raise ConfigError(
            "the operations of this model cannot be told: a tower is not open_clip's own",
            where="budget.equal",
            value=config.model.name,
            way_out="take tokens, or another model",
        )
    return float(pair.flops)


def _steps_within(amount: float, training: TrainingConfig, prices: tuple[float, float]) -> int:
    """Return the largest number of steps that costs at most `amount`; the cost grows with it."""

    def cost(steps: int) -> float:
        size = training.batch_size
        shaped = training.model_copy(update={"samples": steps * size})
        masked = first_unmasked_step(shaped)
        return size * (masked * prices[0] + (steps - masked) * prices[1])

    if cost(1) > amount:
        raise ConfigError(
            "the budget pays for no step",
            where="budget.amount",
            value=amount,
            way_out=f"a step of this arm costs {cost(1):.3g}",
        )
    most = MAX_SAMPLES // training.batch_size
    if cost(most) < amount:
        raise ConfigError(
            f"the budget pays for more than {MAX_SAMPLES:.0e} pairs, and no training has more",
            where="budget.amount",
            value=amount,
            way_out=f"with this arm they cost {cost(most):.3g}: say less",
        )
    return bisect_right(range(1, most + 1), amount, key=cost)
