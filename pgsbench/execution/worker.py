"""The processes that train: each has its own device slot, and only the parent talks to anything else.

A run directory is the channel: the parent reads a run's progress from its metrics. On Ctrl-C the workers
finish their step and save; the same command then goes on where it was.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from pgsbench.config.schema import EvaluationConfig, RunConfig
from pgsbench.devices import devices_named, usable_cores
from pgsbench.errors import StudyError
from pgsbench.experiment import run_once
from pgsbench.study.plan import PlannedRun

MAX_CPU_JOBS = 4  # each holds the data set in memory
SAVE_SECONDS = 60.0  # time to finish a step and save after the parent has died


@dataclass(frozen=True)
class Slots:
    """How many runs are worked on at a time, and on what.

    Attributes:
        devices: The device of each worker process.
        threads: CPU threads of each.
    """

    devices: tuple[str, ...]
    threads: int


def plan_slots(num_runs: int, *, jobs: int | None = None, device: str = "auto") -> Slots:
    """Return the slots for a number of runs: one per GPU, or a few CPU processes that share the cores.

    Args:
        num_runs: Runs that may be worked on at the same time.
        jobs: At most this many processes.
        device: See `devices_named`.

    Raises:
        ConfigError: There is no such device.
    """
    cores, devices = usable_cores(), devices_named(device)
    if devices == ["cpu"]:
        devices *= min(cores, MAX_CPU_JOBS)
    count = max(1, min(num_runs, jobs or len(devices)))
    chosen = tuple(devices[index % len(devices)] for index in range(count))
    # OpenMP threads of two processes on one core spin against each other: never more threads than cores
    return Slots(chosen, max(1, cores // count))


class Workers:
    """A pool of training processes; use it in a `with` block.

    Args:
        slots: Devices and threads.
        runs_root: The folder of all studies.
        study: Name of the study whose folder new runs go to.
        evaluation: What trained models are tested on.
    """

    def __init__(self, slots: Slots, *, runs_root: Path, study: str, evaluation: EvaluationConfig) -> None:
        self.slots, self.runs_root, self.study, self.evaluation = slots, runs_root, study, evaluation
        context = multiprocessing.get_context("spawn")  # a forked torch can hang in its thread pool
        self._stop: Event = context.Event()
        devices = context.SimpleQueue()
        for device in slots.devices:
            devices.put(device)
        self._pool = ProcessPoolExecutor(
            len(slots.devices),
            mp_context=context,
            initializer=_start,
            initargs=(devices, slots.threads, self._stop),
        )

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=kind is not None)

    def submit(self, run: PlannedRun) -> Future[str]:
        """Train and evaluate a run; the result is the path of its directory relative to the runs folder.

        Raises:
            StudyError: A worker died before, and the others went with it.
        """
        try:
            return self._pool.submit(
                _work,
                run.config.model_dump(),
                run.run_id,
                arm=run.place.arm,
                study=self.study,
                runs_root=self.runs_root,
                evaluation=self.evaluation.model_dump(),
            )
        except BrokenProcessPool:
            raise worker_died() from None


def worker_died() -> StudyError:
    """Return the error for a pool that lost a process."""
    return StudyError(
        "a worker process died, which mostly means that memory ran out",
        way_out="use fewer processes (--jobs 1) or a smaller training.batch_size; "
        "the same command goes on where it was",
    )


_slot: tuple[torch.device, Event]


def _start(devices: Any, threads: int, stop: Event) -> None:
    global _slot
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    torch.set_num_threads(threads)
    _slot = (torch.device(devices.get()), stop)
    threading.Thread(target=_leave_with_parent, args=(stop,), daemon=True).start()


def _leave_with_parent(stop: Event) -> None:
    # A parent that is killed cannot say goodbye, and a pool's processes would wait for it forever.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    stop.set()
    time.sleep(SAVE_SECONDS)
    os._exit(1)


def _work(
    config: dict[str, Any],
    run_id: str,
    *,
    arm: str,
    study: str,
    runs_root: Path,
    evaluation: dict[str, Any],
) -> str:
    device, stop = _slot
    run = run_once(
        RunConfig(**config),
        run_id,
        arm=arm,
        study=study,
        runs_root=runs_root,
        evaluation=EvaluationConfig(**evaluation),
        device=device,
        should_stop=stop.is_set,
    )
    return run.path.relative_to(runs_root).as_posix()
