"""The table of a verdict, of few rows, and which comparisons it and the figure beside it show."""

from __future__ import annotations

from collections.abc import Sequence

from pgsbench.records.run_spec import short, short_paths
from pgsbench.reporting.columns import COST, known, reference_label, rows_of
from pgsbench.reporting.decision.decide import Decision, decisions
from pgsbench.reporting.render import PERCENT, POINTS, Header, Table, and_, percent
from pgsbench.reporting.results import Results, named
from pgsbench.reporting.statistics.comparison import SAME, Comparison, Missing, one_run_notes
from pgsbench.reporting.statistics.intervals import Interval

MAX_ROWS = 7
#: Points of a search over data: a grid of three by three is shown whole.
MAX_POINTS = 9
#: Outcome -> its mark, so that a reader need not read words.
MARKS = {
    "better": "▲ better",
    "worse": "▼ worse",
    "equivalent": "= equivalent",
    "undecided": "? undecided",
    SAME: "= the same training",
}
#: Columns of the costs (`pgsbench.reporting.columns`) -> what the table of the verdict calls them.
_COSTS = {"relative time": "time", "TFLOP": "TFLOP"}


def verdict_table(results: Results) -> Table:
    """Return at most `MAX_ROWS` arms, the best first: score, the candidate's lead, verdict, cost.

    Of a search over data: `MAX_POINTS` of its points, see `shown_decisions`.
    """
    found = decisions(results)
    arms = {(results.study.arm_of[one.candidate], results.study.arm_of[one.baseline]) for one in found}
    if results.is_over_data and len(arms) == 1 and (shown := shown_decisions(results)):
        return _points_table(results, shown, *arms.pop())
    ours = list(dict.fromkeys(one.candidate for one in found))
    if len(ours) > 1:  # of several points the best stands for all
        best = results.headline[results.study.arm_of[ours[0]]]
        found = sorted(found, key=lambda one: one.candidate == best)
    by_baseline = {one.baseline: one for one in sorted(found, key=lambda one: one.outcome != "missing")}
    headline = next(iter(results.groups), "")
    costs = [one for one in known(COST, list(rows_of(results).values())) if one.name in _COSTS]
    rows: list[list[object]] = []
    for label in shown_labels(results):
        mean, one = (
            results.mean(label, headline) if headline else Missing("no scores"),
            by_baseline.get(label),
        )
        rows.append(
            [
                label,
                None if isinstance(mean, Missing) else mean.estimate,
                one.interval if one else "",
                _outcome(one) if one else "",
                *(cost.value(rows_of(results)[label]) for cost in costs),
            ]
        )
    who = ours[0] if len(ours) == 1 else results.candidate
    behind = [(_COSTS[cost.name], cost.head[1]) for cost in costs]
    header: Header = ["arm", ("score", PERCENT), (f"{who} leads by", POINTS), f"{who} is", *behind]
    notes = [*_one_run(results, shown_labels(results), found), _reading(results, len(rows))]
    notes += pooling_notes([one for one in by_baseline.values() if one.baseline in shown_labels(results)])
    if not ours:  # nothing is compared, so there are no leads
        return Table("Verdict", [*header[:2], *header[4:]], [[*row[:2], *row[4:]] for row in rows], notes)
    return Table("Verdict", header, rows, notes)


def _points_table(results: Results, found: Sequence[Decision], ours: str, theirs: str) -> Table:
    paths = list(dict.fromkeys(path for one in found for path in results.params_of(one.candidate)))
    rows: list[list[object]] = []
    for one in found:
        params = results.params_of(one.candidate)
        means = [results.mean(label, one.of) for label in (one.candidate, one.baseline)]
        scores = [None if isinstance(mean, Missing) else mean.estimate for mean in means]
        chosen = [short(params[path]) if path in params else "" for path in paths]
        rows.append([*chosen, *scores, one.interval, _outcome(one)])
    behind = [ours, theirs, f"{ours} leads by", f"{ours} is"]
    numbers = zip(behind, (PERCENT, PERCENT, POINTS), strict=False)
    header: Header = [*short_paths(paths, taken=behind).values(), *numbers, behind[-1]]
    num_all = len(decisions(results))
    left = f" Shown: the {len(rows)} largest of {num_all} differences." if len(rows) < num_all else ""
    note = f"{named(found[0].of).capitalize()}, in percent. Each row is a world of its own.{left}"
    notes = [*_one_run(results, [], found), note, *pooling_notes(found)]
    return Table("Verdict", header, rows, notes)


def pooling_notes(found: Sequence[Decision]) -> list[str]:
    """Return what verdicts rest on that may not hold, each said once, with the comparisons it is about."""
    by_note: dict[str, list[str]] = {}
    for one in found:
        if one.note:
            pair = Comparison(one.candidate, one.baseline, one.of, one.interval).pair
            by_note.setdefault(one.note, []).append(pair)
    return [f"{and_(pairs)}: {note}." for note, pairs in by_note.items()]


def shown_decisions(results: Results) -> list[Decision]:
    """Return the verdicts on the first screen: of the arms in its table, in their order.

    Of a search over data: those with the largest differences, in the order of its points.
    """
    found = [one for one in decisions(results) if isinstance(one.interval, Interval)]
    if results.is_over_data:
        largest = sorted(found, key=lambda one: -abs(_estimate(one)))[:MAX_POINTS]
        return [one for one in found if one in largest]
    rows = shown_labels(results)
    found = [one for one in found if one.candidate in rows and one.baseline in rows]
    return sorted(found, key=lambda one: rows.index(one.baseline))[:MAX_ROWS]


def shown_labels(results: Results) -> list[str]:
    """Return the labels in the table of the verdict, the best first."""
    found = decisions(results)
    ours = [one.candidate for one in found]
    return _chosen(results, list(dict.fromkeys([*ours, *(one.baseline for one in found)])))


def _estimate(one: Decision) -> float:
    assert isinstance(one.interval, Interval)
    return one.interval.estimate


def _reading(results: Results, num_rows: int) -> str:
    """Return how the table of the verdict is to be read."""
    headline, reference = next(iter(results.groups), ""), reference_label(results)
    said = ""
    if headline:
        said = f"Score: {named(headline)}, in percent; guessing gives {percent(results.chance(headline))}. "
    seconds = rows_of(results)[reference].seconds
    said += f"Time: of a training; 1.00× is {reference}, {seconds:,.0f} s. " if seconds else ""
    said += "TFLOP: a training's operations. " if rows_of(results)[reference].summary.get("flops") else ""
    if len({ours for ours, _ in results.pairs}) > 1:
        said += f"Lead: of {results.candidate} at the values of the row, beside other rows of its best. "
    labels = len(results.study.labels)
    return (said + (f"Shown: {num_rows} of {labels}; all stand below." if num_rows < labels else "")).strip()


def _one_run(results: Results, labels: Sequence[str], found: Sequence[Decision]) -> list[str]:
    scores = [results.seeds(label)[0] for label in labels]
    return one_run_notes([*scores, *(one.num_seeds for one in found)])


def _outcome(one: Decision) -> str:
    """Return a verdict with its mark; it says, too, that it has one seed."""
    return one.verdict.replace(one.outcome, MARKS.get(one.outcome, one.outcome))


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
