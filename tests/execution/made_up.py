"""Runs that are made up: an engine that trains in milliseconds, and what a training would leave."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from made_scores import scores_of

from pgsbench.errors import UserError
from pgsbench.execution import driver
from pgsbench.execution.engine import Engine, Slots
from pgsbench.execution.ledger import Ledger
from pgsbench.records.run_records import Summary
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.scores import GroupMean
from pgsbench.study.open import open_study_file
from pgsbench.study.plan import Planner
from pgsbench.tracking.rundir import RunDir, find_or_make
from pgsbench.tracking.states import failure_of

driver.POLL_SECONDS = 0.01


def ratio_of(spec: RunSpec) -> float:
    """Return the masking ratio of a run, which tests take for its score."""
    return float(spec.config.strategy.fields["mask_ratio"])


def folder_of(study: Path, runs_root: Path, overrides: list[str]) -> Ledger:
    """Return the folder of the tiny study without its arms."""
    opened = open_study_file(study, overrides=("arms={}", *overrides))
    return Ledger.open(Planner(opened), runs_root)


def finish(
    folder: Ledger, spec: RunSpec, score: float, seconds: float = 1.0, *, run: RunDir | None = None
) -> None:
    """Leave what a training would have left."""
    run = run or RunDir.create(folder.runs_root, spec)
    run.write_summary(Summary(1, 32, 9.0, seconds, 32.0, 0.0, 0.5, 0.3, 8, 8, 1000, 2.0))
    groups = {"classification": GroupMean(score, score, score, 1, 0.1)}
    fingerprint = folder.suite_fingerprint(spec)
    scores_of((), groups, suite="tiny", suite_fingerprint=fingerprint).write(run.path)
    run.mark_done()


class MadeUpEngine(Engine):
    """A run has ended when it was submitted; it is claimed as a real one is.

    Args:
        folder: The study.
        value: The score of a run, or the mistake that it fails with.
        seconds: A run takes at most so long.
        places: See `Engine`.
    """

    def __init__(
        self,
        folder: Ledger,
        value: Callable[[RunSpec], float] = ratio_of,
        *,
        seconds: float = 0.0,
        places: int = 1,
    ) -> None:
        self.folder, self.value, self.seconds, self._places = folder, value, seconds, places
        self.slots = Slots(("cpu",), 1)
        self.trained: list[str] = []

    def __enter__(self) -> MadeUpEngine:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        del kind

    @property
    def places(self) -> int:
        return self._places

    def submit(self, spec: RunSpec, run: RunDir) -> Future[None]:
        future: Future[None] = Future()
        try:
            self.work(spec)
            future.set_result(None)
        except Exception as error:
            future.set_exception(error)
        return future

    def work(self, spec: RunSpec) -> None:
        run = find_or_make(self.folder.runs_root, spec)
        with run.claim():
            if run.is_done:
                return
            run.try_again()
            self._log("worked", f"begin {spec.id} {os.getpid()}")
            time.sleep(self.seconds * random.random())
            try:
                score = self.value(spec)
            except UserError as error:
                run.fail(failure_of(error, run))
                raise
            self.trained.append(spec.name)
            self._log("trained", spec.name)
            finish(self.folder, spec, score, run=run)
            self._log("worked", f"end {spec.id} {os.getpid()}")

    def _log(self, name: str, line: str) -> None:
        with (self.folder.runs_root / name).open("a") as file:
            file.write(f"{line}\n")
