"""Run directories: the truth on disk, which everything else mirrors or reads.

A run directory ``runs/<study>/<arm>-s<seed>-<id>/`` is written by one process at a time, on any machine
(`RunDir.claim`), and complete once ``DONE`` is there, which is written last. JSON files are replaced whole,
so a reader never sees half of one; ``metrics.jsonl`` grows by whole lines, and one damaged by a crash is
ignored.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pgsbench.disk.held import Held, Holder, hold, holder_of, turn
from pgsbench.disk.whole_files import atomic
from pgsbench.errors import EvaluationError, RunError, RunHeldError
from pgsbench.records import files
from pgsbench.records.json_files import finite, read_record, write_record
from pgsbench.records.run_records import Environment, Failure, Job, Measured, PrunedMark, Summary
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.scores import Scores

#: More than the longest line of metrics has; `RunDir.last_line` reads no more of the file.
LAST_BYTES = 1 << 16
_MEASURED = TypeAdapter(Measured)


class RunDir:
    """One run on disk.

    Args:
        path: The run directory; it need not exist yet (`create` makes it).
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, runs_root: Path, spec: RunSpec) -> RunDir:
        """Make the directory of a run and write its spec; one that exists is kept as it is."""
        run = cls(runs_root / spec.folder)
        if not run.exists:
            (run.path / files.DONE).unlink(missing_ok=True)  # of a directory whose spec was deleted
            write_record(run.path / files.SPEC, spec)
        return run

    def __repr__(self) -> str:
        return f"RunDir({str(self.path)!r})"

    @property
    def exists(self) -> bool:
        """Whether the run is on disk, with the spec that says what it is."""
        return (self.path / files.SPEC).is_file()

    @property
    def checkpoint(self) -> Path:
        """Folder of the trained model: open_clip's configuration and safetensors weights."""
        return self.path / files.CHECKPOINT

    @property
    def state(self) -> Path:
        """Folder of what exact resume needs; gone when the run is done."""
        return self.path / files.STATE

    @property
    def figures(self) -> Path:
        """Folder of this run's pictures."""
        return self.path / files.FIGURES

    @property
    def spec(self) -> RunSpec:
        """What the run is.

        Raises:
            RunError: There is no run here, or its spec is damaged.
        """
        found = read_record(self.path / files.SPEC, RunSpec, RunError)
        if found is None:
            raise RunError(f"the run directory is gone (no {files.SPEC})", where=str(self.path))
        return found

    @property
    def environment(self) -> Environment | None:
        """Where it was trained; None where that is not written yet."""
        return read_record(self.path / files.ENVIRONMENT, Environment, RunError)

    @property
    def summary(self) -> Summary | None:
        """What the training cost and how it ended; None where it has not ended yet."""
        return read_record(self.path / files.SUMMARY, Summary, RunError)

    @property
    def scores(self) -> Scores | None:
        """The last evaluation; None where the run has not been evaluated yet.

        Raises:
            RunError: The file is damaged.
        """
        if not (self.path / files.SCORES).is_file():
            return None
        with _damage_is_of_the_run():
            return Scores.read(self.path)

    def scores_of(self, suite_fingerprint: str) -> Scores | None:
        """Return the evaluation on this very suite, the last or an earlier one; None where there is none.

        What shows a run as part of a study asks for its `Entry.suite_fingerprint`: another study that
        shares the run may have tested it since, on a suite of its own.

        Args:
            suite_fingerprint: Of the suite; empty, as it is not known: of the last evaluation.

        Raises:
            RunError: The file is damaged.
        """
        if not suite_fingerprint:
            return self.scores
        with _damage_is_of_the_run():
            return Scores.read_of(self.path, suite_fingerprint)

    def write_environment(self, environment: Environment) -> None:
        """Replace what is said of where the run is trained."""
        write_record(self.existing_path() / files.ENVIRONMENT, environment)

    def write_summary(self, summary: Summary) -> None:
        """Replace what is said of the training's cost and end."""
        write_record(self.existing_path() / files.SUMMARY, summary)

    def metrics(self) -> list[dict[str, Any]]:
        """Return the lines of ``metrics.jsonl``, oldest first, without damaged ones.

        A crash tears the last line, and a power cut can leave zeros in place of lines; a curve with a gap is
        no reason to have no report, nor to train from the beginning.
        """
        path = self.path / files.METRICS
        if not path.is_file():
            return []
        whole = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        return [line for line in map(_metrics_of, whole) if line]

    def curve(self) -> list[Measured]:
        """Return the scores while it was trained, by rising step; of what was measured twice the last."""
        path = self.path / files.CURVE
        whole = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
        found: dict[tuple[int, tuple[str, ...]], Measured] = {}
        for line in whole:
            with suppress(ValidationError):  # torn
                one = _MEASURED.validate_json(line)
                found[one.step, one.tasks] = one
        return sorted(found.values(), key=lambda one: one.step)

    def append_curve(self, measured: Measured) -> None:
        """Append one line to ``curve.jsonl``."""
        self._append(files.CURVE, asdict(measured))

    def last_line(self) -> dict[str, Any]:
        """Return the last whole metric line, or nothing; takes the same time for a file of any size."""
        path = self.path / files.METRICS
        if not path.is_file():
            return {}
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LAST_BYTES))
            whole = file.read().split(b"\n")[:-1]
        found = map(_metrics_of, (line.decode(errors="replace") for line in reversed(whole)))
        return next((line for line in found if line), {})

    def last_step(self) -> int:
        """Return the step of the last whole metric line, or 0."""
        return int(self.last_line().get("step", 0))

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """Append one line to ``metrics.jsonl``; whoever reads the file next sees it.

        Raises:
            RunError: The run directory was deleted meanwhile.
        """
        self._append(files.METRICS, line)

    def _append(self, name: str, line: Mapping[str, Any]) -> None:
        with (self.existing_path() / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite(line), allow_nan=False) + "\n")

    def truncate_after(self, step: int) -> None:
        """Drop the metric lines after `step`, which a resumed run writes again, and damaged ones."""
        path = self.path / files.METRICS
        if not path.is_file():
            return
        kept = [line for line in self.metrics() if line["step"] <= step]
        with atomic(path) as scratch:
            scratch.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    @property
    def is_done(self) -> bool:
        """Whether the run is complete."""
        return (self.path / files.DONE).is_file() and self.exists

    def mark_done(self) -> None:
        """Say that the run is complete; the last thing that is written."""
        (self.existing_path() / files.DONE).touch()

    def existing_path(self) -> Path:
        """Return the path, which is asked before each writing.

        What is written into a directory that was deleted would make it anew, with results and without a
        spec that says of what.

        Raises:
            RunError: The run directory was deleted meanwhile.
        """
        if not self.exists:
            raise RunError(
                "the run directory was deleted while it was worked on",
                where=str(self.path),
                way_out="repeat the command: the run is made anew",
            )
        return self.path

    @contextmanager
    def claim(self) -> Iterator[Held]:
        """Hold the run against all other processes; the claim ends with the block, or with the process.

        One whose holder is lost is taken over (`pgsbench.disk.held`).

        Raises:
            RunHeldError: Another process works on this run.
        """
        with hold(self.existing_path()) as held:
            if held is None:
                raise RunHeldError(
                    f"another process works on this run ({self.holder})",
                    where=str(self.path),
                    way_out="wait for it or end it; a claim ends with its process",
                )
            yield held

    @property
    def holder(self) -> Holder | None:
        """Who works on this run now, or None where nobody does."""
        holder = holder_of(self.path)
        return None if holder is None or holder.is_lost else holder

    @property
    def failure(self) -> Failure | None:
        """Why it failed; None where it did not, or is tried again."""
        return read_record(self.path / files.FAILED, Failure, RunError)

    def fail(self, failure: Failure) -> None:
        """Say that it failed; nothing is said on a full disk, or of a directory that was deleted."""
        with suppress(OSError):
            if self.exists:
                write_record(self.path / files.FAILED, failure)

    def try_again(self) -> None:
        """Forget that it failed."""
        (self.path / files.FAILED).unlink(missing_ok=True)

    @property
    def pruned(self) -> PrunedMark | None:
        """Which pruner ended it, if one did; see `pgsbench.tracking.states`."""
        return read_record(self.path / files.PRUNED, PrunedMark, RunError)

    def prune(self, mark: PrunedMark) -> None:
        """Say that a pruner has ended it."""
        write_record(self.path / files.PRUNED, mark)

    @property
    def job(self) -> Job | None:
        """The job of a cluster that it was given to last."""
        return read_record(self.path / files.JOB, Job, RunError)

    def give_to(self, job: Job) -> None:
        """Say which job of a cluster it was given to."""
        write_record(self.path / files.JOB, job)


@contextmanager
def _damage_is_of_the_run() -> Iterator[None]:
    try:
        yield
    except EvaluationError as error:
        raise RunError(error.rule, where=error.where, way_out="evaluate the run again") from error


def find_runs(runs_root: Path, run_ids: Collection[str]) -> dict[str, RunDir]:
    """Return the runs with these ids under any study, by id, a complete one before an incomplete one.

    One look at the folders for all ids; nothing is remembered, as other processes may write there, too.
    """
    found: dict[str, RunDir] = {}
    for path in sorted(runs_root.glob("*/*-*")):
        run_id = path.name.rpartition("-")[2]
        if run_id not in run_ids:
            continue
        run = RunDir(path)
        if run.exists and (run_id not in found or (run.is_done and not found[run_id].is_done)):
            found[run_id] = run
    return found


def find_or_make(runs_root: Path, spec: RunSpec) -> RunDir:
    """Return the directory of a run, found under any study or made now, once for all who ask."""
    if found := find_runs(runs_root, [spec.id]).get(spec.id):
        return found
    runs_root.mkdir(parents=True, exist_ok=True)
    with turn(runs_root):
        return find_runs(runs_root, [spec.id]).get(spec.id) or RunDir.create(runs_root, spec)


def all_runs(runs_root: Path) -> list[RunDir]:
    """Return every run directory under any study, in the order of their paths."""
    return [RunDir(path.parent) for path in sorted(runs_root.glob(f"*/*/{files.SPEC}"))]


def _metrics_of(line: str) -> dict[str, Any]:
    """Return what a metric line says; empty where it is damaged."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("step"), int) else {}
