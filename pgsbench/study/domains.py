"""Domains of a search: the values that one path of a search space may take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgsbench.config.search import Listed, Range

#: Number of digits of a value that is drawn from a span without a step.
SIGNIFICANT_DIGITS = 4

#: On which values of other paths, or of ``arm``, a path depends; all must hold.
Condition = tuple[tuple[str, tuple[Any, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class _Conditional:
    """What exists only beside some values of other paths.

    Attributes:
        when: See `Condition`.
    """

    when: Condition = ()

    def is_active(self, chosen: Mapping[str, Any]) -> bool:
        """Tell whether the path exists beside these values of ``arm`` and of other paths."""
        return all(
            path in chosen and any(_is_same(chosen[path], value) for value in values)
            for path, values in self.when
        )


@dataclass(frozen=True)
class Choices(_Conditional):
    """Values that a study lists.

    Attributes:
        values: The values, in the study's order.
    """

    values: tuple[Any, ...]

    @property
    def size(self) -> int:
        """How many values there are."""
        return len(self.values)

    def grid(self) -> list[Any]:
        """Return the values that a grid tries."""
        return list(self.values)

    ends = grid  #: All of them are tried before a search.

    def middle(self) -> Any:
        """Return a value that stands for the domain in an estimate."""
        return self.values[len(self.values) // 2]

    def contains(self, value: Any) -> bool:
        """Tell whether a value is one of the domain."""
        return any(_is_same(value, choice) for choice in self.values)

    def rounded(self, value: Any) -> Any:
        """Return a drawn value as a run gets it: unchanged."""
        return value

    def doubled(self) -> list[Any]:
        """Return the values that are listed before."""
        seen, found = set(), []
        for value in self.values:
            key = isinstance(value, bool), value
            found += [value] if key in seen else []
            seen.add(key)
        return found


@dataclass(frozen=True)
class Span(_Conditional):
    """Numbers between two ends, both included.

    Attributes:
        low: The lowest number.
        high: The highest number, if a step leads there.
        log: Whether numbers are drawn on a logarithmic scale.
        step: Distance of two neighbours; None: all numbers belong to the span.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def size(self) -> int:
        """How many numbers there are, where the span has a step."""
        assert self.step is not None
        return math.floor((self.high - self.low) / self.step + 1e-9) + 1

    @property
    def is_whole(self) -> bool:
        """Whether all its numbers are whole."""
        return self.step is not None and all(float(b).is_integer() for b in (self.low, self.high, self.step))

    def grid(self) -> list[Any]:
        """Return the numbers of a span with a step."""
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


Domain = Choices | Span


def domain_of(given: Sequence[Any] | Range | Listed, *, is_whole: bool = False) -> Domain:
    """Return the domain that a search space gives for one path.

    Args:
        given: Choices or a range, as a study says it.
        is_whole: The field takes whole numbers only: a range without a step then gets a step of 1.
    """
    if not isinstance(given, Range | Listed):
        return Choices(tuple(given))
    when = tuple((path, tuple(values)) for path, values in given.when.items())
    if isinstance(given, Listed):
        return Choices(tuple(given.choices), when=when)
    step = 1.0 if is_whole and given.step is None else given.step
    return Span(given.low, given.high, given.log, step, when=when)


def _is_same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
