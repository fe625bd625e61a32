"""What a comparison of worlds says: tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence

from pgsbench.reporting.render import COUNT, P_VALUE, POINTS, Format, Header, Table, points
from pgsbench.reporting.statistics.comparison import of_one_run
from pgsbench.reporting.validity.agreement import ends, number
from pgsbench.reporting.validity.match import Match, signs

#: Pairs that a table shows; the DataFrame has them all.
SHOWN_PAIRS = 12

#: What the verdict says of two signs.
_SIGNS = {
    "same": "the sign is right",
    "opposite": "the sign is wrong",
    "not clear": "an interval holds 0, so the sign cannot be judged",
}
_NUMBER = Format(number)


def verdict(matches: Sequence[Match], candidate: str, baseline: str) -> list[str]:
    """Return what the numbers say, in sentences: world by world.

    Args:
        matches: The worlds.
        candidate: The arm whose sign is told.
        baseline: The arm that it is compared with.
    """
    return [sentence for match in matches for sentence in _sentences(match, candidate, baseline)]


def _sentences(match: Match, candidate: str, baseline: str) -> list[str]:
    world, reference, found = match.world.study, match.reference.study, match.agreement
    said = (
        f"{world} orders {len(match.world.arms)} arms as {reference} does with a Spearman correlation of "
        f"{number(found.spearman.estimate)} ({ends(found.spearman)}); {reference} repeated would reach "
        f"{number(found.repeat)} with itself."
    )
    sentences = [of_one_run(said, match.num_seeds)]
    differences = match.differences(baseline)
    if candidate in differences:
        ours, theirs = differences[candidate]
        sentences.append(
            f"{candidate} − {baseline} is {points(ours.estimate)} points on {reference} and "
            f"{points(theirs.estimate)} on {world}: {_SIGNS[signs(ours, theirs)]}."
        )
    reversed_ = [pair for pair in match.pairs if pair.is_reversed]
    certain = sum(all(pair.significant) for pair in reversed_)
    count = f"{len(reversed_)}, {certain} of them significantly in both" if reversed_ else "none"
    sentences.append(f"Of {len(match.pairs)} pairs of arms {world} reverses {count}.")
    if match.settings:
        differ = "; ".join(match.settings)
        sentences.append(f"Settings differ between {reference} and {world}: {differ}.")
    return sentences


def all_tables(matches: Sequence[Match], baseline: str) -> list[Table]:
    """Return the correlations, the differences to the baseline, and where the worlds disagree."""
    found = [_agreement_table(matches)]
    for match in matches:
        found.append(_differences_table(match, baseline))
        if any(pair.is_reversed for pair in match.pairs):
            found.append(_pairs_table(match))
    return found


def _agreement_table(matches: Sequence[Match]) -> Table:
    names = ("Spearman", "other arms", "Kendall", "Pearson")
    header: Header = [
        "world",
        "metric",
        ("arms", COUNT),
        ("seeds", COUNT),
        *((name, _NUMBER) for name in names),
    ]
    header += [("by chance", P_VALUE), ("repeat", _NUMBER)]
    rows: list[list[object]] = []
    for match in matches:
        one = match.agreement
        cells = [one.spearman, tuple(one.other_arms), one.kendall, one.pearson]
        seeds = f"{len(match.world.seeds)}, {len(match.reference.seeds)}"
        counts = [match.world.study, match.world.metric, len(match.world.arms), seeds]
        rows.append([*counts, *cells, one.by_chance, one.repeat])
    first = matches[0].reference
    notes = [
        "In brackets 95 % intervals, by what other test items and seeds would do to these arms; without test "
        "items, by seeds alone. Other arms: the interval of Spearman if these arms are drawn anew, too, with "
        "repetition. Seeds: of the world, of the reference.",
        "By chance: share of random orders that agree at least as well. Repeat: Spearman of the reference "
        "with a repetition of itself.",
    ]
    return Table(f"Order of arms, against {first.study} ({first.metric})", header, rows, notes)


def _differences_table(match: Match, baseline: str) -> Table:
    rows: list[list[object]] = [
        [arm, ours, theirs, signs(ours, theirs)]
        for arm, (ours, theirs) in match.differences(baseline).items()
    ]
    return Table(
        f"Points over {baseline}: {match.reference.study} and {match.world.study}",
        ["arm", (match.reference.study, POINTS), (match.world.study, POINTS), "signs"],
        rows,
        ["Signs are clear where no interval holds 0."],
    )


def _pairs_table(match: Match) -> Table:
    reference, world = match.reference.study, match.world.study
    where = {(True, True): "both", (True, False): reference, (False, True): world, (False, False): "neither"}
    reversed_ = [pair for pair in match.pairs if pair.is_reversed]
    rows: list[list[object]] = [
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
