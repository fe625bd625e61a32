"""A plan worked off: what is missing is trained, what exists is reused, a failure does not stop the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pgsbench.data.store import Progress
from pgsbench.execution.decoding import decode_first
from pgsbench.execution.folder import StudyFolder
from pgsbench.execution.launched import LaunchedEngine, leads
from pgsbench.execution.local import Ended, LocalEngine
from pgsbench.execution.pending import Pending
from pgsbench.execution.slots import Slots
from pgsbench.experiment import is_trained
from pgsbench.records.run_spec import RunSpec

#: How a run became complete. Reused: it was so before, or by others. Evaluated: its training was there.
How = Literal["trained", "evaluated", "reused"]


@dataclass
class Watcher:
    """What the one who started the work wants to be told; the default is told nothing.

    Attributes:
        on_step: ``(run, steps done, steps in all)``, about once a second for each run under way.
        on_done: A run is complete, and how it became so.
        on_overhead: A run that was trained here took so many seconds beside its steps and its evaluation.
        on_failed: A run ended with this error.
        on_pruned: A run was ended, or never begun, for this reason.
        on_note: Something else to know, in one line.
        on_tick: About once a second.
        on_progress: What goes before the runs is so far done: a task, steps done, steps in all.
    """

    on_step: Callable[[RunSpec, int, int], None] = lambda *_: None
    on_done: Callable[[RunSpec, How], None] = lambda *_: None
    on_overhead: Callable[[float], None] = lambda _: None
    on_failed: Callable[[RunSpec, Exception], None] = lambda *_: None
    on_pruned: Callable[[RunSpec, str], None] = lambda *_: None
    on_note: Callable[[str], None] = lambda _: None
    on_tick: Callable[[], None] = lambda: None
    on_progress: Progress = lambda *_: None


def work_off(
    folder: StudyFolder, specs: Sequence[RunSpec], slots: Slots, watcher: Watcher
) -> list[tuple[RunSpec, Exception]]:
    """Train and evaluate all runs of a plan that are not complete; return those that failed.

    Args:
        folder: The study and where it lives.
        specs: The plan.
        slots: Where runs are trained.
        watcher: Told of progress.

    Raises:
        KeyboardInterrupt: After the workers have saved their states.
    """
    folder.marks.go_on()
    pending = Pending(folder, enter(folder, specs, watcher), on_note=watcher.on_note)
    ended = train(folder, slots, watcher, pending)
    return [(one.spec, one.error) for one in ended if one.error is not None]


def enter(
    folder: StudyFolder, specs: Sequence[RunSpec], watcher: Watcher, *, retry: bool = True
) -> list[RunSpec]:
    """Enter runs into the study's record and return those that are left to work on, equal ones once.

    What they hold in memory is decoded, so that it is done once and somebody sees it.

    Args:
        folder: The study and where it lives.
        specs: The runs.
        watcher: Told which are complete.
        retry: Runs that have failed are to be tried again, as by a command that begins.
    """
    specs = folder.existing(specs)
    folder.add(specs)
    missing, pruned = dict[str, RunSpec](), folder.pruned()
    for spec in specs:
        if folder.is_complete(spec):
            watcher.on_done(spec, "reused")
        elif spec.label in pruned:
            watcher.on_pruned(spec, pruned[spec.label].why)
        else:
            missing.setdefault(spec.id, spec)
    if retry:
        folder.marks.try_again(missing)
    decode_first(missing.values(), watcher.on_progress)
    return list(missing.values())


def train(
    folder: StudyFolder,
    slots: Slots,
    watcher: Watcher,
    pending: Pending,
    *,
    on_start: Callable[[RunSpec], None] = lambda _: None,
) -> Iterator[Ended]:
    """Work runs off until none is left, and yield each that has ended here or elsewhere.

    Args:
        folder: The study and where it lives.
        slots: Where runs are trained.
        watcher: Told of progress.
        pending: The runs.
        on_start: Told of each run before a worker gets it.

    Raises:
        StudyError: The study was cancelled.
    """
    is_over, evaluated = False, set[str]()

    def next_run() -> RunSpec | None:
        nonlocal is_over
        spec = pending.next()
        is_over = spec is None
        if spec is not None:
            if is_trained(folder.directory(spec)):
                evaluated.add(spec.id)
            on_start(spec)
        return spec

    engine_of = LaunchedEngine if leads() else LocalEngine
    with engine_of(slots, folder.runs_root) as engine:
        while True:
            pending.check()
            ended = [one for one in engine.step(next_run) if pending.close(one)]
            for spec in engine.running:
                watcher.on_step(spec, folder.directory(spec).last_step(), spec.config.training.steps)
            watcher.on_tick()
            for one in [*ended, *pending.ended_elsewhere()]:
                here: How = "evaluated" if one.spec.id in evaluated else "trained"
                _tell(folder, watcher, one, here if one.is_ours else "reused")
                yield one
            if is_over and not pending and not engine.running:
                return


def _tell(folder: StudyFolder, watcher: Watcher, ended: Ended, how: How) -> None:
    if ended.error is not None:
        watcher.on_failed(ended.spec, ended.error)
    elif ended.is_pruned:
        mark = folder.pruned().get(ended.spec.label)
        watcher.on_pruned(ended.spec, mark.why if mark else "")
    else:
        folder.found(ended.spec, ended.directory)
        watcher.on_done(ended.spec, how)
        summary = folder.directory(ended.spec).summary
        if summary is None or how != "trained":
            return
        if summary.overhead_seconds is not None:
            watcher.on_overhead(summary.overhead_seconds)
        if summary.bad_samples:
            told = ", ".join(f"{count:,} {reason}" for reason, count in summary.bad_samples.items())
            watcher.on_note(f"{ended.spec.name}: samples that could not be used: {told}")
