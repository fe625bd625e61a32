"""Which points of a search its pruner has ended, and how long their trainings would have taken."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pgsbench.config.search import SearchConfig
from pgsbench.records.marks import Marks, PrunedMark
from pgsbench.records.study_record import StudyRun
from pgsbench.tracking.rundir import RunDir


def pruned_points(
    folder: Path, search: SearchConfig | None, runs: Iterable[StudyRun]
) -> dict[str, PrunedMark]:
    """Return the points of which a run was pruned and is not complete, by label, each with the mark of a run.

    Args:
        folder: The study's folder.
        search: What it searches now: without the pruner that has ended a run, the run is like any other.
        runs: Its planned runs.
    """
    marks = Marks(folder).pruned(search)
    return {
        run.spec.label: marks[run.spec.id]
        for run in (runs if marks else ())
        if run.spec.id in marks and not RunDir(folder.parent / run.directory).is_done
    }


def saved_seconds(folder: Path, search: SearchConfig | None, runs: Iterable[StudyRun]) -> float:
    """Return how long the rest of the pruned trainings would have taken, by the speed of what was trained."""
    runs = list(runs)
    pruned, marks = pruned_points(folder, search, runs), Marks(folder).pruned(search)
    total = 0.0
    for spec in (run.spec for run in runs if run.spec.label in pruned):
        done = marks[spec.id].step if spec.id in marks else 0
        total += pruned[spec.label].saved_seconds(spec.config.training.steps - done)
    return total
