"""A campaign of faults against searches that several processes share: `make chaos`.

Each schedule starts processes on one search, strikes while they work, and then gives the same command once
more, undisturbed. In most schedules trainings are made up and take milliseconds, so that there can be many;
claims, manifest, search, Optuna's record and recovery are the real ones. In some, trainings and evaluations
are real, too, of a tiny model. The invariants:

- the search is complete: each point and seed was trained, with the scores of a quiet run, bit for bit, and
  where trainings are real, with its weights;
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
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

import faults
import test_many_processes as many

from pgsbench.errors import UserError
from pgsbench.execution import folder as folder_module
from pgsbench.execution import local, worker
from pgsbench.execution import runs as runs_module
from pgsbench.execution.folder import StudyFolder
from pgsbench.execution.local import Engine
from pgsbench.execution.runs import Watcher
from pgsbench.execution.search import search
from pgsbench.execution.slots import Slots
from pgsbench.hashing import file_hash
from pgsbench.records.run_spec import RunSpec
from pgsbench.tracking.rundir import RunDir

FORK = multiprocessing.get_context("fork")
PROCESSES, POINTS = 3, 5
SEARCH = [
    f"search={{sampler: random, trials: {POINTS}, space: {{strategy.mask_ratio: {{low: 0.1, high: 0.9}}}}, "
    "arms: [pgs]}",
    "seeds=[0, 1]",
]
REAL = ["search={space: {strategy.mask_ratio: [0.25, 0.75]}, arms: [pgs]}", "seeds=[0, 1]"]

Part = Callable[[Path, Path], None]


class BrokenError(AssertionError):
    """An invariant does not hold."""


# ------------------------------------------------------------------------------------- what processes do


def made_up(study: Path, root: Path) -> None:
    """Do what a `sweep` does, with made-up trainings that take long enough to strike."""
    many.take_part(study, root, SEARCH, 0.05)


def real(study: Path, root: Path) -> None:
    """Do what a `sweep` does, with trainings in this process."""
    folder = many.folder_of(study, root, REAL)
    runs_module.LocalEngine = lambda *_: InProcess(folder)  # type: ignore
    failed = search(folder, [], Slots(("cpu",), 1), Watcher())
    if failed:
        raise failed[0][1]


class InProcess(Engine):
    """Trains a run in this very process, which was forked with all that it needs."""

    def __init__(self, folder: StudyFolder) -> None:
        super().__init__(["cpu"])
        self._folder = folder

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _start(self, spec: RunSpec, slot: str) -> Future[str]:
        import torch

        future: Future[str] = Future()
        torch.set_num_threads(1)
        try:
            done = worker.done_or_failed(
                spec, self._folder.runs_root, torch.device(slot), should_stop=lambda: False
            )
            future.set_result(done)
        except Exception as error:
            future.set_exception(error)
        return future


def disturbed(part: Part, study: Path, root: Path) -> None:
    """Take part while writes may fail; an error that is told is no broken invariant."""
    faults.let_writes_fail(root)
    with suppress(UserError, OSError):
        part(study, root)


# --------------------------------------------------------------------------------------------- a schedule


def schedule(part: Part, study: Path, seed: int, root: Path, *, seconds: float) -> Counter[str]:
    """Run one schedule, strike within `seconds` of each other, give the command again; return the faults."""
    chance = random.Random(seed)
    root.mkdir(parents=True)
    processes = [FORK.Process(target=disturbed, args=(part, study, root)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
        time.sleep(chance.random() * 0.1)
    struck: Counter[str] = Counter()
    for _ in range(chance.randint(1, 3)):
        time.sleep(chance.random() * seconds)
        fault = chance.choice(faults.FAULTS)
        struck[fault] += 1
        faults.strike(fault, chance, processes, root)
    for process in processes:
        process.join(600)
        if process.is_alive():
            process.kill()
            raise BrokenError("a process hangs")
    last = FORK.Process(target=part, args=(study, root))
    last.start()
    last.join(600)
    if last.exitcode != 0:
        last.kill()
        raise BrokenError(f"the same command again ended with {last.exitcode}")
    return struck


def check_made_up(study: Path, root: Path) -> None:
    """Check the invariants of a schedule with made-up trainings."""
    try:
        many.check_complete(study, root, SEARCH, 2 * POINTS, f"sqlite:///{root}/tiny/optuna.db")
    except AssertionError as error:
        raise BrokenError(str(error)) from error
    found = many.folder_of(study, root, SEARCH)
    for run in found.runs.values():
        scores = RunDir(root / run.directory).scores
        ratio = run.spec.config.strategy.fields["mask_ratio"]
        if scores is None or scores.groups["classification"].value != ratio:
            raise BrokenError(f"{run.spec.name} has other scores")
    at_work: dict[str, str] = {}
    for line in (root / "worked").read_text().splitlines():
        what, run_id, process = line.split()
        if what == "begin":
            at_work[run_id] = process
        elif at_work.get(run_id) != process:
            raise BrokenError(f"two processes worked on {run_id}")


def results_of(study: Path, root: Path) -> dict[str, tuple[str, object]]:
    """Return run -> hash of its weights, and its scores, of a study that must be complete."""
    folder, found = many.folder_of(study, root, REAL), {}
    for name, run in folder.runs.items():
        if not folder.is_complete(run.spec):
            raise BrokenError(f"{name} is not complete")
        directory = RunDir(root / run.directory)
        (weights,) = directory.checkpoint.glob("*.safetensors")
        assert directory.scores is not None
        found[name] = file_hash(weights), directory.scores.scores
    return found


# --------------------------------------------------------------------------------------------- a campaign


def main() -> None:
    """Run a campaign and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--schedules", type=int, default=200, help="with made-up trainings")
    parser.add_argument("--real", type=int, default=0, help="schedules with real trainings")
    parser.add_argument("--seed", type=int, default=0, help="of the first schedule; replays one that failed")
    options = parser.parse_args()
    import tinyworld

    local.IDLE_SECONDS, folder_module.ALONE_POLL_SECONDS = 0.01, 0.003
    home = Path(tempfile.mkdtemp())
    os.environ["PGSBENCH_DATA"] = str(home / "data")
    (home / "world").mkdir()
    study = tinyworld.make(home / "world").study
    struck, failures = Counter[str](), 0
    quiet: dict[str, tuple[str, object]] = {}
    if options.real:
        first = FORK.Process(target=real, args=(study, home / "quiet"))
        first.start()  # a process of its own: what has trained should not be forked
        first.join()
        quiet = results_of(study, home / "quiet")

    def check_real(study: Path, root: Path) -> None:
        if results_of(study, root) != quiet:
            raise BrokenError("weights or scores are others than those of the quiet run")

    kinds = [("SCHEDULES", made_up, check_made_up, 0.6, options.schedules)]
    kinds += [("REAL", real, check_real, 4.0, options.real)]
    for name, part, check, seconds, count in kinds:
        for seed in range(options.seed, options.seed + count):
            root = home / f"{name}-{seed}"
            try:
                met = schedule(part, study, seed, root, seconds=seconds)
                struck += met
                check(study, root)
                print(f"{name} {seed}: {', '.join(met.elements())}", flush=True)
            except BrokenError as error:
                failures += 1
                other = "REAL=0" if name == "SCHEDULES" else "SCHEDULES=0"
                print(f"FAILED: {error}\n  replay: make chaos {name}=1 {other} SEED={seed}", flush=True)
            shutil.rmtree(root, ignore_errors=True)
    print(f"schedules: {options.schedules}, with real trainings: {options.real}, failures: {failures}")
    for fault in faults.FAULTS:
        print(f"  {fault}: {struck[fault]}")
    shutil.rmtree(home)
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
