"""How the time of `pgsbench sync` grows with the runs of a study.

A study of made-up runs with whole curves grows in one SQLite store. At each size all of it is synced by a
mirror that has seen none of it, then by another one when nothing is new, and its rows are listed as MLflow's
page does::

    PYTHONPATH=tests:tests/tracking python tests/tracking/mirror_scale.py

``--postgres 250`` does it through an MLflow server on a PostgreSQL of its own, with the processor time of all
three (``PYTHONPATH=tests:tests/tracking:tests/execution``).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import psutil
from fake_study import STEPS, fake_record, fake_run, fake_spec, finish
from study_records import write_study_record

from pgsbench.records import files
from pgsbench.records.run_spec import RunSpec
from pgsbench.tracking.mirror import Mirror
from pgsbench.tracking.mlflow_server import Server
from pgsbench.tracking.rundir import RunDir

SIZES, SEEDS = (250, 500, 1000, 2000), 5


def spec(number: int) -> RunSpec:
    point, seed = divmod(number, SEEDS)
    return fake_spec(f"flip-{point}", seed, ratio=(point + 1) / (max(SIZES) + 1))


def write(runs: Path, numbers: range, curve: Path) -> None:
    for number in numbers:
        run = RunDir.create(runs, spec(number))
        shutil.copy(curve / files.METRICS, run.path)
        shutil.copy(curve / files.ENVIRONMENT, run.path)
        finish(run, gain=number / 1e5)


def seconds(do: Callable[[], object], servers: list[psutil.Process]) -> float:
    """Return the processor time of this process, in which a SQLite store works, too, and of servers."""
    began = used(servers)
    do()
    return used(servers) - began


def used(servers: list[psutil.Process]) -> float:
    every = [process for server in servers for process in (server, *server.children(recursive=True))]
    times = [process.cpu_times() for process in every]
    return time.process_time() + sum(one.user + one.system for one in times)


@contextmanager
def store(home: Path, on_postgres: bool) -> Iterator[tuple[str, list[psutil.Process]]]:
    """Yield the address of an empty store, and the processes that serve it."""
    if not on_postgres:
        yield f"sqlite:///{home}/mlflow.db", []
        return
    from servers import Postgres, free_port

    postgres = Postgres()
    server = Server(postgres.new_database("mlflow"), port=free_port())
    process = subprocess.Popen(server.command(), env=server.environment(), cwd=home)
    try:
        while process.poll() is None:
            with suppress(OSError):
                urllib.request.urlopen(f"{server.address}/health", timeout=5).close()
                break
            time.sleep(0.5)
        yield server.address, [psutil.Process(process.pid), psutil.Process(postgres.pid)]
    finally:
        process.terminate()
        process.wait()
        postgres.close()


def main(sizes: list[int], on_postgres: bool) -> None:
    home = Path(tempfile.mkdtemp())
    with store(home, on_postgres) as (uri, servers):
        measure(sizes, home, uri, servers)
    shutil.rmtree(home)


def measure(sizes: list[int], home: Path, uri: str, servers: list[psutil.Process]) -> None:
    runs = home / "runs"
    curve = fake_run(home / "curve", fake_spec(), steps=STEPS, done=False).path
    with Mirror(uri).store.connect(home):
        pass  # the tables are made
    before, in_all = 0, 0.0
    print(
        "runs | new ones, s | s a new run | all since the first, s | nothing new, s | listed, s", flush=True
    )
    for size in sizes:
        write(runs, range(before, size), curve)
        write_study_record(fake_record([spec(number) for number in range(size)]), runs / "ratio")
        new, again = (seconds(partial(sync, uri, runs), servers) for _ in range(2))
        listed = seconds(partial(listing, uri, size), servers)
        in_all += new
        row = f"{new:.1f} | {new / (size - before):.3f} | {in_all:.1f} | {again:.1f} | {listed:.1f}"
        print(f"{size:,} | {row}", flush=True)
        before = size


def sync(uri: str, runs: Path) -> None:
    problem = Mirror(uri).sync_study(runs / "ratio").problem
    assert not problem, problem


def listing(uri: str, size: int) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("pgsbench")
    token, found = None, 0
    while True:
        page = client.search_runs([experiment.experiment_id], max_results=100, page_token=token)
        found, token = found + len(page), page.token
        if not token:
            break
    assert found == size + 1  # and the study's own row


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES)
    parser.add_argument("--postgres", action="store_true")
    given = parser.parse_args()
    main(given.sizes, given.postgres)
