"""One or more worlds beside a reference, as DataFrames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from pgsbench.errors import StudyError, nearest
from pgsbench.reporting.render import Table
from pgsbench.reporting.results import RANDOM_ARMS, Results
from pgsbench.reporting.validity.agreement import Coefficient
from pgsbench.reporting.validity.agreement_tables import all_tables, verdict
from pgsbench.reporting.validity.figure import scatter
from pgsbench.reporting.validity.match import Match, other_settings, signs
from pgsbench.reporting.validity.world import World, matched

_PAIR_COLUMNS = [
    "world",
    "better",
    "worse",
    "reference",
    "in_world",
    "significant_reference",
    "significant_world",
]


@dataclass(frozen=True)
class Validity:
    """One or more worlds beside a reference; scores are shares in [0, 1], differences of such.

    Attributes:
        matches: One for each world.
        baseline: The arm that differences are taken to.
        candidate: The arm whose sign the verdict tells.
    """

    matches: tuple[Match, ...]
    baseline: str
    candidate: str

    @classmethod
    def of(
        cls,
        reference: tuple[Results, str],
        worlds: Sequence[tuple[Results, str]],
        *,
        arms: Sequence[str] | None = None,
        baseline: str | None = None,
        candidate: str | None = None,
    ) -> Validity:
        """Match each world with the reference.

        Args:
            reference: The study that is believed, and its metric.
            worlds: Other studies, each with its metric.
            arms: Only these arms.
            baseline: Default: the arm with random masks.
            candidate: Default: the base of the reference.

        Raises:
            StudyError: Fewer than three arms are shared, a metric is unknown, or an arm that is named is not
                shared.
        """
        believed, metric = reference
        shared = [matched(believed, world, arms) for world, _ in worlds]
        in_all = [arm for arm in shared[0] if all(arm in others for others in shared)]
        if not in_all:
            raise StudyError(
                "no arm is in all studies, so there is none to take differences to", value=shared
            )
        for given in filter(None, (baseline, candidate)):
            if given not in in_all:
                raise StudyError("not all studies have this arm", value=given, way_out=nearest(given, in_all))
        matches = tuple(
            Match(
                World.of(believed, metric, names),
                World.of(world, own_metric, names),
                tuple(other_settings(believed, world, names)),
            )
            for (world, own_metric), names in zip(worlds, shared, strict=True)
        )
        random = next((arm for arm in RANDOM_ARMS if arm in in_all), in_all[-1])
        return cls(matches, baseline or random, candidate or believed.candidate)

    @property
    def agreement(self) -> pd.DataFrame:
        """One row a world: its correlations with the reference, each with its 95 % interval."""
        rows = []
        for match in self.matches:
            found = match.agreement
            row = {"world": match.world.study, "metric": match.world.metric, "arms": len(match.world.arms)}
            row |= {"reference": match.reference.study, "reference_metric": match.reference.metric}
            row |= {"seeds": len(match.world.seeds), "reference_seeds": len(match.reference.seeds)}
            for name in ("spearman", "kendall", "pearson"):
                value: Coefficient = getattr(found, name)
                row |= {name: value.estimate, f"{name}_low": value.low, f"{name}_high": value.high}
            row |= dict(zip(("other_arms_low", "other_arms_high"), found.other_arms, strict=True))
            rows.append({**row, "by_chance": found.by_chance, "repeat": found.repeat})
        return pd.DataFrame(rows)

    @property
    def differences(self) -> pd.DataFrame:
        """Each arm minus the baseline in each world and in the reference, and whether the signs agree."""
        rows = []
        for match in self.matches:
            for arm, (ours, theirs) in match.differences(self.baseline).items():
                row = {"world": match.world.study, "arm": arm, "baseline": self.baseline}
                for name, one in (("reference", ours), ("world", theirs)):
                    row |= {f"{name}_{key}": getattr(one, key) for key in ("estimate", "low", "high")}
                rows.append({**row, "signs": signs(ours, theirs)})
        return pd.DataFrame(rows)

    @property
    def disagreements(self) -> pd.DataFrame:
        """The pairs of arms that a world orders otherwise, those first that are significant in both."""
        rows = []
        for match in self.matches:
            for pair in match.pairs:
                if pair.is_reversed:
                    estimates = pair.reference.estimate, pair.world.estimate
                    rows.append([match.world.study, pair.ours, pair.theirs, *estimates, *pair.significant])
        return pd.DataFrame(rows, columns=_PAIR_COLUMNS)

    @property
    def tables(self) -> list[Table]:
        """The same as tables for people."""
        return all_tables(self.matches, self.baseline)

    @property
    def verdict(self) -> str:
        """What the numbers say, in sentences."""
        return "\n".join(verdict(self.matches, self.candidate, self.baseline))

    def figure(self) -> Figure:
        """Draw each arm's difference to the baseline in each world against the one in the reference."""
        return scatter(self.matches, self.baseline)
