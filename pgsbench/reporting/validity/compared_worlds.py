"""One or more worlds beside a reference: tables, sentences and a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pgsbench.errors import StudyError, nearest
from pgsbench.reporting.render import Table
from pgsbench.reporting.results import RANDOM_ARMS, Results
from pgsbench.reporting.style import INK, SMALL, new_figure, pens, themed
from pgsbench.reporting.validity.agreement import ends, number
from pgsbench.reporting.validity.agreement_tables import all_tables, sentences
from pgsbench.reporting.validity.match import Match, match, shared_arms


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
        shared = [shared_arms(reference[0], world, arms) for world, _ in worlds]
        in_all = [arm for arm in shared[0] if all(arm in others for others in shared)]
        if not in_all:
            raise StudyError(
                "no arm is in all studies, so there is none to take differences to", value=shared
            )
        for given in filter(None, (baseline, candidate)):
            if given not in in_all:
                raise StudyError("not all studies have this arm", value=given, way_out=nearest(given, in_all))
        matches = tuple(match(reference, world, names) for world, names in zip(worlds, shared, strict=True))
        random = next((arm for arm in RANDOM_ARMS if arm in in_all), in_all[-1])
        return cls(matches, baseline or random, candidate or reference[0].candidate)

    @property
    def tables(self) -> list[Table]:
        """The correlations, the differences to the baseline, and where the worlds disagree."""
        return all_tables(self.matches, self.baseline)

    @property
    def verdict(self) -> str:
        """What the numbers say, in sentences, world by world."""
        return "\n".join(
            said for match in self.matches for said in sentences(match, self.candidate, self.baseline)
        )

    def figure(self) -> Figure:
        """Draw each arm's difference to the baseline in each world against the one in the reference."""
        pen_of = pens(dict.fromkeys(arm for match in self.matches for arm in match.world.arms))
        heights: dict[str, float] = {}
        with themed():
            columns = min(2, len(self.matches))
            rows = -(-len(self.matches) // columns)
            figure = new_figure(0.3 + 3.2 * rows)
            grid = figure.subplots(rows, columns, squeeze=False).flat
            for match, axes in zip(self.matches, grid, strict=False):
                axes.axhline(0, color=INK, linewidth=0.8)
                axes.axvline(0, color=INK, linewidth=0.8)
                for arm, both in match.differences(self.baseline).items():
                    place = [100 * one.estimate for one in both]
                    x, y = (
                        [[100 * (one.estimate - one.low)], [100 * (one.high - one.estimate)]] for one in both
                    )
                    pen = pen_of[arm]
                    axes.errorbar(*place, y, x, color=pen.colour, marker=pen.marker, elinewidth=0.8)
                    heights.setdefault(arm, place[1])
                axes.margins(0.12)
                spearman = match.agreement.spearman
                axes.set(
                    title=f"Spearman {number(spearman.estimate)} ({ends(spearman)})",
                    xlabel=f"points over {self.baseline} on {match.reference.study}",
                    ylabel=f"points over {self.baseline} on {match.world.study}",
                )
            for axes in grid:
                axes.set_axis_off()
            handles = [
                Line2D([], [], color=pen_of[arm].colour, marker=pen_of[arm].marker, linewidth=0.8, label=arm)
                for arm in sorted(heights, key=lambda arm: -heights[arm])  # as the points lie
            ]
            figure.legend(handles=handles, loc="outside right upper", fontsize=SMALL, frameon=False)
        return figure
