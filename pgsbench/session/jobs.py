"""What a process does that joins a study: on its own, as a job for one run, or as one that takes the next.

A job gets names, never a run itself: it reads its spec when it starts, and again when it was queued again.
Before its time limit it is sent SIGUSR1; it then saves, and asks to be queued again. On SIGTERM, which comes
with a preemption or `scancel`, it saves and ends; what is preempted is queued again by SLURM itself.

A signal that comes before a job listens would end it. So libraries are imported where they are needed, which
is after that.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING

from pgsbench.disk.leases import cluster_job
from pgsbench.errors import Interrupted, Pruned, RunHeldError, StudyError

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

    from pgsbench.records.marks import Marks
    from pgsbench.records.run_spec import RunSpec
    from pgsbench.session.study import Study

#: Between two looks whether the processes of a run shall stop.
LOOK_SECONDS = 0.5


def work(
    study: str,
    *,
    output: str | Path = ".",
    jobs: int | None = None,
    device: str | None = None,
    devices_per_run: int | None = None,
) -> Study:
    """Work on a study that was planned, beside any number of other processes; return it when nothing is left.

    Args:
        study: Name of the study under ``runs/``.
        output: The folder of ``runs/``.
        jobs: At most this many runs at a time.
        device: One GPU such as ``cuda:1``; None: all of the type that the study is trained on.
        devices_per_run: Devices that train a run together; None: as the study says.

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
        devices_per_run=devices_per_run or record.config.devices_per_run,
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
        # All processes of a job get its signals, and they would end multiprocessing's tracker of semaphores.
        of_limit = (signal.SIGUSR1, signal.SIGUSR2)
        signal.pthread_sigmask(signal.SIG_BLOCK, of_limit)
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, of_limit)


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
        threads: CPU threads of each process.
        num_devices: Devices that train the run together, a process each.
        again: Profile that it goes on with after a time limit; None: as it is.
    """

    output: str
    study: str
    run: str
    device: str
    threads: int
    num_devices: int = 1
    again: str | None = None

    def __call__(self) -> str:
        """Work on the run; return how it ended."""
        signals = Signals()
        signals.listen()
        from pgsbench.records.marks import Failure, Marks
        from pgsbench.records.study_record import read_planned

        root = Path(self.output).resolve() / "runs"
        marks = Marks(root / self.study)
        spec = next((one.spec for one in read_planned(marks.folder) if one.spec.name == self.run), None)
        if spec is None or marks.is_cancelled:
            return "not asked for any more"
        try:
            self._train(spec, root, lambda: signals.is_stopped or marks.is_cancelled)
        except Pruned:
            return "pruned"
        except RunHeldError:
            return "another process works on it"
        except Interrupted:
            if signals.is_limit and not marks.is_cancelled:
                self._queue_again(spec, marks)
            return "saved"
        except Exception as error:
            if marks.failure(spec.id) is None:
                marks.fail(spec.id, Failure(str(error)))
            raise
        return "done"

    def _train(self, spec: RunSpec, root: Path, should_stop: Callable[[], bool]) -> None:
        import torch

        from pgsbench.devices import use
        from pgsbench.execution.probes import prober_of
        from pgsbench.execution.together import run_together
        from pgsbench.experiment import run_once

        if self.num_devices == 1:
            torch.set_num_threads(self.threads)
            run_once(
                spec,
                runs_root=root,
                device=use(self.device),
                should_stop=should_stop,
                prober=prober_of(spec, root),
            )
            return
        numbers = range(self.num_devices)
        devices = [f"cuda:{i}" if self.device == "cuda" else self.device for i in numbers]
        with _event(should_stop) as stop:
            run_together(spec, root, devices, threads=self.threads, stop=stop)

    def _queue_again(self, spec: RunSpec, marks: Marks) -> None:
        if self.again is None:
            queue_again()
            return
        from submitit.helpers import clean_env

        from pgsbench.config.cluster_profiles import read_profile
        from pgsbench.execution import slurm

        profile = read_profile(self.again)
        threads, num_devices = profile.threads, profile.num_devices
        job = replace(self, threads=threads, num_devices=num_devices, again=profile.again or self.again)
        conf = {name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ}
        with clean_env():  # what SLURM has told this job would be taken for what the next one asks for
            os.environ |= conf  # but where it is configured
            (queued,) = slurm.submit([job], profile, marks.folder, name=self.study)
        marks.queue(spec.id, slurm.queued(queued, marks.folder))


@contextmanager
def _event(should_stop: Callable[[], bool]) -> Iterator[Event]:
    """Give an event for other processes that is set soon after `should_stop` says so."""
    stop, is_over = multiprocessing.get_context("spawn").Event(), threading.Event()

    def look() -> None:
        while not is_over.wait(LOOK_SECONDS):
            if should_stop():
                stop.set()

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield stop
    finally:
        is_over.set()
        looking.join()


@dataclass(frozen=True)
class WorkerJob:
    """A job that works on a study until nothing of it is left.

    Attributes:
        output: The folder of ``runs/``.
        study: Name of the study.
        num_devices: Devices that train a run together.
    """

    output: str
    study: str
    num_devices: int = 1

    def __call__(self) -> str:
        """Work; return how it ended."""
        signals = Signals()
        signals.listen(interrupt=True)
        try:
            work(self.study, output=self.output, jobs=1, devices_per_run=self.num_devices)
        except KeyboardInterrupt:
            if signals.is_limit:
                queue_again()
            return "saved"
        return "done"
