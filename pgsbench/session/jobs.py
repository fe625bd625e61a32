"""What a process does that joins a study: on its own, as a job for one run, or as one that takes the next.

A job gets names, never a run itself: it reads its spec when it starts, and again when it was queued again.
Before its time limit it is sent SIGUSR1; it then saves, and asks to be queued again. On SIGTERM, which comes
with a preemption or `scancel`, it saves and ends; what is preempted is queued again by SLURM itself.

A signal that comes before a job listens would end it. So libraries are imported where they are needed, which
is after that.
"""

from __future__ import annotations

import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pgsbench.disk.leases import cluster_job
from pgsbench.errors import Interrupted, Pruned, RunHeldError, StudyError

if TYPE_CHECKING:
    from pgsbench.session.study import Study


def work(
    study: str, *, output: str | Path = ".", jobs: int | None = None, device: str | None = None
) -> Study:
    """Work on a study that was planned, beside any number of other processes; return it when nothing is left.

    Args:
        study: Name of the study under ``runs/``.
        output: The folder of ``runs/``.
        jobs: At most this many runs at a time.
        device: One GPU such as ``cuda:1``; None: all of the type that the study is trained on.

    Raises:
        StudyError: There is no such study, or its runs cannot be trained here.
        ConfigError: There is no such device, or there are fewer than train a run together.
    """
    from pgsbench.execution.join import join, joined_file, numerics_of
    from pgsbench.execution.slots import plan_slots
    from pgsbench.records.study_record import StudyRecord
    from pgsbench.reporting.runs.on_disk import study_folder
    from pgsbench.session.study import Study

    record = StudyRecord.read(study_folder(output, study))
    numerics = numerics_of(record)
    slots = plan_slots(
        jobs=jobs,
        device=device or numerics.device,
        threads=numerics.threads or None,
        devices_per_run=record.config.devices_per_run,
    )
    if slots.device_type != numerics.device:
        raise StudyError(f"the study is trained on {numerics.device}", where="--device", value=device)
    joined = Study(joined_file(record), Path(output), slots, command=None, any_numerics=False)
    joined.failed = joined.watched(lambda folder, watcher: join(folder, slots, watcher))
    return joined


class Signals:
    """Signals of a cluster, while a job runs; replaces submitit's own, which save nothing."""

    def __init__(self) -> None:
        self.is_stopped, self.is_limit = False, False

    def listen(self, *, interrupt: bool = False) -> None:
        """Listen from now on.

        Args:
            interrupt: Raise KeyboardInterrupt in the main thread, as on Ctrl-C.
        """

        def on_signal(number: int, _: object) -> None:
            first = not self.is_stopped
            self.is_stopped = True
            self.is_limit = self.is_limit or number != signal.SIGTERM
            if interrupt and first:
                raise KeyboardInterrupt

        for one in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
            signal.signal(one, on_signal)


def queue_again() -> None:
    """Ask SLURM to run this very job again; it ends this one."""
    if job := cluster_job():
        subprocess.run(["scontrol", "requeue", job], check=True)


@dataclass(frozen=True)
class RunJob:
    """A job that works on one planned run.

    Attributes:
        output: The folder of ``runs/``.
        study: Name of the study.
        run: `RunSpec.name`; the spec is read when the job starts.
        device: Type of the device.
        threads: CPU threads.
    """

    output: str
    study: str
    run: str
    device: str
    threads: int

    def __call__(self) -> str:
        """Work on the run; return how it ended."""
        signals = Signals()
        signals.listen()
        import torch

        from pgsbench.execution.probes import prober_of
        from pgsbench.experiment import run_once
        from pgsbench.records.marks import Failure, Marks
        from pgsbench.records.study_record import read_planned

        root = Path(self.output).resolve() / "runs"
        marks = Marks(root / self.study)
        spec = next((one.spec for one in read_planned(marks.folder) if one.spec.name == self.run), None)
        if spec is None or marks.is_cancelled:
            return "not asked for any more"
        torch.set_num_threads(self.threads)
        try:
            run_once(
                spec,
                runs_root=root,
                device=torch.device(self.device),
                should_stop=lambda: signals.is_stopped or marks.is_cancelled,
                prober=prober_of(spec, root),
            )
        except Pruned:
            return "pruned"
        except RunHeldError:
            return "another process works on it"
        except Interrupted:
            if signals.is_limit and not marks.is_cancelled:
                queue_again()
            return "saved"
        except Exception as error:
            if marks.failure(spec.id) is None:
                marks.fail(spec.id, Failure(str(error)))
            raise
        return "done"


@dataclass(frozen=True)
class WorkerJob:
    """A job that works on a study until nothing of it is left.

    Attributes:
        output: The folder of ``runs/``.
        study: Name of the study.
    """

    output: str
    study: str

    def __call__(self) -> str:
        """Work; return how it ended."""
        signals = Signals()
        signals.listen(interrupt=True)
        try:
            work(self.study, output=self.output, jobs=1)
        except KeyboardInterrupt:
            if signals.is_limit:
                queue_again()
            return "saved"
        return "done"
