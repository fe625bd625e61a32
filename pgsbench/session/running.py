"""Runs at work, one by one: train what was laid before, and see how the runs of a study stand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from pgsbench.devices import devices_named
from pgsbench.disk.held import holder_of
from pgsbench.errors import Interrupted, RunError
from pgsbench.execution.engine import threads_of_environment
from pgsbench.execution.run import Stop, run_launched
from pgsbench.execution.slurm import fail_vanished
from pgsbench.records.study_record import StudyRecord
from pgsbench.reporting.run_list import study_folder
from pgsbench.study.plan import torch_version
from pgsbench.tracking.rundir import RunDir
from pgsbench.tracking.states import ENDED, RunStatus, statuses

#: Between two looks of `watch`.
WATCH_SECONDS = 5.0


def run(directory: str | Path, *, device: str = "auto", threads: int | None = None) -> RunDir:
    """Train and evaluate one run that `--dry-run --write` has laid; what is complete is left alone.

    Under torchrun or srun each of their processes calls this, and they train the run together.

    Args:
        directory: The run directory.
        device: ``auto``, ``cpu``, ``cuda`` or one GPU such as ``cuda:1``; under a launcher its type.
        threads: CPU threads of a process; None: as the run was planned.

    Raises:
        UserError: There is no such run or device, it was planned for others, or it failed.
        KeyboardInterrupt: It was stopped; the same call goes on.
    """
    found = RunDir(Path(directory).resolve())
    spec, root, stop = found.spec, found.path.parent.parent, Stop()
    planned, here = spec.numerics, torch_version()
    if planned.torch != here:
        raise RunError(
            f"the run was planned with PyTorch {planned.torch}, and here is {here}",
            where=str(found.path),
            way_out=f"install torch {planned.torch}, or plan it here: runs of one study must compare",
        )
    kind = devices_named(device if device != "auto" else planned.device)[0]
    threads = threads or planned.threads or threads_of_environment()
    stop.listen(is_first=True)
    try:
        run_launched(spec, root, devices=[kind], threads=threads, stop=stop)
    except Interrupted:
        raise KeyboardInterrupt from None
    return found


def status(study: str, *, output: str | Path = ".") -> list[RunStatus]:
    """Return how each run of a study stands; runs whose jobs are gone are marked as failed.

    Raises:
        StudyError: There is no such study.
    """
    folder = study_folder(output, study)
    fail_vanished([RunDir(folder.parent / one.directory) for one in StudyRecord.read(folder).runs])
    return statuses(folder)


def watch(
    study: str, *, output: str | Path = ".", seconds: float = WATCH_SECONDS
) -> Iterator[list[RunStatus]]:
    """Yield how each run stands, again and again until all have ended and nobody drives the study."""
    while True:
        found = status(study, output=output)
        yield found
        if all(one.state in ENDED for one in found) and not _is_driven(study_folder(output, study)):
            return
        time.sleep(seconds)


def _is_driven(folder: Path) -> bool:
    holder = holder_of(folder)
    return holder is not None and not holder.is_lost
