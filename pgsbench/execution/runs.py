"""A plan worked off: what is missing is trained, what exists is reused, a failure does not stop the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pgsbench.data.store import Progress
from pgsbench.execution.decoding import decode_first
from pgsbench.execution.folder import StudyFolder
from pgsbench.execution.launched import LaunchedEngine, leads
from pgsbench.execution.local import Ended, LocalEngine
from pgsbench.execution.slots import Slots
from pgsbench.records.run_spec import RunSpec


@dataclass
class Watcher:
    """What the one who started the work wants to be told; the default is told nothing.

    Attributes:
        on_step: ``(run, steps done, steps in all)``, about once a second for each run under way.
        on_done: A run is complete; True: it was so before.
        on_failed: A run ended with this error.
        on_note: Something else to know, in one line.
        on_tick: About once a second.
        on_progress: What goes before the runs is so far done: a task, steps done, steps in all.
    """

    on_step: Callable[[RunSpec, int, int], None] = lambda *_: None
    on_done: Callable[[RunSpec, bool], None] = lambda *_: None
    on_failed: Callable[[RunSpec, Exception], None] = lambda *_: None
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
    pending = iter(enter(folder, specs, watcher))
    ended = train(folder, slots, watcher, next_run=lambda: next(pending, None))
    return [(one.spec, one.error) for one in ended if one.error is not None]


def enter(folder: StudyFolder, specs: Sequence[RunSpec], watcher: Watcher) -> list[RunSpec]:
    """Enter runs into the study's record and return those that are not complete, equal ones once.

    What they hold in memory is decoded, so that it is done once and somebody sees it.
    """
    specs = folder.existing(specs)
    folder.add(specs)
    pending = dict[str, RunSpec]()
    for spec in specs:
        if folder.is_complete(spec):
            watcher.on_done(spec, True)
        else:
            pending.setdefault(spec.id, spec)
    decode_first(pending.values(), watcher.on_progress)
    return list(pending.values())


def train(
    folder: StudyFolder, slots: Slots, watcher: Watcher, *, next_run: Callable[[], RunSpec | None]
) -> Iterator[Ended]:
    """Yield each run as it has ended and is entered, telling the watcher of progress.

    Args:
        folder: The study and where it lives.
        slots: Where runs are trained.
        watcher: Told of progress.
        next_run: See `Engine.work_off`.
    """
    engine_of = LaunchedEngine if leads() else LocalEngine
    with engine_of(slots, folder.runs_root) as engine:

        def tick() -> None:
            for spec in engine.running:
                watcher.on_step(spec, folder.directory(spec).last_step(), spec.config.training.steps)
            watcher.on_tick()

        for ended in engine.work_off(next_run, tick):
            if ended.error is None:
                folder.found(ended.spec, ended.directory)
                watcher.on_done(ended.spec, False)
                summary = folder.directory(ended.spec).summary
                if summary is not None and summary.bad_samples:
                    told = ", ".join(f"{count:,} {reason}" for reason, count in summary.bad_samples.items())
                    watcher.on_note(f"{ended.spec.name}: samples that could not be used: {told}")
            else:
                watcher.on_failed(ended.spec, ended.error)
            yield ended
