"""The driver of a study: what is missing is trained, what exists is reused, a failure stops nothing else."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any, Literal

from pgsbench.data import shards
from pgsbench.data.samples import Tokenize
from pgsbench.data.store import Progress
from pgsbench.errors import Interrupted, RunError, RunHeldError, StudyError
from pgsbench.execution.engine import Engine
from pgsbench.execution.ledger import Ledger
from pgsbench.experiment import is_trained
from pgsbench.models.architectures import image_size_of
from pgsbench.records.run_records import Failure
from pgsbench.records.run_spec import RunSpec
from pgsbench.study.objective import Objective

#: Between two looks at the runs.
POLL_SECONDS = 1.0
#: How a run became complete. Reused: it was so before, or by others. Evaluated: its training was there.
How = Literal["trained", "evaluated", "reused"]


@dataclass
class Watcher:
    """What the one who started the work wants to be told; the default is told nothing.

    Attributes:
        on_step: ``(run, its last line of metrics)``, about once a second for each run under way.
        on_score: The mean score of a run that ends, or of its last measurement on the way, as a share.
        on_done: A run is complete, and how it became so.
        on_overhead: A run that was trained here took so many seconds beside its steps and its evaluation.
        on_failed: A run ended with this error.
        on_pruned: A run was ended, or never begun, for this reason.
        on_note: Something else to know, in one line.
        on_tick: About once a second.
        on_progress: What goes before the runs is so far done: a task, steps done, steps in all.
    """

    on_step: Callable[[RunSpec, Mapping[str, Any]], None] = lambda *_: None
    on_score: Callable[[RunSpec, float], None] = lambda *_: None
    on_done: Callable[[RunSpec, How], None] = lambda *_: None
    on_overhead: Callable[[float], None] = lambda _: None
    on_failed: Callable[[RunSpec, Exception], None] = lambda *_: None
    on_pruned: Callable[[RunSpec, str], None] = lambda *_: None
    on_note: Callable[[str], None] = lambda _: None
    on_tick: Callable[[], None] = lambda: None
    on_progress: Progress = lambda *_: None


def enter(ledger: Ledger, specs: Sequence[RunSpec], watcher: Watcher) -> list[RunSpec]:
    """Enter runs into the study's record and return those that are left to work on, equal ones once.

    What they hold in memory is decoded, so that it is done once and somebody sees it. What has failed is
    tried again.

    Args:
        ledger: Of the study.
        specs: The runs.
        watcher: Told which are complete.
    """
    ledger.add(specs)
    missing, pruned = dict[str, RunSpec](), ledger.pruned()
    for spec in specs:
        if ledger.is_complete(spec):
            _tell_score(ledger, spec, watcher)
            watcher.on_done(spec, "reused")
        elif spec.label in pruned:
            watcher.on_pruned(spec, pruned[spec.label].why)
        else:
            missing.setdefault(spec.id, spec)
            ledger.directory(spec).try_again()
    decode_first(missing.values(), watcher.on_progress)
    return list(missing.values())


def give_away(ledger: Ledger, missing: Sequence[RunSpec], engine: Engine) -> None:
    """Give runs to an engine that goes on without the command, and wait for nothing."""
    with engine:
        for spec in missing:
            run = ledger.look_for(spec)
            if run.holder is None and engine.found(run) is None:
                engine.submit(spec, run)


def work_off(
    ledger: Ledger,
    missing: Iterable[RunSpec],
    engine: Engine,
    watcher: Watcher,
    *,
    more: Callable[[], Sequence[RunSpec]] = lambda: (),
    on_ended: Callable[[RunSpec, Exception | None], None] = lambda *_: None,
) -> list[tuple[RunSpec, Exception]]:
    """Let an engine work on runs until none is left, and return those that failed.

    Args:
        ledger: Of the study.
        missing: The runs, entered before.
        engine: Who works on them.
        watcher: Told of progress.
        more: Asked for further runs, entered too, where a place is free; none: there are no more now.
        on_ended: Told of each run that is complete, pruned or failed.

    Raises:
        KeyboardInterrupt: After the runs under way have saved their states; the same call goes on.
    """
    with engine:
        driver = _Driver(ledger, engine, watcher, deque(missing), more, on_ended)
        while driver.has_work():
            driver.look()
        return driver.failed


class _Driver:
    def __init__(
        self,
        ledger: Ledger,
        engine: Engine,
        watcher: Watcher,
        waiting: deque[RunSpec],
        more: Callable[[], Sequence[RunSpec]],
        on_ended: Callable[[RunSpec, Exception | None], None],
    ) -> None:
        self._ledger, self._engine, self._watcher = ledger, engine, watcher
        self._waiting, self._more, self._on_ended = waiting, more, on_ended
        self._under_way: dict[Future[None], tuple[RunSpec, How]] = {}
        #: Runs that other commands work on, for another study: looked at again and again.
        self._elsewhere: deque[RunSpec] = deque()
        self._told: set[str] = set()
        self.failed: list[tuple[RunSpec, Exception]] = []

    def has_work(self) -> bool:
        """Give each free place a run, and tell whether anything is left to wait for."""
        self._waiting.extend(self._elsewhere)
        self._elsewhere.clear()
        while len(self._under_way) < self._engine.places:
            if not self._waiting:
                self._waiting.extend(self._more())
            if not self._waiting:
                break
            self._give(self._waiting.popleft())
        return bool(self._under_way or self._elsewhere)

    def _give(self, spec: RunSpec) -> None:
        run = self._ledger.look_for(spec)
        if holder := run.holder:
            future = self._engine.found(run)
            if future is None:
                self._elsewhere.append(spec)
                if spec.id not in self._told:
                    self._told.add(spec.id)
                    self._watcher.on_note(f"{spec.name} is worked on elsewhere ({holder})")
                return
        elif self._has_ended(spec, "reused"):
            return
        else:
            future = self._engine.found(run)
        how: How = "evaluated" if is_trained(run) else "trained"
        self._under_way[future or self._engine.submit(spec, run)] = spec, how

    def look(self) -> None:
        """Wait a moment, and take note of what has ended."""
        if self._under_way:
            done, _ = wait(self._under_way, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        else:
            done = set()
            time.sleep(POLL_SECONDS)
        for spec, _ in self._under_way.values():
            run = self._ledger.directory(spec)
            self._watcher.on_step(spec, run.last_line())
            if spec.evaluation.during and (curve := run.curve()):
                self._watcher.on_score(spec, fmean((curve[-1].groups or curve[-1].scores).values()))
        self._watcher.on_tick()
        for future in done:
            spec, how = self._under_way.pop(future)
            self._take(spec, how, future.exception())

    def _take(self, spec: RunSpec, how: How, error: BaseException | None) -> None:
        """Take note of a run that nobody of this command works on any more."""
        if error is not None and not isinstance(error, Exception):
            raise error
        run = self._ledger.look_for(spec)
        was_ours = isinstance(error, BrokenProcessPool)  # its process is about to be gone
        if isinstance(error, RunHeldError) or (run.holder and not was_ours):
            self._elsewhere.append(spec)
        elif not self._has_ended(spec, how):
            error = _in_words(spec, error)
            if not isinstance(error, _StoppedError):
                run.fail(Failure(str(error)))
            self._fail(spec, error)

    def _has_ended(self, spec: RunSpec, how: How) -> bool:
        """Tell whether a run is complete, pruned or failed, and if so, tell everybody."""
        ledger, run = self._ledger, self._ledger.directory(spec)
        if ledger.is_complete(spec):
            _tell_score(ledger, spec, self._watcher)
            self._watcher.on_done(spec, how)
            summary = run.summary if how == "trained" else None
            if summary is not None and summary.overhead_seconds is not None:
                self._watcher.on_overhead(summary.overhead_seconds)
            if summary is not None and summary.bad_samples:
                told = ", ".join(f"{count:,} {reason}" for reason, count in summary.bad_samples.items())
                self._watcher.on_note(f"{spec.name}: samples that could not be used: {told}")
        elif failure := run.failure:
            self._fail(spec, StudyError(failure.error, way_out=failure.log))
            return True
        elif mark := ledger.pruned().get(spec.label):
            self._watcher.on_pruned(spec, mark.why)
        else:
            return False
        self._on_ended(spec, None)
        return True

    def _fail(self, spec: RunSpec, error: Exception) -> None:
        self.failed.append((spec, error))
        self._watcher.on_failed(spec, error)
        self._on_ended(spec, error)


def _tell_score(ledger: Ledger, spec: RunSpec, watcher: Watcher) -> None:
    scores = ledger.scores(spec)
    if scores is not None and scores.groups:
        watcher.on_score(spec, Objective().value(scores))


class _StoppedError(RunError):
    """A run that somebody has asked to end: it did not fail."""


def _in_words(spec: RunSpec, error: Exception | None) -> Exception:
    """Return why a run has ended that left no word of it."""
    if isinstance(error, BrokenProcessPool):
        return RunError(
            "the worker process died, which mostly means that memory ran out",
            where=spec.name,
            way_out="use fewer processes (--jobs 1) or a smaller training.batch_size; "
            "the same command goes on where it was",
        )
    if error is None or isinstance(error, Interrupted):
        return _StoppedError(
            "it was asked to end; its state is saved",
            where=spec.name,
            way_out="the same command goes on where it was",
        )
    return error


def decode_first(specs: Iterable[RunSpec], progress: Progress) -> None:
    """Decode what runs hold in memory, once for all processes, where somebody sees how far it is.

    Raises:
        UserError: The data, or the model, cannot be used.
    """
    by_data = {f"{spec.config.data.model_dump_json()} {spec.config.model}": spec for spec in specs}
    for spec in by_data.values():
        side, name = spec.config.model.image_size, spec.config.model.name
        shards.decode_first(
            spec.config.data,
            image_size=(side, side) if side else image_size_of(name),
            tokenizer=partial(_tokenizer, name),
            progress=progress,
        )


def _tokenizer(model: str) -> Tokenize:
    from pgsbench.models.clip import tokenizer_of  # it imports open_clip, which takes seconds

    return tokenizer_of(model)
