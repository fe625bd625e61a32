"""Tables of clip_benchmark's command line and ours on one suite."""

from __future__ import annotations

from pgsbench.evaluation.reference import TOLERANCE
from pgsbench.evaluation.side_by_side import SideBySide
from pgsbench.reporting.render import COUNT, Format, Header, Table

_VALUE, _SECONDS = Format("{:.6f}"), Format("{:.1f}")


def score_table(found: SideBySide) -> Table:
    """Return every score that both sides measure, and whether the two agree."""
    different = set(found.different)
    rows: list[list[object]] = []
    for score, theirs in found.shared:
        verdict = "equal"
        if abs(score.value - theirs) > TOLERANCE:
            verdict = f"differs by at most its {score.num_ties} ties"
        if f"{score.task} {score.metric}" in different:
            verdict = "DIFFERENT"
        seconds = found.theirs[score.task].cost.seconds if score.primary else ""
        rows.append([score.task, score.metric, theirs, score.value, seconds, verdict])
    lacking = [task.name for task in found.suite.tasks if task.name not in found.theirs]
    notes = [f"in our time only, as clip_benchmark has no such task: {', '.join(lacking)}"] if lacking else []
    values = [("clip_benchmark", _VALUE), ("pgsbench", _VALUE), ("its seconds", _SECONDS)]
    header: Header = ["task", "metric", *values, "scores"]
    return Table(f"Suite {found.suite.name}", header, rows, notes)


def cost_table(found: SideBySide) -> Table:
    """Return what both sides took, and theirs by ours."""
    theirs, ours = found.cost, found.ours
    rows: list[list[object]] = [
        [name, cost.seconds, cost.cpu_seconds, count]
        for name, cost, count in (("clip_benchmark", theirs, len(found.theirs)), ("pgsbench", ours, 1))
    ]
    ratios = (theirs.seconds / ours.seconds, theirs.cpu_seconds / ours.cpu_seconds)
    rows.append(["ratio", *ratios, ""])
    header: Header = ["side", ("seconds", _SECONDS), ("processor seconds", _SECONDS), ("processes", COUNT)]
    return Table("What both took", header, rows)
