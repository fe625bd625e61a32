"""The schedules of `chaos.py`, one after another, in a process whose disk can break."""

from __future__ import annotations

import functools
import json
import os
import random
import resource
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from multiprocessing.process import BaseProcess
from pathlib import Path

import alembic.util
import parts
import test_many_processes as many
import tinyworld
from disk import Disk
from faults import Target, strike
from parts import FORK, KINDS, BrokenError, Kind, Part
from servers import Mlflow, Postgres

from pgsbench.execution import local

HANGS_SECONDS = 900


@dataclass(frozen=True)
class Place:
    """Where schedules run, and what may break there."""

    home: Path
    study: Path
    disk: Disk | None
    postgres: Postgres | None = None
    mlflow: Mlflow | None = None


@contextmanager
def opened(home: Path, *, with_servers: bool) -> Iterator[Place]:
    """Make the place; what libraries do once a process is done before anything is forked."""
    os.environ["PGSBENCH_DATA"] = str(home / "data")
    for name in ("OPTUNA_STORAGE", "MLFLOW_TRACKING_URI"):
        os.environ.pop(name, None)
    local.IDLE_SECONDS = 0.05
    # What each process of a schedule would read anew, none of which is on the disk that breaks.
    alembic.util.load_python_file = functools.cache(alembic.util.load_python_file)
    many.open_study_file = functools.cache(many.open_study_file)
    (home / "world").mkdir()
    place = Place(
        home, tinyworld.make(home / "world").study, Disk(home) if "CHAOS_DISK" in os.environ else None
    )
    parts.sweep(place.study, home / "warm")
    if with_servers and Postgres.is_installed() and find_spec("psycopg"):
        place = replace(place, postgres=Postgres())
    if with_servers and find_spec("mlflow"):
        import mlflow.store.tracking.rest_store  # noqa: F401  (takes seconds)

        place = replace(place, mlflow=Mlflow(home / "mlflow"))
    try:
        yield place
    finally:
        for server in (place.postgres, place.mlflow):
            if server is not None:
                server.close()


def schedule(name: str, seed: int, place: Place) -> list[str]:
    """Run one schedule and check it; return the faults that were met.

    Raises:
        BrokenError: An invariant does not hold.
    """
    kind, chance, root = KINDS[name], random.Random(seed), place.home / f"work/{name.lower()}_{seed}"
    root.mkdir(parents=True)
    with _target(kind, root, place) as (target, storage):
        try:
            met = _perform(kind, chance, target, place.study)
            kind.check(place.study, root, storage)
        finally:
            for process in target.alive:
                process.kill()
    shutil.rmtree(root)  # where an invariant does not hold, it is kept
    return met


def _perform(kind: Kind, chance: random.Random, target: Target, study: Path) -> list[str]:
    for part in kind.parts:
        _start(target, parts.disturbed if kind.is_struck else parts.beside, part, study)
        time.sleep(chance.random() * 0.1)
    met = _strike(kind, chance, target) if kind.is_struck else []
    for process in target.processes:
        _join(process, may_be_killed=kind.is_struck)
    if kind.is_struck:
        _start(target, parts.alone, kind.parts[0], study)
        _join(target.processes[-1])
    return met


def _start(target: Target, how: Callable[[Part, Path, Path], None], part: Part, study: Path) -> None:
    target.processes.append(FORK.Process(target=how, args=(part, study, target.root)))
    target.processes[-1].start()


@contextmanager
def _target(kind: Kind, root: Path, place: Place) -> Iterator[tuple[Target, str]]:
    """Give what is struck, and the address of Optuna's storage."""
    if not (kind.has_servers and place.postgres):
        yield Target(root, [], place.disk), f"sqlite:///{root}/tiny/optuna.db"
        return
    storage = place.postgres.new_database(root.name)
    environment = {"OPTUNA_STORAGE": storage}
    if place.mlflow:
        environment["MLFLOW_TRACKING_URI"] = place.mlflow.address
    with _environment(environment):
        yield Target(root, [], place.disk, place.postgres, place.mlflow), storage
    place.postgres.drop(root.name)


@contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    os.environ.update(more)
    try:
        yield
    finally:
        for name in more:
            del os.environ[name]


def _strike(kind: Kind, chance: random.Random, target: Target) -> list[str]:
    """Strike one to three times, each when so much is done; return what was met."""
    met = []
    for when in sorted(chance.random() * kind.length for _ in range(chance.randint(1, 3))):
        while parts.lines(target.root) < when and target.alive:
            time.sleep(0.02)
        time.sleep(chance.random() * 0.1)
        fault = chance.choice(target.faults)
        if strike(fault, chance, target):
            met.append(fault)
    return met


def _join(process: BaseProcess, *, may_be_killed: bool = False) -> None:
    process.join(HANGS_SECONDS)
    if process.is_alive():
        raise BrokenError("a process hangs")
    if process.exitcode != 0 and not (may_be_killed and process.exitcode == -signal.SIGKILL):
        raise BrokenError(f"a command ended with {process.exitcode}, which nothing excuses")


def run(counts: Mapping[str, int], first: int, home: Path, results: Path) -> int:
    """Run a campaign, print its table, and return how many schedules failed.

    Args:
        counts: Kind -> how many schedules.
        first: Their first seed.
        home: An empty folder, but for the disk.
        results: A file of a line a schedule; what stands there is not run again.
    """
    known = [json.loads(line) for line in results.read_text().splitlines()] if results.is_file() else []
    done = {(one["kind"], one["seed"]) for one in known}
    left = [(kind, seed) for kind, count in counts.items() for seed in range(first, first + count)]
    left = [one for one in left if one not in done]
    with opened(home, with_servers=any(KINDS[kind].has_servers for kind, _ in left)) as place:
        if any(kind == "REAL" for kind, _ in left):
            quiet = FORK.Process(target=parts.train, args=(place.study, home / "work/quiet"))
            quiet.start()  # a process of its own: what has trained should not be forked
            quiet.join()
        for kind, seed in left:
            if KINDS[kind].has_servers and not place.postgres:
                print(f"{kind} {seed}: left out, as PostgreSQL is not installed")
                continue
            one = _told(kind, seed, place)
            known.append(one)
            with results.open("a") as file:
                file.write(f"{json.dumps(one)}\n")
    _print_table(known)
    failures = sum(bool(one["error"]) for one in known)
    if not failures:
        shutil.rmtree(home)
    return failures


def _told(kind: str, seed: int, place: Place) -> dict[str, object]:
    """Run a schedule and say how it went."""
    before, error, met = _cpu_seconds(), "", list[str]()
    try:
        met = schedule(kind, seed, place)
    except Exception as found:
        error = str(found) or type(found).__name__
        if not isinstance(found, BrokenError):
            traceback.print_exc()
        print(f"FAILED: {kind} {seed}: {error}")
        print(f"  replay: make chaos ONLY={kind} SEED={seed}; what it left: {place.home}")
    seconds = round(_cpu_seconds() - before, 1)
    print(f"{kind} {seed}: {', '.join(met)} ({seconds} s)", flush=True)
    return {"kind": kind, "seed": seed, "faults": met, "error": error, "cpu_seconds": seconds}


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _print_table(known: list[dict[str, object]]) -> None:
    faults = Counter(fault for one in known for fault in one["faults"])  # type: ignore
    for kind in KINDS:
        those = [one for one in known if one["kind"] == kind]
        print(f"{kind}: {len(those)}, failures: {sum(bool(one['error']) for one in those)}")
    for fault, times in sorted(faults.items()):
        print(f"  {fault}: {times}")
