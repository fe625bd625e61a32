"""Which points of a search its pruner has ended, and how long their trainings would have taken."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pgsbench.config.search import SearchConfig
from pgsbench.records.run_records import PrunedMark
from pgsbench.records.study_record import StudyRun
from pgsbench.tracking.rundir import RunDir


def pruned_runs(
    folder: Path, search: SearchConfig | None, runs: Iterable[StudyRun]
) -> dict[str, tuple[StudyRun, PrunedMark]]:
    """Return the runs that the pruner of a search has ended, by id.

    Args:
        folder: The study's folder.
        search: What it searches now: without the pruner that has ended a run, the run is like any other.
        runs: Its planned runs.
    """
    found = {}
    for run in runs if search is not None and search.pruner else ():
        mark = RunDir(folder.parent / run.directory).pruned
        if mark is not None and search and (mark.study, mark.pruner) == (run.spec.study, search.pruner):
            found[run.spec.id] = run, mark
    return found


def pruned_points(
    folder: Path, search: SearchConfig | None, runs: Iterable[StudyRun]
) -> dict[str, PrunedMark]:
    """Return the points of which a run was pruned and is not complete, by label; see `pruned_runs`."""
    return {
        run.spec.label: mark
        for run, mark in pruned_runs(folder, search, runs).values()
        if not RunDir(folder.parent / run.directory).is_done
    }


def saved_seconds(folder: Path, search: SearchConfig | None, runs: Iterable[StudyRun]) -> float:
    """Return how long the rest of the pruned trainings would have taken, by the speed of what was trained."""
    runs = list(runs)
    pruned, ended = pruned_points(folder, search, runs), pruned_runs(folder, search, runs)
    total = 0.0
    for spec in (run.spec for run in runs if run.spec.label in pruned):
        done = ended[spec.id][1].step if spec.id in ended else 0
        total += pruned[spec.label].saved_seconds(spec.config.training.steps - done)
    return total
