"""A campaign of faults against searches that several processes share: `make chaos`.

Each schedule starts processes on one search, strikes while they work, and then gives the same command once
more, undisturbed. Trainings are made up and take milliseconds, so that there can be many schedules; claims,
manifest, search, Optuna's record and recovery are the real ones. The invariants:

- the search is complete: each point and seed was trained, with the scores of a quiet run, bit for bit;
- no two processes ever worked on one run at the same time;
- Optuna's record has each point once, and no trial that still runs;
- no process is left.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import test_many_processes as many

from pgsbench import files as files_module
from pgsbench.errors import UserError
from pgsbench.execution import folder as folder_module
from pgsbench.execution import local
from pgsbench.tracking.rundir import RunDir

FORK = multiprocessing.get_context("fork")
PROCESSES, POINTS = 3, 5
SEARCH = [
    f"search={{sampler: random, trials: {POINTS}, space: {{strategy.mask_ratio: {{low: 0.1, high: 0.9}}}}, "
    "arms: [pgs]}",
    "seeds=[0, 1]",
]
FAULTS = ("kill one", "kill all", "freeze", "disk full", "clock jumps", "database locked")


class BrokenError(AssertionError):
    """An invariant does not hold."""


def take_part(study: Path, root: Path, disk: Path) -> None:
    """Do what a `sweep` does; the disk is full for as long as a file says so."""
    whole = files_module.os.fsync

    def fsync(number: int) -> None:
        if disk.exists():
            raise OSError(28, "No space left on device")
        whole(number)

    files_module.os.fsync = fsync
    with suppress(UserError, OSError):
        many.take_part(study, root, SEARCH, 0.05)


def strike(fault: str, chance: random.Random, processes: list, root: Path, disk: Path) -> None:
    """Do one fault."""
    alive = [process for process in processes if process.is_alive()]
    if fault in ("kill one", "kill all"):
        for process in chance.sample(alive, min(len(alive), 1)) if fault == "kill one" else alive:
            os.kill(process.pid, signal.SIGKILL)
    elif fault == "freeze" and alive:
        process = chance.choice(alive)
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(0.3)
        os.kill(process.pid, signal.SIGCONT)
    elif fault == "disk full":
        disk.touch()
        time.sleep(0.15)
        disk.unlink()
    elif fault == "clock jumps":
        then = time.time() + chance.choice((-1e5, 1e5))
        for path in root.glob("tiny/**/.lease-*.held"):
            with suppress(FileNotFoundError):
                os.utime(path, (then, then))
    elif fault == "database locked" and (root / "tiny/optuna.db").is_file():
        with suppress(sqlite3.Error), closing(sqlite3.connect(root / "tiny/optuna.db")) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(0.2)


def schedule(study: Path, seed: int, folder: Path) -> Counter[str]:
    """Run one schedule and check the invariants; return the faults."""
    chance, root, disk = random.Random(seed), folder / "runs", folder / "disk-is-full"
    root.mkdir(parents=True)
    processes = [FORK.Process(target=take_part, args=(study, root, disk)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
        time.sleep(chance.random() * 0.1)
    struck: Counter[str] = Counter()
    for _ in range(chance.randint(1, 3)):
        time.sleep(chance.random() * 0.6)
        fault = chance.choice(FAULTS)
        struck[fault] += 1
        strike(fault, chance, processes, root, disk)
    for process in processes:
        process.join(60)
        if process.is_alive():
            process.kill()
            raise BrokenError(f"seed {seed}: a process hangs")
    last = FORK.Process(target=many.take_part, args=(study, root, SEARCH, 0.0))
    last.start()
    last.join(60)
    if last.exitcode != 0:
        last.kill()
        raise BrokenError(f"seed {seed}: the same command again ended with {last.exitcode}")
    check(study, seed, root)
    return struck


def check(study: Path, seed: int, root: Path) -> None:
    """Check the invariants."""
    try:
        many.check_complete(study, root, SEARCH, 2 * POINTS, f"sqlite:///{root}/tiny/optuna.db")
    except AssertionError as error:
        raise BrokenError(f"seed {seed}: {error}") from error
    found = many.folder_of(study, root, SEARCH)
    for run in found.runs.values():
        scores = RunDir(root / run.directory).scores
        ratio = run.spec.config.strategy.fields["mask_ratio"]
        if scores is None or scores.groups["classification"].value != ratio:
            raise BrokenError(f"seed {seed}: {run.spec.name} has other scores")
    spans = [line.split() for line in (root / "worked").read_text().splitlines()]
    at_work: dict[str, str] = {}
    for what, run_id, process in spans:
        if what == "begin":
            at_work[run_id] = process
        elif at_work.get(run_id) != process:
            raise BrokenError(f"seed {seed}: two processes worked on {run_id}")


def main() -> None:
    """Run a campaign and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--schedules", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the first schedule; replays one that failed")
    options = parser.parse_args()
    import tinyworld

    local.IDLE_SECONDS, folder_module.ALONE_POLL_SECONDS = 0.01, 0.003
    home = Path(tempfile.mkdtemp())
    os.environ["PGSBENCH_DATA"] = str(home / "data")
    (home / "world").mkdir()
    world, faults, failures = tinyworld.make(home / "world"), Counter[str](), 0
    for seed in range(options.seed, options.seed + options.schedules):
        try:
            faults += schedule(world.study, seed, home / str(seed))
        except BrokenError as error:
            failures += 1
            print(f"FAILED: {error}\n  replay: make chaos SCHEDULES=1 SEED={seed}", flush=True)
        shutil.rmtree(home / str(seed), ignore_errors=True)
    print(f"schedules: {options.schedules}, failures: {failures}")
    for fault in FAULTS:
        print(f"  {fault}: {faults[fault]}")
    shutil.rmtree(home)
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
