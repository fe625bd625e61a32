"""What a job of SLURM does: it works on one run, of which it knows the directory.

It reads the run's spec when it starts, and again when it was queued again. Before its time limit it is sent
SIGUSR2; it then saves, and asks to be queued again. On SIGTERM, which comes with a preemption or `scancel`,
it saves and ends; what is preempted is queued again by SLURM itself. submitit's own signals save nothing.

A signal that comes before a job listens would end it. So libraries are imported where they are needed, which
is after that.
"""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING

from pgsbench.errors import Interrupted, RunHeldError

if TYPE_CHECKING:
    from pgsbench.execution.run import Stop


@dataclass(frozen=True)
class RunJob:
    """A job that works on one run.

    Attributes:
        directory: The run directory.
        device: ``cpu`` or ``cuda``.
        threads: CPU threads of each process.
        num_devices: Devices that train the run together. Where the job has several tasks, each is the process
            of one; else this one starts a process for each.
    """

    directory: str
    device: str
    threads: int
    num_devices: int = 1

    def __call__(self) -> str:
        """Work on the run; return how it ended."""
        signals: list[int] = []
        _listen(signals)
        from pgsbench.execution.run import Stop

        stop = Stop(signals=signals)
        try:
            self._train(stop)
        except RunHeldError:
            return "another process works on it"
        except Interrupted:  # or pruned
            if stop.is_limit:
                _queue_again()
            return "saved"
        return "done"

    def _train(self, stop: Stop) -> None:
        from pgsbench.execution.run import run_launched
        from pgsbench.tracking.rundir import RunDir

        path, numbers = Path(self.directory), range(self.num_devices)
        devices = [self.device if self.device == "cpu" else f"{self.device}:{number}" for number in numbers]
        if int(os.environ.get("SLURM_NTASKS", "1")) > 1:
            from submitit.helpers import TorchDistributedEnvironment

            TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        root = path.parent.parent
        run_launched(RunDir(path).spec, root, devices=devices, threads=self.threads, stop=stop)


def _listen(signals: list[int]) -> None:
    ends = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)
    for one in ends:
        signal.signal(one, lambda number, _: signals.append(number))
    # All processes of a job get its signals, and they would end multiprocessing's tracker of semaphores.
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ends)


def _queue_again() -> None:
    """Ask SLURM to run this very job again, and end before anything says that it has returned."""
    if os.environ.get("SLURM_PROCID", "0") == "0":
        subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=True)
    os._exit(0)
