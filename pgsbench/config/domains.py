"""Domains of a search: the values that one path of a search space may take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, model_validator

from pgsbench.config.strict import MismatchError, Strict

#: Number of digits of a value that is drawn from a range without a step.
SIGNIFICANT_DIGITS = 4

Choice = bool | int | float | str | None


class _Conditional(Strict):
    """What exists only beside some values of other paths."""

    when: dict[str, Annotated[list[Choice], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="The path exists only where these paths, or `arm`, have one of these values.",
    )

    def is_active(self, chosen: Mapping[str, Any]) -> bool:
        """Tell whether the path exists beside these values of ``arm`` and of other paths."""
        return all(
            path in chosen and any(_is_same(chosen[path], value) for value in values)
            for path, values in self.when.items()
        )


class Listed(_Conditional):
    """Values that a study lists, in its order."""

    choices: list[Choice] = Field(min_length=1)

    @property
    def size(self) -> int:
        """How many values there are."""
        return len(self.choices)

    def grid(self) -> list[Any]:
        """Return the values that a grid tries."""
        return list(self.choices)

    def ends(self) -> list[Any]:
        """Return the values that are tried before a search: all."""
        return list(self.choices)

    def middle(self) -> Any:
        """Return a value that stands for the domain in an estimate."""
        return self.choices[len(self.choices) // 2]

    def contains(self, value: Any) -> bool:
        """Tell whether a value is one of the domain."""
        return any(_is_same(value, choice) for choice in self.choices)

    def rounded(self, value: Any) -> Any:
        """Return a drawn value as a run gets it: unchanged."""
        return value

    def doubled(self) -> list[Any]:
        """Return the values that are listed before."""
        seen, found = set(), []
        for value in self.choices:
            key = isinstance(value, bool), value
            found += [value] if key in seen else []
            seen.add(key)
        return found


class Range(_Conditional):
    """An interval of a search space; both ends belong to it, the upper one if a step leads there."""

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

    @property
    def size(self) -> int:
        """How many numbers there are, where the range has a step."""
        assert self.step is not None
        return math.floor((self.high - self.low) / self.step + 1e-9) + 1

    @property
    def is_whole(self) -> bool:
        """Whether all its numbers are whole."""
        return self.step is not None and all(float(b).is_integer() for b in (self.low, self.high, self.step))

    def grid(self) -> list[Any]:
        """Return the numbers of a range with a step."""
        assert self.step is not None
        return [self._number(self.low + i * self.step) for i in range(self.size)]

    def ends(self) -> list[Any]:
        """Return the lowest and the highest number, to try before a search; whole ones as integers."""
        if self.step is not None:
            return [self._number(self.low), self._number(self.low + (self.size - 1) * self.step)]
        return [int(end) if float(end).is_integer() else end for end in (self.low, self.high)]

    def middle(self) -> Any:
        """Return a number that stands for the domain in an estimate."""
        if self.log:
            return self._number(math.sqrt(self.low * self.high))
        if self.step is not None:
            return self._number(self.low + self.size // 2 * self.step)
        return (self.low + self.high) / 2

    def contains(self, value: Any) -> bool:
        """Tell whether a value is one of the domain."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not self.low <= value <= self.high:
            return False
        return self.step is None or value == self._number(
            self.low + round((value - self.low) / self.step) * self.step
        )

    def rounded(self, value: Any) -> Any:
        """Return a drawn number as a run gets it: short, since it names the run and can be typed again."""
        if self.step is not None:
            return self._number(value)
        return min(max(float(f"{value:.{SIGNIFICANT_DIGITS}g}"), self.low), self.high)

    def _number(self, value: float) -> float | int:
        return round(value) if self.is_whole else round(value, 12)


Domain = Listed | Range


def domain_of(given: Sequence[Any] | Domain, *, is_whole: bool = False) -> Domain:
    """Return the domain that a search space gives for one path.

    Args:
        given: Choices or a domain, as a study says it.
        is_whole: The field takes whole numbers only: a range without a step then gets a step of 1.
    """
    if isinstance(given, Range):
        return given.model_copy(update={"step": 1.0}) if is_whole and given.step is None else given
    return given if isinstance(given, Listed) else Listed(choices=list(given))


def _is_same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
