"""All comparisons at a glance: a mark and a difference for each pair and group."""

from __future__ import annotations

from pgsbench.reporting.comparison import Comparison, Missing
from pgsbench.reporting.decision.decide import Decision, decisions
from pgsbench.reporting.render import Table, points
from pgsbench.reporting.results import Results

_MARKS = {"better": "▲", "worse": "▼", "equivalent": "=", "undecided": "?"}


def marks_table(results: Results) -> Table | None:
    """Return one row a pair, one column a group; None where nothing is compared."""
    if not results.pairs or not results.groups:
        return None
    by_pair: dict[tuple[str, str], list[Comparison]] = {}
    for one in results.group_comparisons:
        by_pair.setdefault((one.candidate, one.baseline), []).append(one)
    decided = {(one.candidate, one.baseline): one for one in decisions(results)}
    rows = [
        [family[0].pair, *(_cell(one, decided[pair]) for one in family)] for pair, family in by_pair.items()
    ]
    notes = [
        "Points. ▲ better, ▼ worse, = equivalent within the margin, ? undecided. Corrected for the number of "
        "comparisons: the first column by itself (the verdict), the others over all groups."
    ]
    reasons = {
        f"Missing: {one.interval.reason}."
        for one in results.group_comparisons
        if isinstance(one.interval, Missing)
    }
    notes += sorted(reasons)
    return Table("Comparisons at a glance", ["comparison", *results.groups], rows, notes)


def _cell(one: Comparison, decision: Decision) -> str:
    if isinstance(one.interval, Missing):
        return "missing"
    outcome = decision.outcome if one.of == decision.of else one.outcome
    mark = _MARKS.get(outcome, "–")
    return f"{mark} {points(one.interval.estimate)}"
