"""One run is one callable: `run` trains and evaluates it, in this process or by a process on each device.

It may be called again and again: what is complete is left alone, what was interrupted goes on. What came of
it is in the run directory, and nowhere else.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing import parent_process
from multiprocessing.synchronize import Event
from pathlib import Path

import torch
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, record
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from pgsbench.devices import use
from pgsbench.errors import Interrupted, RankLostError, RunError, RunHeldError, UserError
from pgsbench.execution.pruning import judge_of
from pgsbench.experiment import run_once
from pgsbench.records.run_spec import RunSpec
from pgsbench.tracking.rundir import RunDir, find_or_make, find_runs
from pgsbench.tracking.states import failure_of
from pgsbench.training.ranks import Ranks, joined, launched, local_rank

SAVE_SECONDS = 60.0  # time to finish a step and save after the parent has died
#: How long a process that has lost another one leaves it the first word.
PATIENCE_SECONDS = 10.0


class Stop:
    """Whether a process shall save and end: its parent says so by an event, the system by a signal.

    Args:
        event: Set by the parent; None: nobody sets it yet.
        signals: Those that have come already.
    """

    def __init__(self, event: Event | None = None, signals: list[int] | None = None) -> None:
        self.event = event or multiprocessing.get_context("spawn").Event()
        self._signals = [] if signals is None else signals

    def listen(self, *, is_first: bool = False) -> None:
        """Hear signals from now on.

        Args:
            is_first: Whether Ctrl-C is one, as of a process that has no parent which decides for its group.
        """
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._hear if is_first else signal.SIG_IGN)
            for one in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
                signal.signal(one, self._hear)

    def _hear(self, number: int, _: object) -> None:
        self._signals.append(number)

    def is_set(self) -> bool:
        """Whether it was said, either way."""
        return bool(self._signals) or self.event.is_set()

    @property
    def is_limit(self) -> bool:
        """Whether a cluster's time limit is why: SIGTERM says that nobody wants the run any more."""
        return bool(self._signals) and not {signal.SIGTERM, signal.SIGINT} & set(self._signals)


def run(spec: RunSpec, runs_root: Path, *, devices: Sequence[str], threads: int, stop: Stop) -> None:
    """Train and evaluate a run.

    Args:
        spec: The run.
        runs_root: The folder of all studies.
        devices: Where; several train it together, by a process on each.
        threads: CPU threads of each process.
        stop: Asked after every step.

    Raises:
        UserError: The run failed. What is nobody's mistake is one, too, and leaves its traceback in the run
            directory: it must not end the runs beside it.
        RunHeldError: Another process works on it.
        Interrupted: It was stopped, or its point was pruned; the state is saved.
    """
    if len(devices) > 1:
        _run_together(spec, runs_root, devices, threads, stop)
        return
    torch.set_num_threads(threads)
    raised: Exception
    try:
        be_rank(spec, runs_root, devices[0], stop, Ranks())
        return
    except (UserError, Interrupted) as error:
        raised = error
    except Exception as error:
        raised = _failure(error, spec, runs_root)
    # What is raised holds nothing of the run: its functions have variables of the size of the model.
    raised.__context__ = raised.__cause__ = raised.__traceback__ = None
    gc.collect()  # a model and its mask hold one another, and nothing else frees a GPU
    raise raised


def run_launched(spec: RunSpec, runs_root: Path, *, devices: Sequence[str], threads: int, stop: Stop) -> None:
    """Do what `run` does, or be one of the processes that torchrun or srun has started for a run."""
    if launched()[1] == 1:
        run(spec, runs_root, devices=devices, threads=threads, stop=stop)
        return
    torch.set_num_threads(threads)
    device = own_device(devices[0].partition(":")[0])
    with joined(torch.device(device)) as ranks:
        be_rank(spec, runs_root, device, stop, ranks)


def be_rank(spec: RunSpec, runs_root: Path, device: str, stop: Stop, ranks: Ranks) -> None:
    """Be one of the processes that train a run, as one that a launcher has started; see `run_once`."""
    judge = judge_of(spec, runs_root) if ranks.is_first else None
    on = use(device)
    run_once(spec, runs_root=runs_root, device=on, should_stop=stop.is_set, judge=judge, ranks=ranks)


def own_device(kind: str) -> str:
    """Return the device of this process among those of its machine, of ``cpu`` or ``cuda``."""
    # srun may show each process its own GPU alone.
    return kind if kind == "cpu" else f"{kind}:{local_rank() % torch.cuda.device_count()}"


# --------------------------------------------------------------------------------------- a process a device

DONE, HELD, STOPPED = "done", "held", "stopped"


def _run_together(spec: RunSpec, runs_root: Path, devices: Sequence[str], threads: int, stop: Stop) -> None:
    """Do what `run` does in a process a device, started by torchrun's launcher."""
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=len(devices),
        run_id=spec.id,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        start_method="spawn",
    )
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # failures are told by `_why`
    try:
        ended = elastic_launch(config, _rank)(spec, runs_root, list(devices), threads, stop.event)
    except SignalException:
        raise Interrupted from None
    except ChildFailedError as error:
        raise _why(error, spec, runs_root) from None
    finally:
        stop.listen()  # the launcher has listened in its place
    if ended[0] == HELD:
        raise RunHeldError("another process works on this run", where=spec.name)
    if ended[0] == STOPPED:
        raise Interrupted


def _rank(spec: RunSpec, runs_root: Path, devices: list[str], threads: int, stop: Event) -> str:
    """Be the process of one device; return how it ended."""
    told = Stop(stop)
    try:
        return str(_recorded(spec, runs_root, devices[local_rank()], threads, told))
    except RankLostError:  # the launcher believes the first that ends, and that has to be the one that failed
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until and not told.is_set():
            time.sleep(0.1)
    except BaseException:
        pass
    os._exit(1)  # the usual way out can hang in a broken group


@record
def _recorded(spec: RunSpec, runs_root: Path, device: str, threads: int, stop: Stop) -> str:
    stop.listen()
    leave_with_parent(stop.event)
    torch.set_num_threads(threads)
    try:
        with joined(use(device)) as ranks:
            be_rank(spec, runs_root, device, stop, ranks)
    except RunHeldError:
        return HELD
    except Interrupted:
        return STOPPED
    return DONE


def _why(error: ChildFailedError, spec: RunSpec, runs_root: Path) -> RunError:
    """Return why a run failed whose processes have: what one of them has written, or how the first ended."""
    run = find_runs(runs_root, [spec.id]).get(spec.id)
    if run is not None and (failure := run.failure) is not None:
        return RunError(failure.error, way_out=failure.log)
    first_rank, first = error.get_first_failure()
    dead = [rank for rank, failure in error.failures.items() if failure.exitcode < 0]
    rank = dead[0] if dead else first_rank
    where = f"{spec.name}, rank {rank}"
    if dead:
        return RunError(
            "a process of this run died, which mostly means that memory ran out",
            where=where,
            way_out="use a smaller training.micro_batch_size; the same command goes on where it was",
        )
    return RunError(str(first.message).partition("\n")[0], where=where)


# ------------------------------------------------------------------------------------------- a process apart


def run_apart(spec: RunSpec, runs_root: Path, *, devices: Sequence[str], threads: int, stop: Stop) -> None:
    """Do what `run` does in a process apart: it may have children, and leaves no memory behind."""
    found = find_or_make(runs_root, spec)
    words = [str(found.path), ",".join(devices), str(threads)]
    command = [sys.executable, "-m", "pgsbench.execution.run", *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        threading.Thread(target=_pass_on, args=(stop, process), daemon=True).start()
        assert process.stderr is not None
        said = process.stderr.read()
    if process.returncode == EXIT_CODES[HELD]:
        raise RunHeldError("another process works on this run", where=spec.name)
    if process.returncode == EXIT_CODES[STOPPED]:
        raise Interrupted
    if process.returncode:
        failure = found.failure
        last = (said.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        raise RunError(failure.error if failure else f"its process died: {last}", where=spec.name)


EXIT_CODES = {DONE: 0, HELD: 3, STOPPED: 4}


def _pass_on(stop: Stop, process: subprocess.Popen[str]) -> None:
    while process.poll() is None:
        if stop.is_set():
            process.terminate()
            return
        time.sleep(0.2)


def _be_apart(directory: str, devices: str, threads: str) -> int:
    """Be the process apart; return its exit code."""
    stop, path = Stop(), Path(directory)
    stop.listen()

    def leave_with_parent() -> None:
        sys.stdin.read()  # until the parent ends, however it does
        _leave(stop.event)

    threading.Thread(target=leave_with_parent, daemon=True).start()
    how = DONE
    try:
        root = path.parent.parent
        run(RunDir(path).spec, root, devices=devices.split(","), threads=int(threads), stop=stop)
    except RunHeldError:
        how = HELD
    except Interrupted:
        how = STOPPED
    return EXIT_CODES[how]


def leave_with_parent(stop: Event) -> None:
    """End this process soon after its parent: one that is killed cannot say goodbye."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        _leave(stop)

    threading.Thread(target=watch, daemon=True).start()


def _leave(stop: Event) -> None:
    stop.set()
    time.sleep(SAVE_SECONDS)
    os._exit(1)


def _failure(error: Exception, spec: RunSpec, runs_root: Path) -> RunError:
    found = find_runs(runs_root, [spec.id]).get(spec.id) or RunDir(runs_root / spec.folder)
    failure = found.failure or failure_of(error, found)
    where, way_out = failure.log or str(found.path), "the file has the whole traceback" if failure.log else ""
    return RunError(failure.error, where=where, way_out=way_out)


if __name__ == "__main__":
    sys.exit(_be_apart(*sys.argv[1:]))
