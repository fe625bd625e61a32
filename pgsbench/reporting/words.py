"""All sentences that a report makes of its numbers: subject, verb, object.

They are given names and numbers and know no study, so `tests/reporting/test_words.py` has an example of each.
A headline has at most `MAX_WORDS` words. What limits it stands beside it, as badges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from pgsbench.reporting.render import PERCENT, POINTS, Estimate, and_, counted
from pgsbench.reporting.statistics.intervals import Interval

MAX_WORDS = 20
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


#: A number with its 95 % interval.
Ends: TypeAlias = Interval | Estimate


def number(count: int) -> str:
    """Return a small number as a word: ``"three"``, ``"12"``."""
    return _NUMBERS[count] if 0 <= count < len(_NUMBERS) else f"{count:,}"


def size(one: Ends, *, sign: bool = True) -> str:
    """Return a difference with its interval; without a sign it is how far apart two are."""
    if not sign and one.estimate < 0:
        found = -one.estimate, -one.high, -one.low
    else:
        found = one.estimate, one.low, one.high
    signs = sign or found[1] < 0
    middle, low, high = ((POINTS if signs else PERCENT).text(float(end)) for end in found)
    return f"{middle if sign else middle.removeprefix('+')} points ({low} to {high})"


def fitting(sentence: str, *more: str) -> str:
    """Return a headline with as many of the further clauses as there is room for."""
    for clause in filter(None, more):
        if len(f"{sentence} {clause}".split()) <= MAX_WORDS:
            sentence = f"{sentence}{clause}"
    return f"{sentence}."


def would_decide(seeds: int | None) -> str:
    """Return how many more seeds would decide, as a clause; empty where that is not known."""
    return f"; {number(seeds)} more {'seed' if seeds == 1 else 'seeds'} would" if seeds else ""


# ------------------------------------------------------------------------------------------------- badges


class Badge(NamedTuple):
    """What limits an answer.

    Attributes:
        short: In a few words, beside the headline.
        sentence: In full.
    """

    short: str
    sentence: str


_ONE_SEED = "This training run only{}: intervals cover test items. Another seed may say otherwise."

#: Kind -> the badge, with the names and numbers that it is given in braces.
BADGES = {
    "one seed": Badge("one seed", _ONE_SEED.format("")),
    "an arm with one seed": Badge("an arm with one seed", _ONE_SEED.format(" where an arm has one seed")),
    "incomplete": Badge("{done} of {planned} runs", "{missing} of {planned} have no scores: {lines}."),
    "seeds vary unlike": Badge(
        "seeds vary unlike",
        "Arms do not vary alike with the seed (Bartlett's test, p = {p_value:.3f}): the interval of the arm "
        "that varies most is too narrow.",
    ),
    "leans on other arms": Badge(
        "leans on other arms", "By the seeds of its two arms alone this is not decided: {pairs}."
    ),
    "picked": Badge(
        "best of {points:,} points",
        "The best of {points:,} points was picked by these very scores, which flatters it. Fresh seeds tell: "
        "`pgsbench sweep {study} --confirm 3`.",
    ),
    "on the border": Badge(
        "best on the border",
        "The best {path} of {arms} is at the border of what was searched ({ends}): search beyond it.",
    ),
    "tuned": Badge("arms tuned", "Each arm has its own {paths}. {how}"),
    "chose a default": Badge(
        "seed {seed} tuned {strategy}",
        "Seed {seed} helped to choose `{field}` of {strategy}, which favours it.",
    ),
    "unfair": Badge("arms differ in more", "The arms differ in more than {masks}: {settings}."),
    "large margin": Badge(
        "large margin",
        "The margin is {share} % of the score of {baseline} ({score}). A smaller one: `pgsbench compare "
        "--until decided --margin {smaller:g}`.",
    ),
    "same training": Badge("same training", "{arms} are one training: they count once."),
    "not compared": Badge(
        "{number} not compared",
        "{arms} of earlier commands are not compared; `pgsbench report {study}` compares all.",
    ),
    "guessing": Badge(
        "no better than guessing",
        "The loss ended no better than guessing: {runs}. Lower training.learning_rate, or lengthen the "
        "warm-up.",
    ),
    # docs/scenes.md says how it is known how far scenes may be believed.
    "scenes": Badge(
        "scenes only", "Scenes rank masks only in part as photos do (docs/scenes.md). Try photos, too."
    ),
    "ceiling": Badge("with a ceiling", "{oracles} {know} where the objects are and {what}."),
    "pruned": Badge(
        "{points} pruned",
        "{points} pruned ({pruner}): they count nowhere; {hours:.2g} hours were saved.",
    ),
    "too costly": Badge("{count} too costly", "{points} above search.at_most left out."),
    "no effects": Badge("effects not known", "What each setting does cannot be told: {reason}."),
    "of data": Badge("{tasks} with a note", "{notes}."),
}


def badge(kind: str, **said: object) -> Badge:
    """Return the badge of a kind, a key of `BADGES`, with these names and numbers."""
    return Badge(*(text.format(**said) for text in BADGES[kind]))


def first_three(lines: Sequence[str], *, last: str = "; ") -> str:
    """Return the first lines and how many others there are; `last` stands before their number."""
    return "; ".join(lines[:3]) + (f"{last}{len(lines) - 3} others" if len(lines) > 3 else "")


# ---------------------------------------------------------------------------------------------- headlines


def against_one(
    ours: str,
    theirs: str,
    outcome: str,
    lead: Ends,
    *,
    at: str = "",
    margin: float = 0,
    seeds: int | None = None,
) -> str:
    """Return the verdict on one pair.

    Args:
        ours: The candidate.
        theirs: The baseline.
        outcome: As of `Comparison`.
        lead: Candidate minus baseline.
        at: The searched values that both share.
        margin: Smaller differences do not matter.
        seeds: How many more would decide it; None: not known.
    """
    where = f" at {at}" if at else ""
    if outcome in ("better", "worse"):
        return fitting(f"{ours} is {outcome} than {theirs}{where} by {size(lead, sign=False)}")
    if outcome == "equivalent":
        within = f", within {PERCENT.text(margin)} points" if margin else ""
        return fitting(f"{ours} is as good as {theirs}{where}{within}: {size(lead)}")
    if outcome == "undecided":
        return fitting(
            f"{ours} against {theirs}{where} is not decided yet: {size(lead)}", would_decide(seeds)
        )
    return fitting(f"{ours} and {theirs} are the same training{where}")


def against_few(ours: str, leads: Mapping[str, tuple[str, Ends]], *, seeds: int | None = None) -> str:
    """Return the verdict on a few baselines: the decided ones with their sizes first.

    Args:
        ours: The candidate.
        leads: Baseline -> outcome, and candidate minus baseline.
        seeds: How many more would decide the rest; None: not known.
    """
    left = and_([name for name, (outcome, _) in leads.items() if outcome == "undecided"])
    if all(outcome == "undecided" for outcome, _ in leads.values()):
        return fitting(f"{ours} is not decided yet against {left}", would_decide(seeds))
    open_ = f"; not decided yet against {left}" if left else ""
    long, short = (f"{ours} is {', '.join(_claims(leads, ends=ends))}{open_}" for ends in (True, False))
    said = long if len(long.split()) <= MAX_WORDS else short
    return fitting(said, would_decide(seeds) if left else "")


def _claims(leads: Mapping[str, tuple[str, Ends]], *, ends: bool) -> list[str]:
    claims = {"better": "better than", "worse": "worse than", "equivalent": "as good as"}
    said = []
    for outcome, claim in claims.items():
        found = [(name, lead) for name, (of, lead) in leads.items() if of == outcome]
        sizes = []
        for name, lead in found:
            middle, low, high = map(POINTS.text, (lead.estimate, lead.low, lead.high))
            sizes.append(f"{name} ({middle}, {low} to {high})" if ends else f"{name} ({middle})")
        said += [f"{claim} {and_(sizes)}"] if sizes else []
    return said


def best_of_many(
    best: str,
    score: float,
    num_arms: int,
    *,
    sure: bool,
    ours: str = "",
    outcome: str = "",
    lead: Ends | None = None,
) -> str:
    """Return the verdict on a few baselines, the decided ones first; `seeds` more would decide the rest."""
    said = f"{best} {'is the best' if sure else 'scores highest'} of {num_arms} ({PERCENT.text(score)})"
    if not ours or lead is None:
        return fitting(said)
    if outcome in ("better", "worse"):
        return fitting(said, f"; {ours} is {outcome} by {size(lead, sign=False)}")
    if outcome == "equivalent":
        return fitting(said, f"; {ours} is as good: {size(lead)}")
    return fitting(said, f"; {ours} against it is not decided: {size(lead)}")


def best_point(
    point: str, score: float, num_points: int, *, rivals: Sequence[str], whole: float | None = None
) -> str:
    """Return where the best of a search lies, and whether that is sure: `rivals` may be as good."""
    beside = f"; whole pictures score {PERCENT.text(whole)}" if whole is not None else ""
    if not rivals:
        return fitting(f"{point} is the best of {num_points} points ({PERCENT.text(score)})", beside)
    others = rivals[0] if len(rivals) == 1 else f"{number(len(rivals))} other points"
    return fitting(f"{point} scores highest ({PERCENT.text(score)}), but {others} may be as good", beside)


def what_moves(shares: Mapping[str, float], best: str, score: float) -> str:
    """Return which setting moves scores most; shares are of the variance, by setting."""
    first, *others = sorted(shares.items(), key=lambda item: -item[1])
    said = f"{first[0]} moves scores most ({100 * first[1]:.0f} % of the variance)"
    then = f", then {others[0][0]} ({100 * others[0][1]:.0f} %)" if others else ""
    return fitting(said, then, f"; {best} scores highest ({PERCENT.text(score)})")


def nothing_moves(settings: Sequence[str]) -> str:
    """Return that no setting has an effect that chance would not have."""
    if len(settings) == 1:
        return f"{settings[0]} does not move scores measurably."
    return f"None of {and_(settings)} moves scores measurably."


def most_for_least(front: Sequence[tuple[str, float, float]], unit: str) -> str:
    """Return the ends of a front of score against cost: (name, score, cost), the cheapest first."""
    (cheap, low, least), (dear, high, most) = front[0], front[-1]
    if len(front) == 1:
        return fitting(f"{dear} gives most for least: {PERCENT.text(high)} for {most:,.3g} {unit}")
    first = f"{dear} gives most: {PERCENT.text(high)} for {most:,.3g} {unit}"
    return fitting(first, f"; {cheap} costs least: {PERCENT.text(low)} for {least:,.3g}")


def cheap_enough(choice: str, score: float, best: str, highest: float, times: float, cost: str) -> str:
    """Return the cheaper point that a search for score and cost takes; `times` the cost of the best."""
    if choice == best:
        return fitting(f"{best} scores highest ({PERCENT.text(highest)}), and nothing near it costs less")
    saved = f"{choice} scores {PERCENT.text(score)} at {times:.2f} times the {cost}"
    return fitting(f"{saved} of the best, {best} ({PERCENT.text(highest)})")


def as_budgets_grow(
    leaders: Sequence[str], arms: Sequence[str], crossing: str = "", foretold: bool | None = None
) -> str:
    """Return whether the lead holds: `leaders` are the best at each budget; their fits meet at `crossing`."""
    said = "" if foretold is None else "; the prediction held" if foretold else "; the prediction failed"
    if len(arms) == 1:
        return fitting(f"The error of {arms[0]} falls with the budget", said)
    if len(set(leaders)) == 1:
        return fitting(f"{leaders[0]} holds the lead at all {number(len(leaders))} budgets", said)
    at = f"; the curves cross at {crossing}" if crossing else ""
    return fitting(f"{leaders[0]} leads at the smallest budget, {leaders[-1]} at the largest", at, said)


def orders_alike(
    world: str, reference: str, num_arms: int, correlation: str, sign: int, num_worlds: int = 1
) -> str:
    """Return how well a world, the best of some, orders arms as a reference does.

    Args:
        world: The world.
        reference: What is believed.
        num_arms: Arms that both have.
        correlation: Spearman's, as text.
        sign: 1 or -1 where the correlation surely is above or below zero, else 0.
        num_worlds: How many worlds were set beside the reference.
    """
    if num_worlds > 1:
        said = f"Of {number(num_worlds)} worlds {world} orders {num_arms} arms most like {reference}"
    elif sign:
        how = "as" if sign > 0 else "the other way round than"
        said = f"{world} orders {num_arms} arms {how} {reference} does"
    else:
        said = f"Whether {world} orders {num_arms} arms as {reference} does is not decided"
    return fitting(f"{said}: Spearman {correlation}")


# ------------------------------------------------------------------------------------------ small print


def basis(of: str, seeds: int, items: int, comparisons: int, looks: Sequence[str], margin: str) -> str:
    """Return what an answer rests on, in one line; `looks` are corrected for, `margin` is in words."""
    corrected = and_([*([f"{comparisons} comparisons"] if comparisons > 1 else []), *looks])
    parts = [
        f"{of[0].upper()}{of[1:]}",
        counted(seeds, "seed"),
        counted(items, "test item"),
        "95 % intervals",
    ]
    parts += [f"corrected for {corrected}"] if corrected else []
    parts += [f"less than {margin} do not matter"] if margin else []
    return f"{', '.join(parts)}."


def setting(models: Sequence[str], pairs: str, sources: Sequence[str], suites: Sequence[str]) -> str:
    """Return what was trained on what, and tested on what."""
    tested = f", tested on {and_(list(suites))}" if suites else ""
    return f"{and_(list(models))}, trained on {pairs} pairs of {and_(list(sources))}{tested}."


def fair(masks: str, budget: str = "", tuned: Sequence[str] = ()) -> str:
    """Return that arms differ in nothing but their masks, and what each was tuned to."""
    also = f" and the {and_(tuned)} that each was tuned to" if tuned else ""
    equal = f", at an equal budget of {budget}" if budget else ""
    return f"The arms differ in nothing but {masks}{also}{equal}."


def item_counts(total: int, ours: str, wins: int, theirs: str, losses: int, seeds: int) -> str:
    """Return on how many test items one arm alone is right, with every seed."""
    always = "" if seeds == 1 else f" with all {number(seeds)} seeds"
    return (
        f"Of {total:,} test items only {ours} gets {wins:,}{always}, and only {theirs} gets {losses:,}. "
        "The pictures are examples, no evidence."
    )


def seed_spread(points: float, own_df: int, borrowed: str, borrowed_df: float, p_value: float | None) -> str:
    """Return what a seed does to one arm alone, one standard deviation, and how well that is known."""
    size = f"{points:.2f} points" if points else "not seen beside the noise of test items"
    more = f", {borrowed_df:.0f} borrowed from {borrowed}" if borrowed else ", none borrowed"
    test = "" if p_value is None else f"; Bartlett's test of arms alike: p = {p_value:.2f}"
    return f"{size} (standard deviation of one arm alone; {own_df} degrees of freedom{more}{test})"
