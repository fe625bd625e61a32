"""What pruning would have missed, as a table: of a search with probes that was trained in full."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgsbench.reporting.cost.choice import choose
from pgsbench.reporting.render import Format, Header, Table, points
from pgsbench.reporting.results import Results

if TYPE_CHECKING:
    from pgsbench.execution.replays import Replay


def pruning_table(results: Results) -> Table | None:
    """What each pruner would have ended; None where the search has no probe, or was pruned."""
    search, study = results.study.record.config.search, results.study
    if search is None or search.probe is None:
        return None
    from pgsbench.execution.replays import replays  # late: what measures probes takes PyTorch

    if not (found := replays(study.folder, search, study.record.runs)):
        return None
    rows = [_row(results, one) for one in found]
    notes = [
        "Nothing was pruned: this is what each pruner would have done, had the points been trained one after "
        "the other in the order of the plan. Processes side by side know less of each other.",
        "Best: whether it would have been trained to its end; else the best that would, and by how many "
        "points it is behind.",
    ]
    header: Header = ["pruner", "points ended", ("training saved", Format("{:.0%}")), "best"]
    return Table("What pruning would have missed", header, rows, notes)


def _row(results: Results, replay: Replay) -> list[str | float]:
    labels = [label for label in results.study.labels if results.params_of(label)]
    best = choose(results)
    kept = [label for label in labels if label not in replay.ended]
    said = "kept"
    if best is not None and best.label in replay.ended:
        second = results.best(kept) if kept else ""
        behind = results.objective_value(second) - results.objective_value(best.label) if kept else 0.0
        said = f"lost: {second} instead, {points(behind)}"
    share = replay.saved_seconds / replay.total_seconds if replay.total_seconds else 0.0
    return [replay.pruner, f"{len(replay.ended)} of {len(labels)}", share, said]
