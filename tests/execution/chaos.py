"""A campaign of faults: `make chaos`. Each schedule disturbs commands, and then repeats them in quiet.

Two commands of one study are started, one of which waits for the other, and beside them one of another study
that wants the same runs. They are struck one to three times while they work. Then each is given once more,
undisturbed. The kinds of schedules:

- SCHEDULES: trainings are made up and take milliseconds, so that there can be many; leases, records, search
  and recovery are the real ones.
- REAL: trainings and evaluations of a tiny model are real.

The invariants: each point and seed was trained, with the scores of a quiet run, bit for bit, and where
trainings are real, with its weights; no two processes ever worked on one run at the same time; no process is
left, and none has ended with a traceback of a bug.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import disk as disks
import tinyworld

KINDS = {"SCHEDULES": 200, "REAL": 5}
ALWAYS = ("kill one", "kill all", "power cut", "freeze", "clock jumps")
FORK = multiprocessing.get_context("fork")
HANGS_SECONDS = 900
#: A fault of the disk begins with one of the next calls, so many at most.
CALLS = 400
POINTS = 8
SPACE = "strategy.mask_ratio: {low: 0.1, high: 0.9}"
SEARCH = [
    f"search={{sampler: random, trials: {POINTS}, space: {{{SPACE}}}, arms: [pgs]}}",
    "seeds=[0, 1]",
]
REAL = [f"search={{sampler: random, trials: 3, space: {{{SPACE}}}, arms: [pgs]}}"]
WORKED = re.compile(r"(begin|end) (\w+) (\d+)$", re.MULTILINE)


class BrokenError(Exception):
    """An invariant that does not hold."""


@dataclass
class Target:
    """What is struck: processes, the folder they work in, and the disk it lies on, if that can break."""

    root: Path
    disk: disks.Disk | None
    processes: list[BaseProcess] = field(default_factory=list)

    @property
    def alive(self) -> list[BaseProcess]:
        """The processes that have not ended."""
        return [process for process in self.processes if process.is_alive()]


# ---------------------------------------------------------------------------------------------- what is done


def sweep(study: Path, root: Path, name: str, *, is_real: bool) -> None:
    """Do what `pgsbench sweep` does, with trainings in this process."""
    from made_up import MadeUpEngine, folder_of

    from pgsbench.execution.driver import Watcher
    from pgsbench.execution.ledger import driving
    from pgsbench.execution.search import search

    random.seed(os.getpid())
    with driving(root / name, wait=True, say=lambda _: None):
        folder = folder_of(study, root, [*(REAL if is_real else SEARCH), f"name={name}"])
        engine = _in_process(folder) if is_real else MadeUpEngine(folder, seconds=0.05)
        failed = search(folder, [], engine, Watcher())
    if failed:
        raise failed[0][1]


def _in_process(folder):
    """Return an engine that trains a run in this very process, which was forked with all that it needs."""
    from made_up import MadeUpEngine

    from pgsbench.execution.run import Stop, run

    class InProcess(MadeUpEngine):
        def work(self, spec):
            run(spec, folder.runs_root, devices=["cpu"], threads=1, stop=Stop())

    return InProcess(folder)


def _disturbed(study: Path, root: Path, name: str, *, is_real: bool) -> None:
    """Take part while things break; an error that is told is no broken invariant."""
    from pgsbench.errors import UserError

    with suppress(UserError, OSError):
        sweep(study, root, name, is_real=is_real)


# ----------------------------------------------------------------------------------------------- what strikes


def strike(fault: str, chance: random.Random, target: Target) -> bool:
    """Do one fault to what works; tell whether anything met it."""
    from pgsbench.disk import held
    from pgsbench.records import files

    if not target.alive:
        return False
    if fault in disks.FAULTS:
        return _break_disk(fault, chance, target)
    if fault == "kill one":
        chance.choice(target.alive).kill()
    elif fault == "freeze":
        pid = chance.choice(target.alive).pid or 0
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.5)
        os.kill(pid, signal.SIGCONT)
    elif fault == "clock jumps":
        then, leases = time.time() + chance.choice((-1e5, 1e5)), list(target.root.glob(f"*/**/{held.LEASE}"))
        for path in leases:
            with suppress(FileNotFoundError):
                os.utime(path, (then, then))
        return bool(leases)
    else:
        for process in target.alive:
            process.kill()
            process.join()
        # A power cut also tears the last line of metrics, as bytes that never came to the disk, and leases.
        for path in target.root.glob(f"*/*/{files.METRICS}") if fault == "power cut" else ():
            size = path.stat().st_size
            if size > 10 and not (path.parent / files.DONE).exists():
                os.truncate(path, size - 10)
        for path in target.root.glob(f"*/**/{held.LEASE}") if fault == "power cut" else ():
            os.truncate(path, chance.choice((0, 12)))
    return True


def _break_disk(fault: str, chance: random.Random, target: Target) -> bool:
    assert target.disk is not None
    target.disk.breaks(fault, chance.randint(0, CALLS), chance.randint(1, disks.FAULTS[fault][1]))
    until = time.monotonic() + 5
    while target.alive and not target.disk.is_over and time.monotonic() < until:
        time.sleep(0.02)
    return target.disk.mend() > 0


# ------------------------------------------------------------------------------------------------ a schedule


def schedule(kind: str, seed: int, study: Path, root: Path, disk: disks.Disk | None) -> list[str]:
    """Run one schedule and check it; return the faults that were met.

    Raises:
        BrokenError: An invariant does not hold.
    """
    is_real, chance, target = kind == "REAL", random.Random(seed), Target(root, disk)
    root.mkdir(parents=True)
    names = ("tiny", "tiny", "other")
    try:
        for name in names:
            target.processes.append(
                FORK.Process(target=partial(_disturbed, is_real=is_real), args=(study, root, name))
            )
            target.processes[-1].start()
            time.sleep(chance.random() * 0.1)
        met, length = [], 6 if is_real else 3 * POINTS
        for when in sorted(chance.random() * length for _ in range(chance.randint(1, 3))):
            while _lines(root) < when and target.alive:
                time.sleep(0.02)
            time.sleep(chance.random() * 0.1)
            fault = chance.choice([*ALWAYS, *(disks.FAULTS if disk else ())])
            met += [fault] if strike(fault, chance, target) else []
        for process in target.processes:
            _join(process, may_be_killed=True)
        for name in dict.fromkeys(names):
            target.processes.append(
                FORK.Process(target=partial(sweep, is_real=is_real), args=(study, root, name))
            )
            target.processes[-1].start()
            _join(target.processes[-1])
    finally:
        for process in target.alive:
            process.kill()
    for name in dict.fromkeys(names):
        (check_real if is_real else check_made_up)(study, root, name)
    shutil.rmtree(root)  # where an invariant does not hold, it is kept
    return met


def _lines(root: Path) -> int:
    """Return how far a schedule is: what its runs have written so far."""
    paths = [root / "worked", *root.glob("*/*/metrics.jsonl")]
    return sum(path.read_bytes().count(b"\n") for path in paths if path.is_file())


def _join(process: BaseProcess, *, may_be_killed: bool = False) -> None:
    process.join(HANGS_SECONDS)
    if process.is_alive():
        raise BrokenError("a process hangs")
    if process.exitcode != 0 and not (may_be_killed and process.exitcode == -signal.SIGKILL):
        raise BrokenError(f"a command ended with {process.exitcode}, which nothing excuses")


def check_made_up(study: Path, root: Path, name: str) -> None:
    """Check the invariants of a study with made-up trainings."""
    from made_up import folder_of, ratio_of

    from pgsbench.tracking.rundir import RunDir

    folder = folder_of(study, root, [*SEARCH, f"name={name}"])
    if len(folder.runs) != 2 * POINTS:
        raise BrokenError(f"{name} has {len(folder.runs)} runs")
    for run in folder.runs.values():
        scores = RunDir(root / run.directory).scores if folder.is_complete(run.spec) else None
        if scores is None or scores.groups["classification"].value != ratio_of(run.spec):
            raise BrokenError(f"{run.spec.name} is not complete, or has other scores")
    at_work: dict[str, str] = {}
    # A power cut takes the end of a line, and the next one is written behind it.
    for what, run_id, process in WORKED.findall((root / "worked").read_text()):
        if what == "begin":
            at_work[run_id] = process
        elif at_work.get(run_id) != process:
            raise BrokenError(f"two processes worked on {run_id}")


def results_of(study: Path, root: Path, name: str) -> dict[str, tuple[str, object]]:
    """Return run -> hash of its weights, and its scores, of a study that must be complete."""
    from made_up import folder_of

    from pgsbench.hashing import file_hash
    from pgsbench.tracking.rundir import RunDir

    folder, found = folder_of(study, root, [*REAL, f"name={name}"]), {}
    for label, run in folder.runs.items():
        directory = RunDir(root / run.directory)
        if not folder.is_complete(run.spec) or directory.scores is None:
            raise BrokenError(f"{label} is not complete")
        (weights,) = directory.checkpoint.glob("*.safetensors")
        found[label] = file_hash(weights), directory.scores.scores
    return found


def check_real(study: Path, root: Path, name: str) -> None:
    """Check that weights and scores are those of the quiet run beside the schedule."""
    if results_of(study, root, name) != results_of(study, root.parent / "quiet", "tiny"):
        raise BrokenError("weights or scores are others than those of the quiet run")


# ---------------------------------------------------------------------------------------------- the campaign


def campaign(counts: dict[str, int], first: int, home: Path, results: Path) -> int:
    """Run schedules, print a table, and return how many failed; what stands in `results` is not run again."""
    from pgsbench.disk import held
    from pgsbench.execution import ledger as ledger_module

    held.LEASE_SECONDS, held.BEAT_SECONDS, held.POLL_SECONDS = 3.0, 0.3, 0.02
    ledger_module.WAIT_SECONDS = 0.05
    os.environ["PGSBENCH_DATA"] = str(home / "data")
    (home / "world").mkdir()
    study = tinyworld.make(home / "world").study
    disk = disks.Disk(home) if "CHAOS_DISK" in os.environ else None
    for name, is_real in (("warm", False), ("quiet", True)):  # what is imported once is there when forked
        if not is_real or counts["REAL"]:
            quiet = FORK.Process(
                target=partial(sweep, is_real=is_real), args=(study, home / "work" / name, "tiny")
            )
            quiet.start()
            _join(quiet)
    known = [json.loads(line) for line in results.read_text().splitlines()] if results.is_file() else []
    done = {(one["kind"], one["seed"]) for one in known}
    for kind, count in counts.items():
        for seed in range(first, first + count):
            if (kind, seed) not in done:
                known.append(_told(kind, seed, study, home, disk))
                with results.open("a") as file:
                    file.write(f"{json.dumps(known[-1])}\n")
    faults = Counter(fault for one in known for fault in one["faults"])
    for kind in counts:
        those = [one for one in known if one["kind"] == kind]
        print(f"{kind}: {len(those)}, failures: {sum(bool(one['error']) for one in those)}")
    for fault, times in sorted(faults.items()):
        print(f"  {fault}: {times}")
    return sum(bool(one["error"]) for one in known)


def _told(kind: str, seed: int, study: Path, home: Path, disk: disks.Disk | None) -> dict[str, object]:
    """Run a schedule and say how it went."""
    error, met = "", list[str]()
    try:
        met = schedule(kind, seed, study, home / f"work/{kind.lower()}_{seed}", disk)
    except Exception as found:
        error = str(found) or type(found).__name__
        if not isinstance(found, BrokenError):
            traceback.print_exc()
        print(f"FAILED: {kind} {seed}: {error}")
        print(f"  replay: make chaos ONLY={kind} SEED={seed}; what it left: {home}")
    print(f"{kind} {seed}: {', '.join(met)}", flush=True)
    return {"kind": kind, "seed": seed, "faults": met, "error": error}


def main() -> None:
    """Run a campaign in a process of its own, whose disk can break."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for kind, count in KINDS.items():
        parser.add_argument(f"--{kind.lower()}", type=int, default=count, help=f"how many {kind} there are")
    parser.add_argument("--only", choices=KINDS, help="one schedule of this kind, such as one that failed")
    parser.add_argument("--seed", type=int, default=0, help="of the first schedule")
    parser.add_argument("--results", type=Path, help="a file with a line a schedule; it goes on there")
    options = parser.parse_args()
    if "CHAOS_HOME" not in os.environ:
        home = Path(tempfile.mkdtemp(prefix="chaos"))
        environment: dict[str, str] = dict(os.environ)
        if disks.Disk.can_be_built():
            environment |= disks.Disk(home).environment
        else:
            print("no C compiler (cc): the disk cannot break")
        os.execve(sys.executable, [sys.executable, *sys.argv], environment | {"CHAOS_HOME": str(home)})
    counts: dict[str, int] = {kind: getattr(options, kind.lower()) for kind in KINDS}
    if options.only:
        counts = {kind: int(kind == options.only) for kind in KINDS}
    home = Path(os.environ.pop("CHAOS_HOME"))
    failures = campaign(counts, options.seed, home, options.results or home / "results")
    if not failures:
        shutil.rmtree(home)
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
