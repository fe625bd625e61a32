"""How the time of `pgsbench sync` grows with the runs of a study.

A study of made-up runs with whole curves grows in one SQLite store. At each size all of it is synced by a
mirror that has seen none of it, then by another one when nothing is new, and its rows are listed as MLflow's
page does::

    PYTHONPATH=tests/tracking python tests/tracking/mirror_scale.py
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fake_study import STEPS, fake_record, fake_run, fake_spec, finish

from pgsbench.records import files
from pgsbench.records.run_spec import RunSpec
from pgsbench.tracking.mirror import Mirror
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


def seconds(do: Callable[[], object]) -> float:
    """Return the processor time of this process, in which a SQLite store works, too."""
    began = time.process_time()
    do()
    return time.process_time() - began


def main() -> None:
    home = Path(tempfile.mkdtemp())
    runs, uri = home / "runs", f"sqlite:///{home}/mlflow.db"
    curve = fake_run(home / "curve", fake_spec(), steps=STEPS, done=False).path
    with Mirror(uri).store.connect(home):
        pass  # the tables are made
    before, in_all = 0, 0.0
    print(
        "runs | new ones, s | s a new run | all since the first, s | nothing new, s | listed, s", flush=True
    )
    for size in map(int, sys.argv[1:] or SIZES):
        write(runs, range(before, size), curve)
        fake_record([spec(number) for number in range(size)]).write(runs / "ratio")
        new, again = seconds(partial(sync, uri, runs)), seconds(partial(sync, uri, runs))
        listed = seconds(partial(listing, uri, size))
        in_all += new
        row = f"{new:.1f} | {new / (size - before):.3f} | {in_all:.1f} | {again:.1f} | {listed:.1f}"
        print(f"{size:,} | {row}", flush=True)
        before = size
    shutil.rmtree(home)


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
    main()
