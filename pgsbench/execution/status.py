"""How each run of a study stands, read from the files that its processes leave; nobody is asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pgsbench.disk import leases
from pgsbench.records import files
from pgsbench.records.marks import Marks, PrunedMark
from pgsbench.records.study_record import StudyRecord, StudyRun
from pgsbench.tracking.pruned import pruned_points
from pgsbench.tracking.rundir import RunDir, find_runs

WAITING, QUEUED, RUNNING, DONE, FAILED, LOST = "waiting", "queued", "running", "done", "failed", "lost"
PRUNED = "pruned"
STATES = (WAITING, QUEUED, RUNNING, DONE, PRUNED, FAILED, LOST)
#: States of runs that nobody will work on unless he is asked to.
ENDED = (DONE, PRUNED, FAILED)


@dataclass(frozen=True)
class RunStatus:
    """How a planned run stands.

    Attributes:
        name: `RunSpec.name`.
        id: Its id.
        state: One of `STATES`; lost: its process is gone, and another one will go on with it.
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
    state: str
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
        StudyError: A file of the study is damaged.
    """
    marks, record = Marks(folder), StudyRecord.read(folder)
    pruned = pruned_points(folder, record.config.search, record.runs)
    planned = {run.spec.id: RunDir(folder.parent / run.directory) for run in record.runs}
    # Another study may have begun a run since it was planned here.
    elsewhere = find_runs(folder.parent, {run_id for run_id, run in planned.items() if not run.exists})
    directories = planned | elsewhere
    return [_status(directories[run.spec.id], run, marks, pruned.get(run.spec.label)) for run in record.runs]


def may_draw(folder: Path) -> bool:
    """Tell whether a search that samples has points left to draw, and somebody was seen at it lately.

    Raises:
        StudyError: A file of the study is damaged.
    """
    record = StudyRecord.read(folder)
    search = record.config.search
    if search is None or search.sampler == "grid" or Marks(folder).is_cancelled:
        return False
    points = {run.spec.label for run in record.runs if run.spec.params}
    # Each run that begins or ends takes the study's lease, and so does who draws.
    return len(points) < (search.trials or 0) and leases.was_had_lately(folder)


def _status(run: RunDir, planned: StudyRun, marks: Marks, pruned: PrunedMark | None) -> RunStatus:
    spec, holder = planned.spec, leases.holder_of(run.path)
    is_lost = holder is not None and leases.seems_lost(run.path)
    steps, line = spec.config.training.steps, run.last_line()
    step = int(line.get("step", 0))
    found = RunStatus(spec.name, spec.id, WAITING, step=step, steps=steps)
    # A holder may be lost after the run has ended: then there is nothing to go on with.
    if holder is None or is_lost:
        if run.is_done:
            return replace(found, state=DONE, step=steps)
        if failure := marks.failure(spec.id):
            return replace(found, state=FAILED, why=failure.error, log=failure.log)
        if pruned is not None:
            return replace(found, state=PRUNED, why=pruned.why)
    if holder is not None:
        seconds = float(line.get("seconds", 0))
        is_moving = seconds > 0 and step > 0
        return replace(
            found,
            state=LOST if is_lost else RUNNING,
            host=holder.host,
            job=holder.job,
            samples_per_second=step * spec.config.training.batch_size / seconds if is_moving else None,
            seconds_left=(steps - step) * seconds / step if is_moving and not is_lost else None,
            log=str(run.path / files.METRICS),
        )
    if queued := marks.queued(spec.id):
        return replace(found, state=QUEUED, job=queued.job, log=queued.log)
    return found
