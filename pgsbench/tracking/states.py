"""How a run stands, and why it ended early, read from what its processes leave; nobody is asked."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from pgsbench.config.search import SearchConfig
from pgsbench.disk.held import Holder, holder_of
from pgsbench.errors import Interrupted, RankLostError, RunHeldError, UserError
from pgsbench.records import files
from pgsbench.records.run_records import Failure, PrunedMark
from pgsbench.records.study_record import Entry, StudyRecord
from pgsbench.tracking.rundir import RunDir, find_runs

#: Lost: its process is gone; who gives the command again goes on with it.
State = Literal["waiting", "queued", "running", "done", "pruned", "failed", "lost"]
STATES: tuple[State, ...] = get_args(State)
#: States of runs that nobody will work on unless he is asked to.
ENDED: tuple[State, ...] = ("done", "pruned", "failed")


def state(run: RunDir, *, is_pruned: bool = False) -> State:
    """Return how a run stands; queued: it was given to a job of a cluster, which has not taken it yet.

    Args:
        run: The run; it need not exist yet.
        is_pruned: Whether its study's pruner has ended it, or another seed of its point.
    """
    return _state(run, holder_of(run.path), is_pruned)  # the holder first: what it leaves is then whole


def _state(run: RunDir, holder: Holder | None, is_pruned: bool) -> State:
    if holder is not None and not holder.is_lost:
        return "running"
    if run.is_done:
        return "done"
    if run.failure is not None:
        return "failed"
    if is_pruned:
        return "pruned"
    if holder is not None:
        return "lost"
    return "queued" if run.job is not None else "waiting"


@dataclass(frozen=True)
class RunStatus:
    """How a planned run stands, and how far it is.

    Attributes:
        name: `RunSpec.name`.
        id: Its id.
        state: See `state`.
        host: Where it is worked on, or was last.
        job: Its job on a cluster, or empty.
        step: Steps done.
        steps: Steps in all.
        samples_per_second: Pairs seen per second of training; None before the first line of metrics.
        seconds_left: Of training; None where that cannot be told.
        why: Why it failed, or was pruned.
        log: A file or folder that tells more.
    """

    name: str
    id: str
    state: State
    host: str = ""
    job: str = ""
    step: int = 0
    steps: int = 0
    samples_per_second: float | None = None
    seconds_left: float | None = None
    why: str = ""
    log: str = ""


def statuses(folder: Path) -> list[RunStatus]:
    """Return how each planned run of the study in `folder` stands, in the order of the plan.

    Raises:
        UserError: A file of the study or of a run is damaged.
    """
    record = StudyRecord.read(folder)
    pruned = pruned_points(folder, record.config.search, record.runs)
    planned = {run.spec.id: RunDir(folder.parent / run.directory) for run in record.runs}
    # Another study may have begun a run since it was planned here.
    elsewhere = find_runs(folder.parent, {run_id for run_id, run in planned.items() if not run.exists})
    directories = planned | elsewhere
    whys = {label: mark.why for label, mark in pruned.items()}
    return [_status(directories[one.spec.id], one, whys.get(one.spec.label)) for one in record.runs]


def _status(run: RunDir, planned: Entry, why_pruned: str | None) -> RunStatus:
    spec, holder, job = planned.spec, holder_of(run.path), run.job
    steps, line = spec.config.training.steps, run.last_line()
    found = RunStatus(
        spec.name,
        spec.id,
        _state(run, holder, why_pruned is not None),
        host=holder.machine if holder else "",
        job=job.id if job else "",
        step=int(line.get("step", 0)),
        steps=steps,
    )
    if found.state == "done":
        return replace(found, step=steps)
    if found.state == "failed" and (failure := run.failure):
        return replace(found, why=failure.error, log=failure.log)
    if found.state == "pruned":
        return replace(found, why=why_pruned or "")
    if found.state == "running" and (seconds := float(line.get("seconds", 0))) > 0 and found.step:
        speed, left = found.step * spec.config.training.batch_size / seconds, steps - found.step
        log = str(run.path / files.METRICS)
        return replace(found, samples_per_second=speed, seconds_left=left * seconds / found.step, log=log)
    return replace(found, log=job.folder) if found.state == "queued" and job else found


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
    folder: Path, search: SearchConfig | None, runs: Iterable[Entry]
) -> dict[str, tuple[Entry, PrunedMark]]:
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


def pruned_points(folder: Path, search: SearchConfig | None, runs: Iterable[Entry]) -> dict[str, PrunedMark]:
    """Return the points of which a run was pruned and is not complete, by label; see `pruned_runs`."""
    return {
        run.spec.label: mark
        for run, mark in pruned_runs(folder, search, runs).values()
        if not RunDir(folder.parent / run.directory).is_done
    }


def saved_seconds(folder: Path, search: SearchConfig | None, runs: Iterable[Entry]) -> float:
    """Return how long the rest of the pruned trainings would have taken, by the speed of what was trained."""
    runs = list(runs)
    pruned, ended = pruned_points(folder, search, runs), pruned_runs(folder, search, runs)
    total = 0.0
    for spec in (run.spec for run in runs if run.spec.label in pruned):
        done = ended[spec.id][1].step if spec.id in ended else 0
        total += pruned[spec.label].saved_seconds(spec.config.training.steps - done)
    return total
