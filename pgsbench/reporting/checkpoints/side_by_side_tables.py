"""Tables of clip_benchmark's command line and ours on one suite."""

from __future__ import annotations

from pgsbench.evaluation.reference import TOLERANCE
from pgsbench.evaluation.side_by_side import SideBySide
from pgsbench.reporting.render import Table


def score_table(found: SideBySide) -> Table:
    """Return every score that both sides measure, and whether the two agree."""
    different = set(found.different)
    rows = []
    for score, theirs in found.shared:
        verdict = "equal"
        if abs(score.value - theirs) > TOLERANCE:
            verdict = f"differs by at most its {score.num_ties} ties"
        if f"{score.task} {score.metric}" in different:
            verdict = "DIFFERENT"
        seconds = f"{found.theirs[score.task].cost.seconds:.1f}" if score.primary else ""
        rows.append([score.task, score.metric, f"{theirs:.6f}", f"{score.value:.6f}", seconds, verdict])
    lacking = [task.name for task in found.suite.tasks if task.name not in found.theirs]
    notes = [f"in our time only, as clip_benchmark has no such task: {', '.join(lacking)}"] if lacking else []
    header = ["task", "metric", "clip_benchmark", "pgsbench", "its seconds", "scores"]
    return Table(f"Suite {found.suite.name}", header, rows, notes, text_columns=(1, 5))


def cost_table(found: SideBySide) -> Table:
    """Return what both sides took, and theirs by ours."""
    theirs, ours = found.cost, found.ours
    rows = [
        [name, f"{cost.seconds:.1f}", f"{cost.cpu_seconds:.1f}", str(count)]
        for name, cost, count in (("clip_benchmark", theirs, len(found.theirs)), ("pgsbench", ours, 1))
    ]
    ratios = (theirs.seconds / ours.seconds, theirs.cpu_seconds / ours.cpu_seconds)
    rows.append(["ratio", *(f"{ratio:.1f}" for ratio in ratios), ""])
    return Table("What both took", ["side", "seconds", "processor seconds", "processes"], rows)
