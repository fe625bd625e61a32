"""What steps take on a machine, timed once for a study and kept with it.

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
from pgsbench.study.budget import PairSeconds

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
