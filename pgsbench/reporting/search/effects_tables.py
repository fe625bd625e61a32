"""The tables of the section "Main effects and interactions", and its sentence in the verdict."""

from __future__ import annotations

from collections.abc import Sequence

from pgsbench.reporting.render import P_VALUE, PERCENT, POINTS, Header, Table, and_, percent, points
from pgsbench.reporting.results import Results, named
from pgsbench.reporting.search.effects import REST, SEEDS, Effects, Level, effects
from pgsbench.reporting.statistics.comparison import ALPHA, Missing

#: Most cells that are shown of those that deviate from additivity.
MAX_DEVIATIONS = 8


def effects_tables(results: Results) -> list[Table]:
    """Main effects, shares of the variance, interactions of a grid search; none where they are not known."""
    found = effects(results)
    if not isinstance(found, Effects):
        return []
    tables = [_main_effects(found), _variance(found)]
    return [*tables, _interactions(found)] if found.deviations else tables


def effects_missing(results: Results) -> str:
    """Return why the effects of a grid search cannot be told, as a sentence; empty where they can."""
    found, cannot = effects(results), "Main effects and interactions cannot be told"
    return f"{cannot}: {found.reason}." if isinstance(found, Missing) else ""


def effects_sentences(results: Results) -> list[str]:
    """Return what moved the scores of a grid search, and what to do with it, a sentence each."""
    found = effects(results)
    if not isinstance(found, Effects):
        return []
    terms = [term for term in found.terms if term.name not in (SEEDS, REST)]
    said = [f"{term.name} {percent(term.share)} % (by chance {percent(term.by_chance)})" for term in terms]
    sentence = (
        f"What moves scores on {named(found.of)}, in shares of the variance between runs: {and_(said)}."
    )
    if found.deviations:
        first = found.deviations[0]
        ends = f"95 % interval {points(first.interval.low)} to {points(first.interval.high)}"
        sentence += (
            f" {first.label} lies farthest from the sum of its levels' effects "
            f"({points(first.interval.estimate)} points, {ends})."
            if first.adjusted_p < ALPHA
            else " No point lies significantly off the sum of its levels' effects, which does not show that "
            "effects add up."
        )
    return [sentence, _advice(found)]


def _advice(found: Effects) -> str:
    """Say which levels of each factor to take and which not: those whose interval lies off the mean."""
    said = []
    for factor in dict.fromkeys(level.factor for level in found.levels):
        levels = sorted(
            (level for level in found.levels if level.factor == factor),
            key=lambda level: level.effect.estimate,
            reverse=True,
        )
        above = _or([level for level in levels if level.effect.low > 0])
        below = _or([level for level in reversed(levels) if level.effect.high < 0])
        wanted = [*([f"take {above}"] if above else []), *([f"not {below}"] if below else [])]
        said.append(f"of {factor} {', '.join(wanted) or 'any'}")
    return (
        f"What to do with it, with such data, model and budget: {'; '.join(said)}. In points off the mean of "
        f"all runs on {named(found.of)}, 95 % intervals each for itself; other levels cannot be told from it."
    )


def _or(levels: Sequence[Level]) -> str:
    return and_([f"{level.level} ({points(level.effect.estimate)})" for level in levels], "or")


def _main_effects(found: Effects) -> Table:
    rows = [[one.factor, one.level, one.mean, one.effect] for one in found.levels]
    notes = [
        f"Score on {named(found.of)}, mean over all other factors and seeds. Effect: minus the mean of all "
        "runs, in points, with a 95 % interval over test items and seeds, each for itself.",
    ]
    header: Header = ["factor", "level", ("mean", PERCENT), ("effect", POINTS)]
    return Table("Main effects", header, rows, notes, num_keys=2)


def _variance(found: Effects) -> Table:
    rows: list[list[object]] = []
    for term in found.terms:
        p = "" if term.name == REST else term.p_value
        by_chance = "" if term.name == REST else term.by_chance
        rows.append([term.name, term.share, by_chance, p])
    notes = [
        f"Analysis of variance of the scores of runs on {named(found.of)}, in percent, seeds as blocks. "
        "Rest: what seeds do to single points. By chance: the share that a source without effect has on "
        "average. p: F-test against the rest; about these test items, not about others.",
    ]
    if found.num_seeds == 2:
        notes.append("Two seeds find large interactions only.")
    header: Header = ["source", ("share", PERCENT), ("by chance", PERCENT), ("p", P_VALUE)]
    return Table("Shares of the variance", header, rows, notes)


def _interactions(found: Effects) -> Table:
    rows = [[one.label, one.interval, one.adjusted_p] for one in found.deviations[:MAX_DEVIATIONS]]
    notes = [
        f"{len(rows)} of {len(found.deviations)} points, those that lie farthest from the mean plus the "
        "effects of their levels, in points, with 95 % intervals. Having been picked flatters them; p is "
        "Holm's over all points.",
    ]
    return Table("Largest interactions", ["point", ("deviation", POINTS), ("p (Holm)", P_VALUE)], rows, notes)
