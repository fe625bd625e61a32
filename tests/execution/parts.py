"""What processes do in a schedule of `chaos.py`, and what must hold afterwards."""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import test_many_processes as many

from pgsbench.errors import StudyError, UserError
from pgsbench.execution import runs as runs_module
from pgsbench.execution import worker
from pgsbench.execution.folder import StudyFolder
from pgsbench.execution.join import join, joined_file, numerics_of
from pgsbench.execution.local import Engine
from pgsbench.execution.runs import Watcher
from pgsbench.execution.search import search
from pgsbench.execution.slots import Slots
from pgsbench.hashing import file_hash
from pgsbench.records import files
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.study_record import StudyRecord
from pgsbench.study.plan import Planner
from pgsbench.tracking import mirror as mirror_module
from pgsbench.tracking.mirror import Mirror
from pgsbench.tracking.mlflow_store import Store
from pgsbench.tracking.rundir import RunDir

FORK = multiprocessing.get_context("fork")
POINTS = 5
SEARCH = [
    f"search={{sampler: random, trials: {POINTS}, space: {{strategy.mask_ratio: {{low: 0.1, high: 0.9}}}}, "
    "arms: [pgs]}",
    "seeds=[0, 1]",
]
REAL = ["search={space: {strategy.mask_ratio: [0.25, 0.75]}, arms: [pgs]}", "seeds=[0, 1]"]
SLOTS = Slots(("cpu",), 1)

Part = Callable[[Path, Path], None]


class BrokenError(AssertionError):
    """An invariant does not hold."""


class BehindError(StudyError):
    """MLflow is behind, which a command tells and which the next one mends."""


# ------------------------------------------------------------------------------------- what processes do


def sweep(study: Path, root: Path) -> None:
    """Do what `pgsbench sweep` does, with made-up trainings that take long enough to strike."""
    _made_up(many.folder_of(study, root, SEARCH), lambda folder, watcher: search(folder, [], SLOTS, watcher))


def work(study: Path, root: Path) -> None:
    """Do what `pgsbench worker` does, likewise, as soon as something is planned."""
    while True:
        with suppress(StudyError):
            record = StudyRecord.read(root / "tiny")
            numerics_of(record)
            break
        time.sleep(0.05)
    folder = StudyFolder.open(Planner(joined_file(record)), root, command=None)
    _made_up(folder, lambda folder, watcher: join(folder, SLOTS, watcher))


def _made_up(folder: StudyFolder, do: Callable[[StudyFolder, Watcher], object]) -> None:
    random.seed(os.getpid())
    runs_module.LocalEngine = lambda *_: many.Engine(folder, 0.05)  # type: ignore
    mirror, fed = mirror_of(folder.runs_root), time.monotonic()

    def feed() -> None:
        nonlocal fed
        if mirror and time.monotonic() - fed > 1:
            mirror.sync_study(folder.path, running=True)
            fed = time.monotonic()

    do(folder, Watcher(on_tick=feed))
    if mirror and (problem := mirror.sync_study(folder.path).problem):
        raise BehindError(f"MLflow is behind: {problem}")


def mirror_of(root: Path) -> Mirror | None:
    """Return the mirror of a schedule; None where MLflow is no part of it."""
    if "MLFLOW_TRACKING_URI" not in os.environ:
        return None
    mirror_module.PAUSE_SECONDS = 0.5
    mirror = Mirror()
    mirror.store = Store(mirror.store.uri, root.name)
    return mirror


def train(study: Path, root: Path) -> None:
    """Do what `pgsbench sweep` does, with trainings in this process."""
    folder = many.folder_of(study, root, REAL)
    runs_module.LocalEngine = lambda *_: InProcess(folder)  # type: ignore
    failed = search(folder, [], SLOTS, Watcher())
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


def alone(part: Part, study: Path, root: Path) -> None:
    """Take part while nothing breaks."""
    part(study, root)


def beside(part: Part, study: Path, root: Path) -> None:
    """Take part beside others, one of which may be feeding MLflow as this one ends."""
    with suppress(BehindError):
        part(study, root)


def disturbed(part: Part, study: Path, root: Path) -> None:
    """Take part while things break; an error that is told is no broken invariant."""
    with suppress(UserError, OSError):
        part(study, root)


# ----------------------------------------------------------------------------------------- what must hold


WORKED = re.compile(r"(begin|end) (\w+) (\d+)$", re.MULTILINE)


def check_made_up(study: Path, root: Path, storage: str) -> None:
    """Check the invariants of a schedule with made-up trainings."""
    try:
        many.check_complete(study, root, SEARCH, 2 * POINTS, storage)
    except AssertionError as error:
        raise BrokenError(str(error)) from error
    folder = many.folder_of(study, root, SEARCH)
    for run in folder.runs.values():
        scores = RunDir(root / run.directory).scores
        ratio = run.spec.config.strategy.fields["mask_ratio"]
        if scores is None or scores.groups["classification"].value != ratio:
            raise BrokenError(f"{run.spec.name} has other scores")
    at_work: dict[str, str] = {}
    # A power cut takes the end of a line, and the next one is written behind it.
    for what, run_id, process in WORKED.findall((root / "worked").read_text()):
        if what == "begin":
            at_work[run_id] = process
        elif at_work.get(run_id) != process:
            raise BrokenError(f"two processes worked on {run_id}")
    if mirror := mirror_of(root):
        _check_mlflow(mirror, {run.spec.id for run in folder.runs.values()})


def check_together(study: Path, root: Path, storage: str) -> None:
    """Check likewise, after what `pgsbench sync` does."""
    if (mirror := mirror_of(root)) and (problem := mirror.sync_study(root / "tiny").problem):
        raise BrokenError(f"MLflow is behind: {problem}")
    check_made_up(study, root, storage)


def _check_mlflow(mirror: Mirror, ids: set[str]) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=mirror.store.uri)
    experiment = client.get_experiment_by_name(mirror.store.experiment)
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    found = Counter(run.data.tags.get("id", "") for run in runs)
    if found != Counter({"", *ids}):
        raise BrokenError(f"MLflow has other runs: {found}")
    if left := [run.info.run_name for run in runs if run.info.status != "FINISHED"]:
        raise BrokenError(f"not finished in MLflow: {left}")


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


def check_real(study: Path, root: Path, _: str) -> None:
    """Check that weights and scores are those of the quiet run beside the schedule."""
    if results_of(study, root) != results_of(study, root.parent / "quiet"):
        raise BrokenError("weights or scores are others than those of the quiet run")


# --------------------------------------------------------------------------------------------------- kinds


def lines(root: Path) -> int:
    """Return how far a schedule is: what its runs have written so far."""
    paths = [root / "worked", *root.glob(f"tiny/*/{files.METRICS}")]
    return sum(path.read_bytes().count(b"\n") for path in paths if path.is_file())


@dataclass(frozen=True)
class Kind:
    """A kind of schedules.

    Attributes:
        parts: What each of its processes does.
        check: Checks what they leave, given the study, the folder of runs and Optuna's storage.
        is_struck: Whether there are faults, and then the same command again.
        length: `lines` of a schedule that is half done.
        has_servers: Whether Optuna's record and the mirror are on servers.
    """

    parts: tuple[Part, ...]
    check: Callable[[Path, Path, str], None]
    is_struck: bool = True
    length: int = 2 * POINTS
    has_servers: bool = False


KINDS = {
    "SCHEDULES": Kind((sweep, sweep, sweep), check_made_up),
    "SERVERS": Kind((sweep, work, sweep), check_made_up, has_servers=True),
    "TOGETHER": Kind((sweep, sweep, work, work, work), check_together, is_struck=False, has_servers=True),
    "REAL": Kind((train, train, train), check_real, length=6),
}
