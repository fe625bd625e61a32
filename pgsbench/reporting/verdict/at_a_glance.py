"""All comparisons at a glance: a mark and a difference for each pair and group."""

from __future__ import annotations

from pgsbench.reporting.decision.comparisons import group_comparisons
from pgsbench.reporting.render import COUNT, Table, counted, points
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.comparison import Comparison, Missing, one_run_notes
from pgsbench.reporting.statistics.intervals import Interval

_MARKS = {"better": "▲", "worse": "▼", "equivalent": "=", "undecided": "?"}


def marks_table(results: Results) -> Table | None:
    """Return one row a pair, one column a group; None where nothing is compared."""
    if not results.pairs or not results.groups:
        return None
    by_pair: dict[tuple[str, str], list[Comparison]] = {}
    for one in group_comparisons(results):
        by_pair.setdefault((one.candidate, one.baseline), []).append(one)
    rows = [[family[0].pair, *(_cell(results, one) for one in family)] for family in by_pair.values()]
    every = group_comparisons(results)
    notes = one_run_notes(one.interval.num_seeds for one in every if isinstance(one.interval, Interval))
    notes += [
        "Points. ▲ better, ▼ worse, = equivalent within the margin, ? undecided. Corrected for the number of "
        "comparisons: the first column by itself (the verdict), the others together."
    ]
    reasons = {one.interval.reason for one in every if isinstance(one.interval, Missing)}
    if reasons:
        more = f", and {counted(len(reasons) - 1, 'reason')} more" if len(reasons) > 1 else ""
        notes.append(f"Missing: {min(reasons)}{more}.")
    return Table(
        "Comparisons at a glance", ["comparison", *((group, COUNT) for group in results.groups)], rows, notes
    )


def _cell(results: Results, one: Comparison) -> str:
    if isinstance(one.interval, Missing):
        return "missing"
    mark = _MARKS.get(one.outcome, "–")
    return f"{mark} {points(one.interval.estimate)}"
