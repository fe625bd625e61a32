"""What `pgsbench sweep` searches."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pgsbench.config.strict import Strict


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

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low < self.high:
            raise ValueError("low must be below high")
        is_whole = self.step == 1 and self.low.is_integer() and self.high.is_integer()
        if self.log and (self.low <= 0 or not (self.step is None or is_whole)):
            raise ValueError("a logarithmic range needs low > 0 and no step but 1 between whole numbers")
        return self


Choice = bool | int | float | str | None


class SearchConfig(Strict):
    """What `pgsbench sweep` searches."""

    space: dict[str, Annotated[list[Choice], Field(min_length=1)] | Range] = Field(
        min_length=1, description="Dotted path -> choices or a range, e.g. strategy.mask_ratio: [0.5, 0.75]."
    )
    arms: list[str] = Field(
        default_factory=list,
        description="The arms that are searched; default: the base. The others are trained once, beside it.",
    )
    sampler: Literal["grid", "tpe"] = Field(
        "grid", description="All points, or those that Optuna's TPE draws."
    )
    trials: int | None = Field(
        None, ge=1, le=100_000, description="TPE: how many; grid: at most this many points."
    )
    metric: str = Field(
        "mean", description="mean (of the suite's groups), a group, or TASK/METRIC; higher is better."
    )
