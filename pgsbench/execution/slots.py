"""How many runs are worked on at a time, and on what."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pgsbench.devices import devices_named, usable_cores

MAX_CPU_RUNS = 4  # each holds the data set in memory


@dataclass(frozen=True)
class Slots:
    """The places in which runs are trained at the same time.

    Attributes:
        devices: The device of each slot, all of one type.
        threads: CPU threads of each.
    """

    devices: tuple[str, ...]
    threads: int

    @property
    def device_type(self) -> str:
        """``cpu`` or ``cuda``."""
        return self.devices[0].partition(":")[0]


def plan_slots(*, jobs: int | None = None, device: str = "auto", threads: int | None = None) -> Slots:
    """Return the slots of a command: one a GPU, or a few CPU processes that share the cores.

    They depend on options and on the machine alone, never on how much there is to do: threads decide the
    order of a CPU's sums, and a run must be the same whatever waits beside it.

    Args:
        jobs: At most this many runs at a time.
        device: See `devices_named`.
        threads: CPU threads of a run; None: ``OMP_NUM_THREADS``, else 1.

    Raises:
        ConfigError: There is no such device.
    """
    devices = devices_named(device)
    threads = threads or _threads_of_environment()
    if devices == ["cpu"]:
        # OpenMP threads of two processes on one core spin against each other: no more threads than cores.
        devices *= max(1, min(usable_cores() // threads, MAX_CPU_RUNS))
    return Slots(tuple(devices[: jobs or len(devices)]), threads)


def _threads_of_environment() -> int:
    text = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(text)) if text.isdigit() else 1
