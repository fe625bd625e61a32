"""The tables that a reader sees first: of a verdict, of few rows, and all comparisons at a glance."""

from __future__ import annotations

from collections.abc import Sequence

from pgsbench.records.run_spec import short_paths
from pgsbench.reporting.columns import COST, known, reference_label, rows_of
from pgsbench.reporting.decision.comparisons import decisions, group_comparisons
from pgsbench.reporting.render import COUNT, PERCENT, POINTS, Header, Table, and_, counted, percent, points
from pgsbench.reporting.results import Results, named
from pgsbench.reporting.statistics.comparison import SAME, Comparison, Missing, one_run_notes
from pgsbench.reporting.statistics.intervals import Interval

MAX_ROWS = 7
#: Points of a search over data: a grid of three by three is shown whole.
MAX_POINTS = 9
#: Outcome -> its mark, so that a reader need not read words.
MARKS = {"better": "▲", "worse": "▼", "equivalent": "=", "undecided": "?", SAME: "="}
#: Columns of the costs (`pgsbench.reporting.columns`) -> what the table of the verdict calls them.
_COSTS = {"relative time": "time", "TFLOP": "TFLOP"}


def marked(outcome: str) -> str:
    """Return an outcome with its mark before it."""
    return f"{MARKS[outcome]} {outcome}" if outcome in MARKS else outcome


def verdict_table(results: Results) -> Table:
    """Return at most `MAX_ROWS` arms, the best first: score, the candidate's lead, verdict, cost.

    Of a search over data with one baseline: the `MAX_POINTS` of its points with the largest differences.
    """
    found = decisions(results)
    arms = {(results.study.arm_of[one.candidate], results.study.arm_of[one.baseline]) for one in found}
    if results.is_over_data and len(arms) == 1 and any(one.num_seeds for one in found):
        return _points_table(results, *arms.pop())
    ours, labels = list(dict.fromkeys(one.candidate for one in found)), _shown_labels(results)
    if len(ours) > 1:  # of several points the best stands for all
        best = results.best_of[results.study.arm_of[ours[0]]]
        found = sorted(found, key=lambda one: one.candidate == best)
    by_baseline = {one.baseline: one for one in sorted(found, key=lambda one: one.outcome != "missing")}
    costs = [one for one in known(COST, list(rows_of(results).values())) if one.name in _COSTS]
    rows: list[list[object]] = []
    for label in labels:
        one = by_baseline.get(label)
        lead = [one.interval, _outcome(one)] if one else ["", ""]
        if not ours:  # nothing is compared, so there are no leads
            lead = []
        spent = [cost.value(rows_of(results)[label]) for cost in costs]
        rows.append([label, _score(results, label), *lead, *spent])
    who = ours[0] if len(ours) == 1 else results.candidate
    header: Header = ["arm", ("score", PERCENT)]
    header += [(f"{who} leads by", POINTS), f"{who} is"] if ours else []
    header += [(_COSTS[cost.name], cost.head[1]) for cost in costs]
    shown = [one for label, one in by_baseline.items() if label in labels]
    seeds = [results.seeds(label)[0] for label in labels] + [one.num_seeds for one in found]
    notes = [*one_run_notes(seeds), _reading(results, len(rows)), *_pooling_notes(shown)]
    return Table("Verdict", header, rows, notes)


def _points_table(results: Results, ours: str, theirs: str) -> Table:
    sizes = {
        one: abs(one.interval.estimate) for one in decisions(results) if isinstance(one.interval, Interval)
    }
    largest = sorted(sizes, key=lambda one: -sizes[one])[:MAX_POINTS]
    found = [one for one in sizes if one in largest]
    paths = list(dict.fromkeys(path for one in found for path in results.params_of(one.candidate)))
    rows: list[list[object]] = []
    for one in found:
        scores = [_score(results, label) for label in (one.candidate, one.baseline)]
        rows.append([*results.chosen(one.candidate, paths), *scores, one.interval, _outcome(one)])
    behind = [ours, theirs, f"{ours} leads by", f"{ours} is"]
    numbers = zip(behind, (PERCENT, PERCENT, POINTS), strict=False)
    header: Header = [*short_paths(paths, taken=behind).values(), *numbers, behind[-1]]
    num_all = len(decisions(results))
    left = f" Shown: the {len(rows)} largest of {num_all} differences." if len(rows) < num_all else ""
    note = f"{named(found[0].of).capitalize()}, in percent. Each row is a world of its own.{left}"
    notes = [*one_run_notes(one.num_seeds for one in found), note, *_pooling_notes(found)]
    return Table("Verdict", header, rows, notes)


def marks_table(results: Results) -> Table | None:
    """Return all comparisons at a glance: a row a pair, a column a group; None where nothing is compared."""
    if not results.pairs or not results.groups:
        return None
    every = group_comparisons(results)
    rows: dict[str, list[str]] = {}
    for one in every:
        cell = "missing"
        if isinstance(one.interval, Interval):
            cell = f"{MARKS[one.outcome]} {points(one.interval.estimate)}"
        rows.setdefault(one.pair, []).append(cell)
    notes = one_run_notes(one.num_seeds for one in every)
    notes += [
        "Points. ▲ better, ▼ worse, = equivalent within the margin, ? undecided. Corrected for the number of "
        "comparisons: the first column by itself (the verdict), the others together."
    ]
    reasons = {one.interval.reason for one in every if isinstance(one.interval, Missing)}
    if reasons:
        more = f", and {counted(len(reasons) - 1, 'reason')} more" if len(reasons) > 1 else ""
        notes.append(f"Missing: {min(reasons)}{more}.")
    header: Header = ["comparison", *((group, COUNT) for group in results.groups)]
    return Table("Comparisons at a glance", header, [[pair, *cells] for pair, cells in rows.items()], notes)


def _pooling_notes(found: Sequence[Comparison]) -> list[str]:
    """Return what verdicts rest on that may not hold, each said once, with the comparisons it is about."""
    by_note: dict[str, list[str]] = {}
    for one in found:
        if one.note:
            by_note.setdefault(one.note, []).append(one.pair)
    return [f"{and_(pairs)}: {note}." for note, pairs in by_note.items()]


def _shown_labels(results: Results) -> list[str]:
    """Return the labels in the table of the verdict, the best first: of many those that are compared."""
    found = decisions(results)
    compared = list(dict.fromkeys([one.candidate for one in found] + [one.baseline for one in found]))
    ranked = sorted(results.study.labels, key=lambda label: _score(results, label) or -1.0, reverse=True)
    wanted = dict.fromkeys([*compared[:1], *(label for label in ranked if label in compared[1:]), *ranked])
    kept = list(wanted)[:MAX_ROWS]
    return [label for label in ranked if label in kept]


def _score(results: Results, label: str) -> float | None:
    mean = results.mean(label, results.headline)
    return mean.estimate if isinstance(mean, Interval) else None


def _reading(results: Results, num_rows: int) -> str:
    """Return how the table of the verdict is to be read."""
    headline, reference = results.headline, reference_label(results)
    row, said = rows_of(results)[reference], []
    if headline:
        chance = percent(results.chance(headline))
        said.append(f"Score: {named(headline)}, in percent; guessing gives {chance}.")
    if row.seconds:
        said.append(f"Time: of a training; 1.00× is {reference}, {row.seconds:,.0f} s.")
    if row.summary.get("flops"):
        said.append("TFLOP: a training's operations.")
    if len({ours for ours, _ in results.pairs}) > 1:
        said.append(f"Lead: of {results.candidate} at the values of the row, beside other rows of its best.")
    if num_rows < (labels := len(results.study.labels)):
        said.append(f"Shown: {num_rows} of {labels}; all stand below.")
    return " ".join(said)


def _outcome(one: Comparison) -> str:
    """Return a verdict with its mark; it says, too, that it has one seed."""
    return one.verdict.replace(one.outcome, marked(one.outcome))
