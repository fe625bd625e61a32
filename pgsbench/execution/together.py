"""Several processes of one machine that train one run together, a device each."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import tempfile
import time
import traceback
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

from pgsbench.devices import use
from pgsbench.errors import Interrupted, RunError, UserError
from pgsbench.execution.worker_process import begin
from pgsbench.experiment import run_once
from pgsbench.records.run_spec import RunSpec
from pgsbench.training.ranks import HEARD, joined

#: After one process has failed, how long the others may take to notice.
GRACE_SECONDS = 60.0


def run_together(spec: RunSpec, runs_root: Path, devices: Sequence[str], *, threads: int, stop: Event) -> str:
    """Train a run by a process on each device, and evaluate it by the first; return its directory.

    The processes find each other by the variables that torchrun sets.

    Args:
        spec: The run.
        runs_root: The folder of all studies.
        devices: One of each process.
        threads: CPU threads of each.
        stop: Set where they shall save and end.

    Raises:
        Exception: What the first of them to fail has raised.
        RunError: One has died.
    """
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as told, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        environment = {
            "WORLD_SIZE": str(len(devices)),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        processes = [
            context.Process(
                target=_be_one,
                args=(rank, spec, runs_root, device, environment, threads, stop, Path(told)),
            )
            for rank, device in enumerate(devices)
        ]
        for process in processes:
            process.start()
        _wait_for_all(processes)
        return _what_came_of(processes, Path(told), spec)


def _be_one(
    rank: int,
    spec: RunSpec,
    runs_root: Path,
    device: str,
    environment: dict[str, str],
    threads: int,
    stop: Event,
    told: Path,
) -> None:
    begin(threads, stop)
    os.environ |= {**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}
    on = use(device)
    try:
        with joined(on) as ranks:
            run = run_once(spec, runs_root=runs_root, device=on, should_stop=stop.is_set, ranks=ranks)
    except BaseException as error:
        if not isinstance(error, UserError | Interrupted):
            error.add_note("".join(traceback.format_exception(error)))  # what is pickled loses it
        (told / f"error-{rank}").write_bytes(pickle.dumps(_picklable(error)))
        os._exit(1)  # the usual way out can hang in a broken group
    if rank == 0:
        (told / "directory").write_text(run.path.relative_to(runs_root).as_posix())


def _picklable(error: BaseException) -> BaseException:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RunError(f"{type(error).__name__}: {str(error).partition(chr(10))[0][:300]}")
    return error


def _wait_for_all(processes: Sequence[BaseProcess]) -> None:
    deadline = None
    while alive := [process for process in processes if process.is_alive()]:
        wait([process.sentinel for process in alive], timeout=1.0)
        if deadline is None and any(process.exitcode for process in processes):
            deadline = time.monotonic() + GRACE_SECONDS
        if deadline is not None and time.monotonic() > deadline:
            for process in alive:
                process.kill()


def _what_came_of(processes: Sequence[BaseProcess], told: Path, spec: RunSpec) -> str:
    errors = sorted(told.glob("error-*"), key=lambda path: path.stat().st_mtime_ns)
    raised = [pickle.loads(path.read_bytes()) for path in errors]
    # Who only hears of another's failure says so a moment later, or before: it is not the reason.
    reasons = [error for error in raised if HEARD not in str(error)]
    dead = [rank for rank, process in enumerate(processes) if (process.exitcode or 0) < 0]
    if reasons and not (dead and all(isinstance(one, Interrupted) for one in reasons)):
        raise reasons[0]
    if dead:
        raise RunError(
            "a process of this run died, which mostly means that memory ran out",
            where=f"{spec.name}, rank {dead[0]} of {len(processes)}",
            way_out="use a smaller training.micro_batch_size; the same command goes on where it was",
        )
    if raised:
        raise raised[0]
    return (told / "directory").read_text()
