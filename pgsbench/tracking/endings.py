"""How runs end early: why one failed, in words, and which points of a search the pruner has ended."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pgsbench.config.search import SearchConfig
from pgsbench.errors import Interrupted, RankLostError, RunHeldError, UserError
from pgsbench.records import files
from pgsbench.records.run_records import Failure, PrunedMark
from pgsbench.records.study_record import StudyRun
from pgsbench.tracking.rundir import RunDir


@contextmanager
def saying_why(run: RunDir) -> Iterator[None]:
    """Write why a run fails while it is held: nobody may take it for one that is free."""
    try:
        yield
    except (Interrupted, RunHeldError, RankLostError):  # no failure, or one that another rank tells of
        raise
    except Exception as error:
        run.fail(failure_of(error, run))
        raise


def failure_of(error: Exception, run: RunDir) -> Failure:
    """Return what is said of a run that failed; what is nobody's mistake leaves its traceback there."""
    if isinstance(error, UserError):
        return Failure(str(error))
    log = run.path / files.TRACEBACK
    try:
        log.write_text("".join(traceback.format_exception(error)))
    except OSError:  # such as a full disk, which is then the reason itself
        return Failure(_text_of(error))
    return Failure(_text_of(error), str(log))


def _text_of(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0][:300]
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}{f': {error.filename}' if error.filename else ''}"
    return f"{type(error).__name__}: {text}"


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
