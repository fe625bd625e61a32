"""One comparison of two labels, and what may be said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pgsbench.reporting.statistics.intervals import Interval

ALPHA = 0.05

#: Outcome of two arms that are copies of one training: nothing is tested.
SAME = "the same training"

#: Said first of everything that rests on one seed: another seed may tell otherwise.
ONE_RUN = "this training run only"

#: The headline, the mean of groups, is what a study decides; its groups say where, single tasks give hints.
#: Each is a Holm family of its own, so that 29 tasks do not take the power from the mean of groups.
Family = Literal["headline", "groups", "tasks"]


@dataclass(frozen=True)
class Missing:
    """A cell that cannot be filled, and why."""

    reason: str


@dataclass(frozen=True)
class Comparison:
    """Candidate minus baseline on one group or task, and the verdict on it, which every output says.

    Attributes:
        candidate: Label of the candidate.
        baseline: Label of the baseline.
        of: Group or task.
        interval: The difference, or why there is none. That of a headline holds under all looks so far.
        outcome: "better", "worse", "equivalent", "undecided", `SAME` or "missing".
        adjusted_p: Holm's p-value of "the true difference is 0" in its family; NaN where nothing is tested.
        family: The family; tasks are exploratory.
        margin: Of a headline: smaller differences do not matter.
        seeds_needed: Of an undecided headline: seeds after which it would probably be decided; None: not
            known, or too many.
        note: What the verdict rests on that may not hold, in words: that arms vary alike with the seed.
    """

    candidate: str
    baseline: str
    of: str
    interval: Interval | Missing
    outcome: str = "missing"
    adjusted_p: float = float("nan")
    family: Family = "headline"
    margin: float = float("nan")
    seeds_needed: int | None = None
    note: str = ""

    @property
    def names(self) -> tuple[str, str, str]:
        """Candidate, baseline, and the searched values that both share, which are then left out of both."""
        (ours, *values), (theirs, *others) = self.candidate.split(" "), self.baseline.split(" ")
        if values and values == others:
            return ours, theirs, " ".join(values)
        return self.candidate, self.baseline, ""

    @property
    def pair(self) -> str:
        """Both as a difference, for titles and tables."""
        ours, theirs, values = self.names
        return f"{ours} − {theirs}" + (f", {values}" if values else "")

    @property
    def num_seeds(self) -> int:
        """Seeds behind it; 0 where it is missing."""
        return self.interval.num_seeds if isinstance(self.interval, Interval) else 0

    @property
    def has_one_seed(self) -> bool:
        """Whether it rests on one seed, so that it speaks of one training of each arm, not of the arms."""
        return self.num_seeds == 1

    @property
    def is_significant(self) -> bool:
        """Whether the difference holds after Holm's correction."""
        return self.outcome in ("better", "worse")

    @property
    def is_decided(self) -> bool:
        """Whether more seeds are of no use."""
        return self.outcome not in ("undecided", "missing")

    @property
    def verdict(self) -> str:
        """The outcome with what limits it: one seed (said first), and a family that is exploratory."""
        first = f"{ONE_RUN}: " if self.has_one_seed else ""
        is_hint = self.is_significant and self.family == "tasks"
        return first + self.outcome + (" (exploratory)" if is_hint else "")
