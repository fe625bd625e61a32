"""What the runs of a study took so far, to tell what further ones will take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgsbench.config.schema import RunConfig
from pgsbench.records import files
from pgsbench.records.run_records import Summary
from pgsbench.records.study_record import StudyRecord
from pgsbench.study.budget import PairSeconds
from pgsbench.tracking.rundir import RunDir


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
