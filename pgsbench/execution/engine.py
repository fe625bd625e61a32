"""What an engine is, and its slots: how many runs are worked on at a time, and on what.

An engine hands the callable of a run to an executor of the standard library's kind. What came of a run is
read from its directory; a future only says that nobody works on it any more.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from concurrent.futures import Future
from dataclasses import dataclass

from pgsbench.devices import devices_named, usable_cores
from pgsbench.errors import ConfigError
from pgsbench.records.run_spec import RunSpec
from pgsbench.tracking.rundir import RunDir

MAX_CPU_RUNS = 4  # each holds the data set in memory


@dataclass(frozen=True)
class Slots:
    """The places in which runs are trained at the same time.

    Attributes:
        devices: The device of each slot, all of one type; several, joined by commas, train a run together.
        threads: CPU threads of each.
        are_here: Whether they are this machine's; those of a cluster are not.
    """

    devices: tuple[str, ...]
    threads: int
    are_here: bool = True

    @property
    def first_device(self) -> str:
        """One of them."""
        return self.devices[0].partition(",")[0]

    @property
    def device_type(self) -> str:
        """``cpu`` or ``cuda``."""
        return self.first_device.partition(":")[0]


def plan_slots(
    *, jobs: int | None = None, device: str = "auto", threads: int | None = None, devices_per_run: int = 1
) -> Slots:
    """Return the slots of a command: one a GPU, or a few CPU processes that share the cores.

    They depend on options and on the machine alone, never on how much there is to do: threads decide the
    order of a CPU's sums, and a run must be the same whatever waits beside it.

    Args:
        jobs: At most this many runs at a time.
        device: See `devices_named`.
        threads: CPU threads of a run, of each of its processes; None: ``OMP_NUM_THREADS``, else 1.
        devices_per_run: Devices that train a run together; on a CPU so many processes.

    Raises:
        ConfigError: There is no such device, or there are not enough of them for one run.
    """
    devices = devices_named(device)
    threads = threads or threads_of_environment()
    if devices == ["cpu"]:
        # OpenMP threads of two processes on one core spin against each other: no more threads than cores.
        runs = max(1, min(usable_cores() // (threads * devices_per_run), MAX_CPU_RUNS))
        devices *= runs * devices_per_run
    if len(devices) < devices_per_run:
        raise ConfigError(
            f"there are {len(devices)} devices, fewer than train one run",
            where="devices_per_run",
            value=devices_per_run,
            way_out="set it to at most their number",
        )
    last = len(devices) - devices_per_run
    devices = [",".join(devices[i : i + devices_per_run]) for i in range(0, last + 1, devices_per_run)]
    return Slots(tuple(devices[: jobs or len(devices)]), threads)


def threads_of_environment() -> int:
    """Return the CPU threads of a run where nobody says another number."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(text)) if text.isdigit() else 1


class Engine(ABC):
    """Takes runs; use it in a `with` block, which an exception leaves after all have saved.

    Attributes:
        slots: Of which kind its places are: their devices and threads.
        goes_on: Whether its runs go on without the command.
    """

    slots: Slots
    goes_on = False

    @property
    @abstractmethod
    def places(self) -> int:
        """How many runs it takes at a time."""

    @abstractmethod
    def submit(self, spec: RunSpec, run: RunDir) -> Future[None]:
        """Let a run be worked on; `run` is its directory, which need not exist yet."""

    def found(self, run: RunDir) -> Future[None] | None:
        """Return the future of a run that an earlier command has given away and that has not ended."""
        del run
        return None

    @abstractmethod
    def __enter__(self) -> Engine: ...

    @abstractmethod
    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None: ...
