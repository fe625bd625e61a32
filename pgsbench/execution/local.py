"""Runs in processes of this machine, one a slot."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from pgsbench.execution.engine import Engine, Slots
from pgsbench.execution.run import Stop, leave_with_parent, run
from pgsbench.records.run_spec import RunSpec
from pgsbench.tracking.rundir import RunDir


class SlotExecutor(Executor):
    """A process in each slot: where one dies, the others go on, and another one takes its place.

    Args:
        devices: Of each slot, as in `Slots`.
        threads: CPU threads of each.
    """

    def __init__(self, devices: Sequence[str], threads: int) -> None:
        self._context = multiprocessing.get_context("spawn")  # a forked torch can hang in its thread pool
        self._devices, self._threads = devices, threads
        self._stop = self._context.Event()
        self._pools: dict[int, ProcessPoolExecutor] = {}
        self._futures: list[list[Future[Any]]] = [[] for _ in devices]

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Let the slot with the least to do call something."""
        for slot, futures in enumerate(self._futures):
            self._futures[slot] = [future for future in futures if not future.done()]
        slot = min(range(len(self._futures)), key=lambda one: len(self._futures[one]))
        try:
            future = self._pool(slot).submit(call, *args, **kwargs)
        except BrokenProcessPool:  # its process died, and no call with it that has not been told
            self._pools.pop(slot).shutdown(wait=False)
            future = self._pool(slot).submit(call, *args, **kwargs)
        self._futures[slot].append(future)
        return future

    def _pool(self, slot: int) -> ProcessPoolExecutor:
        if slot not in self._pools:
            start = (self._devices[slot].split(","), self._threads, self._stop)
            self._pools[slot] = ProcessPoolExecutor(
                1, mp_context=self._context, initializer=_begin, initargs=start
            )
        return self._pools[slot]

    def stop(self) -> None:
        """Ask all processes to save and end."""
        self._stop.set()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes; another Ctrl-C meanwhile kills them."""
        try:
            for pool in self._pools.values():
                pool.shutdown(wait=wait, cancel_futures=cancel_futures)
        except KeyboardInterrupt:
            for process in multiprocessing.active_children():
                process.kill()
            raise


_work: Callable[[RunSpec, Path], None]


def _begin(devices: list[str], threads: int, event: Event) -> None:
    """Prepare the process of a slot."""
    global _work
    stop = Stop(event)
    stop.listen()
    leave_with_parent(event)
    _work = partial(run, devices=devices, threads=threads, stop=stop)


def _run_in_slot(spec: RunSpec, runs_root: Path) -> None:
    _work(spec, runs_root)


class LocalEngine(Engine):
    """The processors or GPUs of this machine."""

    def __init__(self, slots: Slots, runs_root: Path) -> None:
        self.slots, self._root = slots, runs_root

    def __enter__(self) -> LocalEngine:
        self._executor = SlotExecutor(self.slots.devices, self.slots.threads)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._executor.stop()
        self._executor.shutdown(wait=True, cancel_futures=True)

    @property
    def places(self) -> int:
        """One run a slot."""
        return len(self.slots.devices)

    def submit(self, spec: RunSpec, run: RunDir) -> Future[None]:
        """Give a run to a slot."""
        del run
        return self._executor.submit(_run_in_slot, spec, self._root)
