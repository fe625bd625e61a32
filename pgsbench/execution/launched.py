"""The engine under torchrun or srun: the processes that they have started train one run after another.

Rank 0 is the command itself: it plans, writes, evaluates, reports. The others do nothing but `follow`.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from pgsbench.devices import use
from pgsbench.errors import Interrupted, UserError
from pgsbench.execution import worker
from pgsbench.execution.local import Engine
from pgsbench.execution.slots import Slots
from pgsbench.experiment import run_once
from pgsbench.records.run_spec import RunSpec
from pgsbench.training.ranks import HEARD, Ranks, is_shared, joined, local_rank

_ranks = Ranks()  # in `leading`, this process among the others


class LaunchedEngine(Engine):
    """The engine of rank 0: the run that is worked on has a thread, beside the command that looks on.

    Args:
        slots: Of which threads and type of device are used; there is one run at a time.
        runs_root: The folder of all studies.
    """

    def __init__(self, slots: Slots, runs_root: Path) -> None:
        super().__init__(["0"])
        self._runs_root, self._threads = runs_root, slots.threads
        self._device = own_device(slots.device_type)
        self._stop = threading.Event()
        self._executor = ThreadPoolExecutor(1)

    def __enter__(self) -> LaunchedEngine:
        torch.set_num_threads(self._threads)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stop.set()
        self._executor.shutdown(wait=True)

    def _start(self, spec: RunSpec, slot: str) -> Future[str]:
        return self._executor.submit(self._work, spec)

    def _work(self, spec: RunSpec) -> str:
        worker.refuse_complete(spec, self._runs_root)
        _ranks.told((spec, self._runs_root, self._threads, self._device.type))
        return worker.done_or_failed(
            spec, self._runs_root, self._device, should_stop=self._stop.is_set, ranks=_ranks
        )


@contextmanager
def leading() -> Iterator[None]:
    """Be rank 0 of the processes that were launched, for the block."""
    global _ranks
    with joined(_any_device()) as _ranks:
        try:
            yield
        finally:
            with suppress(RuntimeError):  # where the others are gone already
                _ranks.told(None)


def leads() -> bool:
    """Tell whether this process is rank 0 of several that were launched."""
    return _ranks.world_size > 1


def follow() -> None:
    """Train what rank 0 says until it has no more."""
    # Rank 0 hears the signal, too, and tells when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with joined(_any_device()) as ranks:
        job: Any
        while (job := ranks.told(None)) is not None:
            spec, runs_root, threads, kind = job
            torch.set_num_threads(threads)
            try:
                run_once(spec, runs_root=runs_root, device=own_device(kind), ranks=ranks)
            except Interrupted:
                pass
            except Exception as error:  # rank 0 tells that the run has failed, but cannot know why
                if HEARD not in str(error):
                    print(f"{spec.name}: {_told(error)}", file=sys.stderr, flush=True)
                if not is_shared(error):  # the others wait for this process: what has started it ends them
                    os._exit(1)
            gc.collect()  # a model and its mask hold one another, and nothing else frees a GPU


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, UserError) else "".join(traceback.format_exception(error))


def _any_device() -> torch.device:
    return own_device("cuda" if torch.cuda.is_available() else "cpu")


def own_device(kind: str) -> torch.device:
    """Return the device of this process, of ``cpu`` or ``cuda``."""
    # srun may show each process its own GPU alone.
    return use(kind if kind == "cpu" else f"{kind}:{local_rank() % torch.cuda.device_count()}")
