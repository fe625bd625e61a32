"""What a worker process does: one run after another in its slot, telling nobody but the run directories."""

from __future__ import annotations

import gc
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path

import torch

from pgsbench.devices import use
from pgsbench.errors import Interrupted, RunError, UserError
from pgsbench.evaluation.identity import current_fingerprint
from pgsbench.execution.probes import prober_of
from pgsbench.execution.together import run_together
from pgsbench.execution.worker_process import begin
from pgsbench.experiment import is_complete, run_once, suite_of
from pgsbench.records.run_spec import RunSpec
from pgsbench.tracking.failures import failure_of
from pgsbench.tracking.rundir import RunDir, find_runs
from pgsbench.training.ranks import Ranks

_stop: Event


class CompleteError(RunError):
    """Another process has completed a run since it was handed out; `where` is its directory."""


def start(threads: int, stop: Event) -> None:
    """Prepare a new worker process; see `worker_process.begin`."""
    global _stop
    _stop = stop
    begin(threads, stop)


def work(spec: RunSpec, runs_root: Path, device: str) -> str:
    """Train and evaluate a run; return its directory relative to the runs folder.

    Args:
        spec: The run.
        runs_root: The folder of all studies.
        device: Where; several with commas between them train it together.

    Raises:
        UserError: The run failed. What is nobody's mistake is one, too, and leaves its traceback in the run
            directory: it must not end the runs beside it.
        CompleteError: There is nothing left to do.
        Interrupted: The worker was asked to stop, or the run was pruned; the state is saved.
    """
    try:
        refuse_complete(spec, runs_root)
        if "," in device:
            return run_together(
                spec, runs_root, device.split(","), threads=torch.get_num_threads(), stop=_stop
            )
        return done_or_failed(spec, runs_root, use(device), should_stop=_stop.is_set)
    except (UserError, Interrupted):
        raise
    except Exception as error:
        raise _failure(error, spec, runs_root) from None


def refuse_complete(spec: RunSpec, runs_root: Path) -> None:
    """Raise CompleteError where a run needs no work any more."""
    run = find_runs(runs_root, [spec.id]).get(spec.id)
    if run is not None and is_complete(run, current_fingerprint(suite_of(spec))):
        directory = run.path.relative_to(runs_root).as_posix()
        raise CompleteError("another process has completed this run", where=directory)


def done_or_failed(
    spec: RunSpec,
    runs_root: Path,
    device: torch.device,
    *,
    should_stop: Callable[[], bool],
    ranks: Ranks = Ranks(),  # noqa: B008  # frozen: one process alone
) -> str:
    """Train and evaluate a run in this process; see `work` and `run_once`.

    What it raises holds nothing of the run: its functions have variables of the size of the model, and this
    process trains other runs.
    """
    prober = prober_of(spec, runs_root) if ranks.world_size == 1 else None
    raised: Exception
    try:
        run = run_once(
            spec, runs_root=runs_root, device=device, should_stop=should_stop, prober=prober, ranks=ranks
        )
        return run.path.relative_to(runs_root).as_posix()
    except (UserError, Interrupted) as error:
        raised = error
    except Exception as error:
        raised = _failure(error, spec, runs_root)
    raised.__context__ = raised.__cause__ = raised.__traceback__ = None
    gc.collect()  # a model and its mask hold one another, and nothing else frees a GPU
    raise raised


def _failure(error: Exception, spec: RunSpec, runs_root: Path) -> RunError:
    run = find_runs(runs_root, [spec.id]).get(spec.id) or RunDir(runs_root / spec.folder)
    failure = failure_of(error, run)
    where, way_out = failure.log or str(run.path), "the file has the whole traceback" if failure.log else ""
    return RunError(failure.error, where=where, way_out=way_out)
