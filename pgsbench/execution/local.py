"""Engines, and that of one machine: a worker process in each slot, which lives on from run to run.

A run directory is the channel: the parent reads a run's progress from its metrics. Where a worker dies, its
run has failed and another worker takes its slot; the other runs notice nothing.
"""

from __future__ import annotations

import multiprocessing
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from types import TracebackType

from pgsbench.errors import Interrupted, Pruned, RunError
from pgsbench.execution import worker
from pgsbench.execution.slots import Slots
from pgsbench.records.run_spec import RunSpec

POLL_SECONDS = 1.0
#: How long one waits where all that is left is worked on elsewhere.
IDLE_SECONDS = 0.2


@dataclass(frozen=True)
class Ended:
    """A run that a worker is done with.

    Attributes:
        spec: The run.
        directory: Its directory relative to the runs folder; empty where it failed here.
        error: Why it failed, or None.
        is_ours: Whether a worker of this process was on it.
        was_stopped: It did not fail; somebody asked its worker to end.
        is_pruned: It did not fail; its point looked bad.
    """

    spec: RunSpec
    directory: str = ""
    error: Exception | None = None
    is_ours: bool = True
    was_stopped: bool = False
    is_pruned: bool = False


class Engine(ABC):
    """Works off runs in slots; use it in a `with` block.

    Args:
        slots: Names of the slots.
    """

    def __init__(self, slots: list[str]) -> None:
        self._free = slots
        self._runs: dict[Future[str], tuple[str, RunSpec]] = {}

    @abstractmethod
    def __enter__(self) -> Engine: ...

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @abstractmethod
    def _start(self, spec: RunSpec, slot: str) -> Future[str]: ...

    @property
    def running(self) -> list[RunSpec]:
        """The runs that are worked on."""
        return [spec for _, spec in self._runs.values()]

    def step(self, next_run: Callable[[], RunSpec | None]) -> list[Ended]:
        """Give each free slot a run, wait for at most `POLL_SECONDS`, and return the runs that have ended.

        Args:
            next_run: Asked for a run for each free slot; None: there is none now.
        """
        while self._free and (spec := next_run()) is not None:
            slot = self._free.pop(0)
            self._runs[self._start(spec, slot)] = (slot, spec)
        if not self._runs:
            time.sleep(IDLE_SECONDS)
            return []
        done, _ = wait(self._runs, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        return [self._ended(future) for future in done]

    def _ended(self, future: Future[str]) -> Ended:
        slot, spec = self._runs.pop(future)
        self._free.append(slot)
        error = future.exception()
        if error is None:
            return Ended(spec, directory=future.result())
        if isinstance(error, BrokenProcessPool):
            error = RunError(
                "the worker process died, which mostly means that memory ran out",
                where=spec.name,
                way_out="use fewer processes (--jobs 1) or a smaller training.batch_size; "
                "the same command goes on where it was",
            )
        elif isinstance(error, worker.CompleteError):
            return Ended(spec, directory=error.where, is_ours=False)
        elif isinstance(error, Pruned):
            return Ended(spec, is_pruned=True)
        elif isinstance(error, Interrupted):
            error = RunError(
                "the worker was asked to end; its state is saved",
                where=spec.name,
                way_out="the same command goes on where it was",
            )
            return Ended(spec, error=error, was_stopped=True)
        if not isinstance(error, Exception):
            raise error
        return Ended(spec, error=error)


class LocalEngine(Engine):
    """The worker processes of one command.

    Where the block is left by an exception, such as Ctrl-C, the workers finish their step and save. Another
    Ctrl-C meanwhile ends them at once.

    Args:
        slots: Devices and threads.
        runs_root: The folder of all studies.
    """

    def __init__(self, slots: Slots, runs_root: Path) -> None:
        super().__init__([f"{number} {device}" for number, device in enumerate(slots.devices)])
        self.slots, self.runs_root = slots, runs_root
        self._context = multiprocessing.get_context("spawn")  # a forked torch can hang in its thread pool
        self._stop: Event = self._context.Event()
        self._workers: dict[str, ProcessPoolExecutor] = {}  # by slot; each has one process

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None:
                self._stop.set()  # waits for a worker that stands still with its lock
            for executor in self._workers.values():
                executor.shutdown(wait=True, cancel_futures=True)
        except KeyboardInterrupt:
            for process in multiprocessing.active_children():
                process.kill()
            raise

    def _start(self, spec: RunSpec, slot: str) -> Future[str]:
        try:
            return self._submit(spec, slot)
        except BrokenProcessPool:  # it died while it had nothing to do, and no run with it
            self._workers.pop(slot).shutdown(wait=False)
            return self._submit(spec, slot)

    def _submit(self, spec: RunSpec, slot: str) -> Future[str]:
        if slot not in self._workers:
            self._workers[slot] = ProcessPoolExecutor(
                1,
                mp_context=self._context,
                initializer=worker.start,
                initargs=(self.slots.threads, self._stop),
            )
        device = slot.partition(" ")[2]
        return self._workers[slot].submit(worker.work, spec, self.runs_root, device)

    def _ended(self, future: Future[str]) -> Ended:
        if isinstance(future.exception(), BrokenProcessPool):
            self._workers.pop(self._runs[future][0]).shutdown(wait=False)
        return super()._ended(future)
