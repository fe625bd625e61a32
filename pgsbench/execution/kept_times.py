"""What runs take: what steps took on a machine, timed once for a study, and what its runs took so far.

A budget in seconds becomes steps before a run has its identity. So what was measured must not change: whoever
asks again, on this machine or another one, reads it from the study's folder, and gets the same runs.
"""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from pgsbench.config.schema import RunConfig
from pgsbench.errors import StudyError
from pgsbench.execution.engine import Slots
from pgsbench.execution.estimate import Estimator
from pgsbench.hashing import digest
from pgsbench.masking import STRATEGIES
from pgsbench.masking.text import TEXT_STRATEGIES
from pgsbench.records import files
from pgsbench.records.json_files import read_record, write_record
from pgsbench.records.run_records import Summary
from pgsbench.records.study_record import StudyRecord
from pgsbench.study.budget import PairSeconds
from pgsbench.tracking.rundir import RunDir

#: Timed steps of each kind; the fastest counts.
STEPS = 8


@dataclass(frozen=True)
class Timed:
    """A file of ``times/``: the seconds of a pair, what of, and where they were measured.

    Attributes:
        seconds: Of a pair.
        settings: What decides them.
        device: ``cpu`` or a GPU such as ``cuda:0``.
        threads: CPU threads.
        machine: Its name.
        at: When, in ISO format with time zone.
    """

    seconds: PairSeconds
    settings: dict[str, Any]
    device: str
    threads: int
    machine: str = field(default_factory=platform.node)
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


class KeptTimes:
    """Tells the seconds of a pair in a run, always the same for one study.

    Args:
        folder: The study's folder.
        slots: On their first device steps are timed, if they were not yet.
    """

    def __init__(self, folder: Path, slots: Slots) -> None:
        self._folder, self._slots = folder / files.TIMES, slots
        self._device, self._threads = slots.first_device, slots.threads
        # A GPU's steps hardly depend on threads, and who joins a study may have other ones.
        self._where = slots.device_type, slots.threads if slots.device_type == "cpu" else 1
        self._known: dict[str, PairSeconds] = {}
        self._estimator = Estimator(self._device, threads=self._threads, steps=STEPS)

    def __call__(self, config: RunConfig) -> PairSeconds:
        """Return the seconds of a pair; what was not timed before is timed now.

        Raises:
            StudyError: The file is damaged, or steps were not timed yet and would be elsewhere.
        """
        settings = _settings(config)
        key = digest([settings, *self._where])[:16]
        if key not in self._known:
            path = self._folder / f"{key}.json"
            found = read_record(path, Timed, StudyError) or self._time(config, settings, path)
            self._known[key] = found.seconds
        return self._known[key]

    def _time(self, config: RunConfig, settings: dict[str, Any], path: Path) -> Timed:
        if not self._slots.are_here:
            raise StudyError(
                "a budget of seconds needs steps timed where runs are trained, and they are not trained here",
                where="budget.equal",
                value="seconds",
                way_out=f"once, in a job: `OMP_NUM_THREADS={self._threads} pgsbench plan STUDY "
                f"--device {self._device} --output {self._folder.parents[2]}`",
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):  # whoever comes second plans with what was measured first
            if (found := read_record(path, Timed, StudyError)) is not None:
                return found
            print(f"timing {STEPS} steps of {config.strategy.name}: kept in {self._folder}", file=sys.stderr)
            timed = Timed(self._estimator.seconds(config), settings, self._device, self._threads)
            write_record(path, timed)
            return timed


def _settings(config: RunConfig) -> dict[str, Any]:
    """Return what decides how long a pair takes; the code of plugins included, the length of the run not."""
    training = config.training
    return {
        "model": config.model.model_dump(mode="json"),
        "strategy": {**config.strategy.fields, "name": STRATEGIES.content_id(config.strategy.name)},
        "text": {**config.text.fields, "strategy": TEXT_STRATEGIES.content_id(config.text.strategy)},
        "tuned": bool(training.unmasked_tuning.share),
        **{name: getattr(training, name) for name in ("batch_size", "micro_batch_size", "precision")},
        **{name: getattr(training, name) for name in ("compile", "loss", "grad_clip_norm")},
    }


@dataclass(frozen=True)
class Past:
    """What runs of one kind took.

    Attributes:
        count: How many there are.
        pair: Seconds of a pair in training, mean over the whole run.
        evaluation: Seconds of an evaluation; None where there was none.
    """

    count: int
    pair: PairSeconds
    evaluation: float | None


class PastRuns:
    """The complete trainings that a study's record names.

    Args:
        runs_root: The folder of all studies.
        study: Its name.
        device_type: Only runs that were trained on such devices, ``cpu`` or ``cuda``.
        threads: Likewise, on a CPU with so many threads.
    """

    def __init__(self, runs_root: Path, study: str, *, device_type: str, threads: int) -> None:
        self._found: list[tuple[dict[str, Any], Summary]] = []
        folder = runs_root / study
        known = StudyRecord.read(folder).runs if (folder / files.STUDY).is_file() else ()
        for planned in known:
            numerics, summary = planned.spec.numerics, RunDir(runs_root / planned.directory).summary
            is_alike = numerics.device == device_type and numerics.threads in (threads, 0)
            if summary is not None and is_alike:
                self._found.append((_kind(planned.spec.config), summary))

    def of(self, config: RunConfig) -> Past | None:
        """Return what runs took that differ in nothing but seed and length; None: there are none."""
        kind = _kind(config)
        found = [summary for other, summary in self._found if other == kind]
        if not found:
            return None
        pair = sum(one.train_seconds / one.samples for one in found) / len(found)
        evaluations = [one.eval_seconds for one in found if one.eval_seconds is not None]
        mean = sum(evaluations) / len(evaluations) if evaluations else None
        return Past(len(found), PairSeconds(pair, pair), mean)


def _kind(config: RunConfig) -> dict[str, Any]:
    kind = config.model_dump(mode="json", exclude={"seed", "budget"})
    return {**kind, "training": {**kind["training"], "samples": None}}
