"""One or more worlds beside a reference: tables, sentences and a figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from pgsbench.errors import StudyError, nearest
from pgsbench.reporting import words
from pgsbench.reporting.agreement import Match, ends, number, set_beside, shared_arms, signs
from pgsbench.reporting.notebook import InNotebook, Part
from pgsbench.reporting.render import COUNT, P_VALUE, POINTS, Format, Header, Table, points
from pgsbench.reporting.results import RANDOM_ARMS, Results
from pgsbench.reporting.style import INK, label_points, new_figure, pens, themed

#: Pairs that a table shows.
SHOWN_PAIRS = 12

#: What the verdict says of two signs.
_SIGNS = {
    "same": "the sign is right",
    "opposite": "the sign is wrong",
    "not clear": "an interval holds 0, so the sign cannot be judged",
}


@dataclass(frozen=True)
class Validity(InNotebook):
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
        matches = tuple(
            set_beside(reference, world, names) for world, names in zip(worlds, shared, strict=True)
        )
        random = next((arm for arm in RANDOM_ARMS if arm in in_all), in_all[-1])
        return cls(matches, baseline or random, candidate or reference[0].candidate)

    @property
    def tables(self) -> list[Table]:
        """The correlations, the differences to the baseline, and where the worlds disagree."""
        found = [_agreement_table(self.matches)]
        for match in self.matches:
            found.append(_differences_table(match, self.baseline))
            found += [_pairs_table(match)] if any(pair.is_reversed for pair in match.pairs) else []
        return found

    @property
    def verdict(self) -> str:
        """What the numbers say, in sentences, world by world."""
        return "\n".join(
            said for match in self.matches for said in _sentences(match, self.candidate, self.baseline)
        )

    def in_notebook(self) -> Iterable[Part]:
        """Return the verdict, the figure and the tables."""
        return [self.verdict, self.figure(), *self.tables]

    def figure(self) -> Figure:
        """Draw each arm's difference to the baseline in each world against the one in the reference."""
        pen_of = pens(dict.fromkeys(arm for match in self.matches for arm in match.world.arms))
        with themed():
            columns = min(2, len(self.matches))
            rows = -(-len(self.matches) // columns)
            figure = new_figure(0.3 + 3.2 * rows)
            grid = figure.subplots(rows, columns, squeeze=False).flat
            for match, axes in zip(self.matches, grid, strict=False):
                axes.axhline(0, color=INK, linewidth=0.8)
                axes.axvline(0, color=INK, linewidth=0.8)
                named: list[tuple[float, float, str, str]] = []
                for arm, both in match.differences(self.baseline).items():
                    place = [100 * one.estimate for one in both]
                    x, y = (
                        [[100 * (one.estimate - one.low)], [100 * (one.high - one.estimate)]] for one in both
                    )
                    pen = pen_of[arm]
                    axes.errorbar(*place, y, x, color=pen.colour, marker=pen.marker, elinewidth=0.6)
                    named.append((place[0], place[1], arm, pen.colour))
                axes.margins(0.15)
                spearman = match.agreement.spearman
                axes.set(
                    title=f"Spearman {number(spearman.estimate)} ({ends(spearman)})",
                    xlabel=f"points over {self.baseline} on {match.reference.study}",
                    ylabel=f"points over {self.baseline} on {match.world.study}",
                )
                label_points(axes, named)
            for axes in grid:
                axes.set_axis_off()
        return figure


def _sentences(match: Match, candidate: str, baseline: str) -> list[str]:
    """Return what the numbers say of a world.

    Args:
        match: The world.
        candidate: The arm whose sign is told.
        baseline: The arm that it is compared with.
    """
    world, reference, found = match.world.study, match.reference.study, match.agreement
    correlation = f"{number(found.spearman.estimate)} ({ends(found.spearman)})"
    told = [words.orders_alike(world, reference, len(match.world.arms), correlation)]
    told += ["One seed: another seed may say otherwise."] if match.num_seeds == 1 else []
    told.append(f"{reference} repeated would reach {number(found.repeat)} with itself.")
    differences = match.differences(baseline)
    if candidate in differences:
        ours, theirs = differences[candidate]
        told.append(
            f"{candidate} − {baseline} is {points(ours.estimate)} points on {reference} and "
            f"{points(theirs.estimate)} on {world}: {_SIGNS[signs(ours, theirs)]}."
        )
    reversed_ = [pair for pair in match.pairs if pair.is_reversed]
    certain = sum(all(pair.significant) for pair in reversed_)
    count = f"{len(reversed_)}, {certain} of them significantly in both" if reversed_ else "none"
    told.append(f"Of {len(match.pairs)} pairs of arms {world} reverses {count}.")
    if match.settings:
        told.append(f"Settings differ between {reference} and {world}: {'; '.join(match.settings)}.")
    return told


def _agreement_table(matches: Sequence[Match]) -> Table:
    correlation, reference = Format(number), matches[0].reference
    header: Header = ["world", "metric", ("arms", COUNT), ("seeds", COUNT), ("Spearman", correlation)]
    header += [("other arms", correlation), ("by chance", P_VALUE), ("repeat", correlation)]
    rows: list[list[object]] = []
    for match in matches:
        one, world = match.agreement, match.world
        seeds = f"{len(world.paired.seeds)}, {len(match.reference.paired.seeds)}"
        of_world = [world.study, world.metric, len(world.arms), seeds]
        rows.append([*of_world, one.spearman, one.other_arms, one.by_chance, one.repeat])
    notes = [
        "In brackets 95 % intervals, by what other test items and seeds would do to these arms. Other "
        "arms: the interval of Spearman if these arms are drawn anew, too, with repetition. Seeds: of the "
        "world, of the reference.",
        "By chance: share of random orders that agree at least as well. Repeat: Spearman of the reference "
        "with a repetition of itself.",
    ]
    return Table(f"Order of arms, against {reference.study} ({reference.metric})", header, rows, notes)


def _differences_table(match: Match, baseline: str) -> Table:
    reference, world = match.reference.study, match.world.study
    rows = [[arm, *both, signs(*both)] for arm, both in match.differences(baseline).items()]
    header: Header = ["arm", (reference, POINTS), (world, POINTS), "signs"]
    title, note = (
        f"Points over {baseline}: {reference} and {world}",
        "Signs are clear where no interval holds 0.",
    )
    return Table(title, header, rows, [note])


def _pairs_table(match: Match) -> Table:
    reference, world = match.reference.study, match.world.study
    where = {(True, True): "both", (True, False): reference, (False, True): world, (False, False): "neither"}
    reversed_ = [pair for pair in match.pairs if pair.is_reversed]
    rows = [
        [f"{pair.ours} − {pair.theirs}", pair.reference, pair.world, where[pair.significant]]
        for pair in reversed_[:SHOWN_PAIRS]
    ]
    notes = [
        f"{len(reversed_)} of {len(match.pairs)} pairs are reversed. Significance after Holm, of all pairs."
    ]
    if len(reversed_) > SHOWN_PAIRS:
        notes.append(f"The first {SHOWN_PAIRS} are shown.")
    header: Header = ["better − worse", (reference, POINTS), (world, POINTS), "significant in"]
    return Table(f"Where {world} reverses {reference}", header, rows, notes)
