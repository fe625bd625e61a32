"""Faults for `chaos.py`: what strikes processes, their disk and the servers that they talk to."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import disk as disks
from servers import Mlflow, Postgres

from pgsbench.records import files

ALWAYS = ("kill one", "kill all", "power cut", "freeze", "clock jumps")
#: A fault of the disk begins with one of the next calls, so many at most.
CALLS = 400


@dataclass
class Target:
    """What is struck.

    Attributes:
        root: The folder of the runs.
        processes: Those that work there.
        disk: What `root` lies on; None: it cannot break.
        postgres: Holds Optuna's record; None: a SQLite file does.
        mlflow: Where the runs are mirrored; None: nowhere.
    """

    root: Path
    processes: list[BaseProcess]
    disk: disks.Disk | None = None
    postgres: Postgres | None = None
    mlflow: Mlflow | None = None

    @property
    def alive(self) -> list[BaseProcess]:
        """The processes that have not ended."""
        return [process for process in self.processes if process.is_alive()]

    @property
    def faults(self) -> list[str]:
        """What it can meet; where there are servers, they do in half of the cases."""
        found = [*ALWAYS, *(disks.FAULTS if self.disk else ())]
        if self.postgres is None:
            return [*found, "database locked"]
        return [
            *found,
            *3 * ("database restarts", "connections cut"),
            *3 * ("MLflow away",) * bool(self.mlflow),
        ]


def strike(fault: str, chance: random.Random, target: Target) -> bool:
    """Do one fault to what works; tell whether anything met it."""
    if not target.alive:
        return False
    if fault in disks.FAULTS:
        return _break_disk(fault, chance, target)
    return _STRIKES[fault](chance, target)


def _kill_one(chance: random.Random, target: Target) -> bool:
    chance.choice(target.alive).kill()
    return True


def _kill_all(_: random.Random, target: Target) -> bool:
    for process in target.alive:
        process.kill()
    return True


def _power_cut(_: random.Random, target: Target) -> bool:
    """Kill all, and tear the last line of metrics, as bytes that never came to the disk."""
    for process in target.alive:
        process.kill()
        process.join()
    for path in target.root.glob(f"tiny/*/{files.METRICS}"):
        size = path.stat().st_size
        if size > 10 and not (path.parent / files.DONE).exists():
            os.truncate(path, size - 10)
    return True


def _freeze(chance: random.Random, target: Target) -> bool:
    pid = chance.choice(target.alive).pid or 0
    os.kill(pid, signal.SIGSTOP)
    time.sleep(0.5)
    os.kill(pid, signal.SIGCONT)
    return True


def _clock_jumps(chance: random.Random, target: Target) -> bool:
    then, leases = time.time() + chance.choice((-1e5, 1e5)), list(target.root.glob("tiny/**/.lease-*.held"))
    for path in leases:
        with suppress(FileNotFoundError):
            os.utime(path, (then, then))
    return bool(leases)


def _lock_database(_: random.Random, target: Target) -> bool:
    database = target.root / "tiny/optuna.db"
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"file:{database}?mode=rw", uri=True)) as connection,
    ):
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(0.5)
        return True
    return False


def _restart_database(chance: random.Random, target: Target) -> bool:
    assert target.postgres is not None
    target.postgres.die()
    time.sleep(chance.random())
    target.postgres.start()
    return True


def _cut_connections(_: random.Random, target: Target) -> bool:
    assert target.postgres is not None
    target.postgres.tell(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    return True


def _cut_mlflow(chance: random.Random, target: Target) -> bool:
    assert target.mlflow is not None
    target.mlflow.cut()
    time.sleep(2 * chance.random())
    target.mlflow.join()
    return True


def _break_disk(fault: str, chance: random.Random, target: Target) -> bool:
    assert target.disk is not None
    target.disk.breaks(fault, chance.randint(0, CALLS), chance.randint(1, disks.FAULTS[fault][1]))
    until = time.monotonic() + 10
    while not target.disk.is_over and target.alive and time.monotonic() < until:
        time.sleep(0.02)
    return target.disk.mend() > 0


_STRIKES: dict[str, Callable[[random.Random, Target], bool]] = {
    "kill one": _kill_one,
    "kill all": _kill_all,
    "power cut": _power_cut,
    "freeze": _freeze,
    "clock jumps": _clock_jumps,
    "database locked": _lock_database,
    "database restarts": _restart_database,
    "connections cut": _cut_connections,
    "MLflow away": _cut_mlflow,
}
