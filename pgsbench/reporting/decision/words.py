"""A study's verdict in one line, how sure it is in another, and in a table of few rows."""

from __future__ import annotations

from collections.abc import Sequence

from pgsbench.reporting.columns import COST, known, rows_of
from pgsbench.reporting.comparison import Comparison, Missing, of_one_run
from pgsbench.reporting.decision.decide import Decision, decisions, plan_of
from pgsbench.reporting.render import MISSING_CELL, Table, and_, counted, interval_cell, percent, points
from pgsbench.reporting.results import Results, named
from pgsbench.reporting.stats import Interval

MAX_ROWS = 7
#: Outcome -> its mark, so that a reader need not read words.
MARKS = {"better": "▲ better", "worse": "▼ worse", "equivalent": "= equivalent", "undecided": "? undecided"}
_CLAIMS = {"better": "better than", "worse": "worse than", "equivalent": "as good as"}


def answer(results: Results) -> str:
    """Return the answer to the study's question in one line; first of all whether it is about one run."""
    every = decisions(results)
    found = [one for one in every if one.outcome != "missing"]
    if not found:
        return "Nothing can be said yet: no two arms that are compared have results."
    said = _answer(results, found)
    missing = dict.fromkeys(one.baseline for one in every if one.outcome == "missing")
    if missing:
        said = f"{said.removesuffix('.')}; {and_(list(missing))} cannot be compared."
    return of_one_run(said, _seeds(found))


def _answer(results: Results, found: Sequence[Decision]) -> str:
    if len(found) == 1:
        return _one(found[0])
    candidates = list(dict.fromkeys(one.candidate for one in found))
    if len(candidates) > 1:
        return _counts(results.candidate, found)
    parts = [
        f"{claim} {and_([_shown(one) for one in found if one.outcome == outcome])}"
        for outcome, claim in _CLAIMS.items()
        if any(one.outcome == outcome for one in found)
    ]
    open_ = [_shown(one) for one in found if one.outcome == "undecided"]
    said = f"{candidates[0]} is {', '.join(parts)}" if parts else ""
    left = f"undecided against {and_(open_)}" if open_ else ""
    if not said:
        said, left = f"Undecided: {candidates[0]} against {and_(open_)}", ""
    return f"{said}{'; ' if left else ''}{left}."


def certainty(results: Results) -> str:
    """Return how sure the answer is in one line: seeds, test items, looks, and what would decide the rest."""
    found = [one for one in decisions(results) if isinstance(one.interval, Interval)]
    if not found:
        return "No interval: results are missing."
    first = found[0].interval
    assert isinstance(first, Interval)
    seeds = _seeds(found)
    said = f"On {named(found[0].of)}: {counted(seeds, 'seed')}, {counted(first.num_items, 'test item')}, "
    said += f"95 % intervals; differences below {percent(found[0].margin)} points do not matter"
    if len(found) > 1:
        said += f"; corrected for {len(found)} comparisons"
    if plan_of(results) is not None:
        said += " and for having looked after each seed" if len(found) > 1 else "; corrected for each look"
    said += "; another seed may tell otherwise" if seeds == 1 else ""
    return f"{said}.{_needed(found)}{_world(results)}"


def _world(results: Results) -> str:
    """Say of the generated world how far it may be believed; docs/scenes.md begins with how that is known."""
    worlds = {run.spec.config.data.source.partition("?")[0] for run in results.study.runs}
    said = " Scenes order masks only in part as photos do (docs/scenes.md): try photos before you believe it."
    return said if worlds == {"scenes"} else ""


def verdict_table(results: Results) -> Table:
    """Return at most `MAX_ROWS` arms, the best first: score, the candidate's lead, verdict, time."""
    found = decisions(results)
    ours = list(dict.fromkeys(one.candidate for one in found))
    if len(ours) > 1:  # of several points the best stands for all
        best = results.headline[results.study.arm_of[ours[0]]]
        found = sorted(found, key=lambda one: one.candidate == best)
    by_baseline = {one.baseline: one for one in sorted(found, key=lambda one: one.outcome != "missing")}
    headline = next(iter(results.groups), "")
    cost = next(
        (column for column in known(COST, list(rows_of(results).values())) if "time" in column.name), None
    )
    rows = []
    for label in _chosen(results, [*ours, *by_baseline]):
        mean, one = (
            results.mean(label, headline) if headline else Missing("no scores"),
            by_baseline.get(label),
        )
        rows.append(
            [
                label,
                MISSING_CELL if isinstance(mean, Missing) else percent(mean.estimate),
                _lead(one),
                MARKS.get(one.outcome, one.outcome) if one else "",
                cost.cell(rows_of(results)[label]) if cost else "",
            ]
        )
    lead = f"{ours[0]} leads by" if len(ours) == 1 else "candidate leads by"
    header = ["arm", "score", lead, "verdict", "time"]
    return Table("Verdict", header, rows, text_columns=(3,))


def _one(one: Decision) -> str:
    assert isinstance(one.interval, Interval)
    ours, theirs, values = Comparison(one.candidate, one.baseline, one.of, one.interval).names
    at = f" at {values}" if values else ""
    lead = f"{points(one.interval.estimate)} points ({_ends(one.interval)})"
    if one.outcome == "undecided":
        return f"Undecided: {ours} against {theirs}{at}, {lead}."
    within = f" within {percent(one.margin)} points" if one.outcome == "equivalent" else ""
    return f"{ours} is {_CLAIMS[one.outcome]} {theirs}{within}{at}: {lead}."


def _shown(one: Decision) -> str:
    assert isinstance(one.interval, Interval)
    return f"{one.baseline} ({points(one.interval.estimate)})"


def _counts(candidate: str, found: Sequence[Decision]) -> str:
    counts = {outcome: sum(one.outcome == outcome for one in found) for outcome in MARKS}
    said = and_([f"{outcome} in {number}" for outcome, number in counts.items() if number])
    return f"{candidate}, {len(found)} comparisons: {said}."


def _needed(found: Sequence[Decision]) -> str:
    open_ = [one for one in found if one.outcome == "undecided"]
    if not open_ or any(isinstance(one.interval, Interval) and one.interval.num_seeds == 1 for one in open_):
        return ""
    seeds = [one.seeds_needed for one in open_]
    known_seeds = [number for number in seeds if number is not None]
    if len(known_seeds) == len(seeds):
        return f" About {max(known_seeds)} seeds in all would probably decide."
    items = [one.items_needed for one in open_]
    known_items = [number for number in items if number is not None]
    if len(known_items) == len(items):
        return f" Seeds alone will not decide it; about {max(known_items):,} test items would."
    return " Neither a few hundred seeds nor many more test items would decide it alone."


def _seeds(found: Sequence[Decision]) -> int:
    return min(one.interval.num_seeds for one in found if isinstance(one.interval, Interval))


def _ends(found: Interval) -> str:
    return f"{points(found.low)} to {points(found.high)}"


def _lead(one: Decision | None) -> str:
    if one is None:
        return ""
    if isinstance(one.interval, Missing):
        return MISSING_CELL
    return interval_cell(one.interval.estimate, one.interval.low, one.interval.high, signed=True)


def _chosen(results: Results, compared: Sequence[str]) -> list[str]:
    """Return the labels that the table shows: those compared first, then the best, by their scores."""
    headline = next(iter(results.groups), "")

    def score(label: str) -> float:
        mean = results.mean(label, headline) if headline else Missing("")
        return -1.0 if isinstance(mean, Missing) else mean.estimate

    ranked = sorted(results.study.labels, key=score, reverse=True)
    wanted = dict.fromkeys([*compared[:1], *sorted(compared[1:], key=score, reverse=True), *ranked])
    kept = list(wanted)[:MAX_ROWS]
    return [label for label in ranked if label in kept]
