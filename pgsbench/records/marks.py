"""What a study's folder says of its runs: which failed, which are queued or pruned, that all is cancelled.

A mark is a small file that any command may write or take away; run directories stay as trainings leave them.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pgsbench.config.search import SearchConfig
from pgsbench.disk.leases import this_process
from pgsbench.errors import StudyError
from pgsbench.records.json_files import read_record, write_record

_FAILED, _QUEUED, _WORKERS, _PRUNED, _CANCELLED = "failed", "queued", "workers", "pruned", "cancelled"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Failure:
    """Why a run failed.

    Attributes:
        error: The message.
        log: A file that tells more, or empty.
        process: Who found out.
        at: When, in ISO format with time zone.
    """

    error: str
    log: str = ""
    process: str = field(default_factory=lambda: str(this_process()))
    at: str = field(default_factory=_now)


@dataclass(frozen=True)
class Queued:
    """A job of a cluster: of one run, or one that takes what is next.

    Attributes:
        job: The job's id there.
        log: Folder of the job's output.
        at: When it was submitted, in ISO format with time zone.
        gone: Since when the cluster does not know it, in seconds since 1970; None: it did when last asked.
    """

    job: str
    log: str = ""
    at: str = field(default_factory=_now)
    gone: float | None = None


@dataclass(frozen=True)
class PrunedMark:
    """A run whose training a pruner has ended; without that pruner the mark means nothing.

    Attributes:
        pruner: `SearchConfig.pruner`.
        why: What it saw.
        step: Steps that were done.
        seconds: What they took.
        at: When, in ISO format with time zone.
    """

    pruner: str
    why: str
    step: int
    seconds: float
    at: str = field(default_factory=_now)

    def saved_seconds(self, steps: int) -> float:
        """Return how long so many steps would have taken."""
        return steps * self.seconds / max(1, self.step)


@dataclass(frozen=True)
class Marks:
    """The marks of a study, by the ids of its runs.

    Attributes:
        folder: The study's folder.
    """

    folder: Path

    def fail(self, run_id: str, failure: Failure) -> None:
        """Say that a run failed; on a full disk nothing is said."""
        with suppress(OSError):
            write_record(self._path(_FAILED, run_id), failure)

    def failure(self, run_id: str) -> Failure | None:
        """Return why a run failed; None where it did not, or is tried again."""
        return read_record(self._path(_FAILED, run_id), Failure, StudyError)

    def try_again(self, run_ids: Iterable[str]) -> None:
        """Take failures away, so that the runs are worked on again."""
        for run_id in run_ids:
            self._path(_FAILED, run_id).unlink(missing_ok=True)

    def queue(self, run_id: str, queued: Queued) -> None:
        """Say that a run waits in a queue."""
        write_record(self._path(_QUEUED, run_id), queued)

    def queued(self, run_id: str) -> Queued | None:
        """Return the job that a run waits for, if there is one."""
        return read_record(self._path(_QUEUED, run_id), Queued, StudyError)

    def unqueue(self, run_ids: Iterable[str]) -> None:
        """Say that runs wait for no job any more."""
        for run_id in run_ids:
            self._path(_QUEUED, run_id).unlink(missing_ok=True)

    def keep_worker(self, worker: Queued) -> None:
        """Remember a job that takes what is next, of whichever run."""
        write_record(self._path(_WORKERS, worker.job), worker)

    def workers(self) -> list[Queued]:
        """Return the jobs that take what is next, as far as nobody has seen that they ended."""
        found = (
            read_record(path, Queued, StudyError)
            for path in sorted((self.folder / _WORKERS).glob("[!.]*.json"))
        )
        return [one for one in found if one is not None]

    def forget_workers(self, workers: Iterable[Queued]) -> None:
        """Say that jobs that took what is next have ended."""
        for worker in workers:
            self._path(_WORKERS, worker.job).unlink(missing_ok=True)

    def prune(self, run_id: str, mark: PrunedMark) -> None:
        """Say that a pruner has ended a run."""
        write_record(self._path(_PRUNED, run_id), mark)

    def pruned(self, search: SearchConfig | None) -> dict[str, PrunedMark]:
        """Return what the pruner of a search has ended, by the ids of the runs."""
        pruner, found = search.pruner if search else None, {}
        for path in (self.folder / _PRUNED).glob("[!.]*.json") if pruner else ():
            mark = read_record(path, PrunedMark, StudyError)
            if mark is not None and mark.pruner == pruner:
                found[path.stem] = mark
        return found

    def take_pruned(self, others: Marks) -> None:
        """Take over what a pruner has ended of this study in another place; known marks stay."""
        for path in (others.folder / _PRUNED).glob("[!.]*.json"):
            mark = read_record(path, PrunedMark, StudyError)
            if mark is not None and not self._path(_PRUNED, path.stem).exists():
                self.prune(path.stem, mark)

    def pruned_ids(self) -> set[str]:
        """Return the ids of the runs that a pruner has ended, whichever it was."""
        return {path.stem for path in (self.folder / _PRUNED).glob("[!.]*.json")}

    def cancel(self) -> None:
        """Ask every process that works on the study to save and end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / _CANCELLED).touch()

    def go_on(self) -> None:
        """Take back that the study was cancelled."""
        (self.folder / _CANCELLED).unlink(missing_ok=True)

    @property
    def is_cancelled(self) -> bool:
        """Whether the study was cancelled, and no command has gone on with it."""
        return (self.folder / _CANCELLED).exists()

    def check_going_on(self) -> None:
        """Raise StudyError where the study was cancelled."""
        if self.is_cancelled:
            raise StudyError(
                "the study was cancelled; what was trained is saved",
                where=self.folder.name,
                way_out="the same command, or `pgsbench study retry`, goes on with it",
            )

    def _path(self, kind: str, run_id: str) -> Path:
        return self.folder / kind / f"{run_id}.json"
