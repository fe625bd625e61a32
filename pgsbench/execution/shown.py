"""What a person sees of work under way: one table on a terminal, a line a run and minute in a log.

Beside it MLflow is fed and the report drawn anew, each for a small share of the time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from pgsbench.execution.driver import How, Watcher
from pgsbench.execution.engine import Slots
from pgsbench.execution.estimate import Estimator, cost_of
from pgsbench.progress import LOG_EVERY_SECONDS, Bars, about, clock
from pgsbench.records.run_spec import RunSpec

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Between two times that something is done beside the work, at least.
BESIDE_EVERY_SECONDS = 20.0
#: Share of a command's time that it takes at most: thousands of runs take a mirror half a minute.
BESIDE_SHARE = 0.1


@dataclass
class Counts:
    """How many runs were trained, evaluated alone, or complete before or by others (`How`).

    Attributes:
        overheads: `Summary.overhead_seconds` of those that were trained.
    """

    trained: int = 0
    evaluated: int = 0
    reused: int = 0
    overheads: list[float] = field(default_factory=list)

    @property
    def complete(self) -> int:
        """All of them."""
        return self.trained + self.evaluated + self.reused

    @property
    def words(self) -> str:
        """The same in words."""
        evaluated = f"{self.evaluated} only evaluated, " if self.evaluated else ""
        words = f"{self.trained} trained, {evaluated}{self.reused} reused"
        if not self.overheads:
            return words
        overhead = median(self.overheads)
        return f"{words}; beside training and evaluation a run took {overhead:.1f} s of wall time (median)"


@dataclass
class _Row:
    """A run of the table: how it stands, its last line of metrics, its score in percent."""

    spec: RunSpec
    state: str = ""
    line: Mapping[str, Any] = field(default_factory=dict)
    score: float | None = None
    logged: float = 0.0

    @property
    def share(self) -> float:
        """Which share of its steps is done."""
        return 1.0 if self.state else self.line.get("step", 0) / self.spec.config.training.steps

    def cells(self) -> list[str]:
        """Return the cells of its row."""
        step, steps = self.line.get("step", 0), self.spec.config.training.steps
        left = f"{step}/{steps}" if step < steps else "is evaluated"
        cells = [self.spec.name, left, "", "", ""]
        if 0 < step < steps:
            cells[2] = f"{self.line['loss']:.3f}" if self.line.get("loss") is not None else ""
            cells[3] = f"{self.line.get('samples_per_second', 0):,.0f}"
            cells[4] = clock(self.line.get("seconds", 0) * (steps - step) / step)
        return [*cells, "" if self.score is None else f"{self.score:.1f}"]


class Board:
    """What is known of the runs of a command.

    Args:
        plan: The runs, as far as they are known.
        slots: Where they are trained.
    """

    HEAD = ("run", "step", "loss", "pairs/s", "left", "score")

    def __init__(self, plan: Sequence[RunSpec], slots: Slots) -> None:
        self._plan, self._slots = list(plan), slots
        self.rows: dict[str, _Row] = {}
        self._work: dict[str, float] = {}
        self._before, self._began, self._guess = 0.0, 0.0, 0.0

    def row(self, spec: RunSpec) -> _Row:
        """Return the row of a run, made where there is none yet."""
        return self.rows.setdefault(spec.name, _Row(spec))

    def first_line(self, study: str, missing: Sequence[RunSpec], page: str) -> str:
        """Return what will be done and how long it will take; on a CPU a few steps are timed for that."""
        done = len(self._plan) - len(missing)
        places, device = len(self._slots.devices), self._slots.device_type
        complete = f"{study}: {done} of {len(self._plan)} runs are complete"
        if not missing:
            return complete if done else ""
        said = f"{complete}; trains {len(missing)}" if done else f"{study}: trains {len(missing)} runs"
        said += f", {places} at a time on {device}"
        if device == "cpu" and self._slots.are_here:
            first = missing[0]
            pair = cost_of(first.config, Estimator(device, threads=self._slots.threads).seconds(first.config))
            self._guess = (pair.train_seconds or 0.0) / self._work_of(first)
            left = self._guess * sum(map(self._work_of, missing)) / places
            said += f"; {about(left)} of training if the cores are free"
        return f"{said}\n{page} shows the answer so far, from the first finished run on"

    def _work_of(self, spec: RunSpec) -> float:
        """Return what a run takes, in operations; where they cannot be told, in pairs."""
        if spec.name not in self._work:
            cost = cost_of(spec.config)
            self._work[spec.name] = float(cost.flops or cost.samples)
        return self._work[spec.name]

    def seconds_left(self) -> float | None:
        """Return how long all runs will take at the speed so far; None before there is one."""
        done = sum(self._work_of(row.spec) * row.share for row in self.rows.values())
        now = time.monotonic()
        if not self._began or not any(row.line for row in self.rows.values()):
            self._before, self._began = done, now  # what was complete before tells nothing of the speed
        left = max(0.0, sum(map(self._work_of, self._plan)) - done)
        took, since = now - self._began, done - self._before
        if since > 0 and took > BESIDE_EVERY_SECONDS:
            return left * took / since
        return self._guess * left / len(self._slots.devices) if self._guess else None

    def title(self) -> str:
        """Return how far all is, in a line."""
        states = Counter(row.state for row in self.rows.values())
        under_way, left = states.pop("", 0), self.seconds_left()
        waiting = max(0, len(self._plan) - len(self.rows))
        words = [f"{count} {state}" for state, count in states.items()]
        words += [f"{under_way} under way"] * bool(under_way) + [f"{waiting} waiting"] * bool(waiting)
        scored = [row for row in self.rows.values() if row.state and row.score is not None]
        if best := max(scored, key=lambda row: row.score or 0.0, default=None):
            words.append(f"highest {best.score:.1f} ({best.spec.name})")
        words += [f"{about(left)} left"] if left and under_way + waiting else []
        return ", ".join(words)

    def draw(self) -> Iterator[RenderableType]:
        """Yield the table of the runs under way, and a line on all; lines above tell of those that ended."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        if not self.rows:
            return
        table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for number, name in enumerate(self.HEAD):
            table.add_column(name, justify="right" if number else "left", no_wrap=True)
        for row in self.rows.values():
            if not row.state:
                table.add_row(*map(Text, row.cells()))
        yield table
        yield Text(self.title(), style="bold")

    def log(self, spec: RunSpec) -> str:
        """Return a line for a log, once a minute a run; else an empty text."""
        row, now = self.row(spec), time.monotonic()
        if now - row.logged < LOG_EVERY_SECONDS or not row.line:
            return ""
        row.logged = now
        named = zip(self.HEAD[1:], row.cells()[1:], strict=True)
        return f"{spec.name}: " + ", ".join(f"{name} {cell}" for name, cell in named if cell)


class _Beside:
    """Does something now and then, and takes at most `BESIDE_SHARE` of the time for it."""

    def __init__(self, do: Callable[[], None]) -> None:
        self._do, self._last, self._pause = do, time.monotonic(), BESIDE_EVERY_SECONDS

    def __call__(self) -> bool:
        """Do it, if it is time; return whether it was."""
        began = time.monotonic()
        if began - self._last <= self._pause:
            return False
        self._do()
        self._last = time.monotonic()
        self._pause = max(BESIDE_EVERY_SECONDS, (self._last - began) / BESIDE_SHARE)
        return True


@contextmanager
def shown(
    counts: Counts,
    board: Board,
    feed: Callable[[Bars], None],
    report: Callable[[], object] = lambda: None,
) -> Iterator[Watcher]:
    """Give a watcher that shows progress.

    Args:
        counts: Counted up.
        board: Filled.
        feed: Feeds MLflow; called every `BESIDE_EVERY_SECONDS`, less often where that takes long.
        report: Draws the report anew; called likewise, where a run has ended since. What it raises is said.
    """
    with Bars(board.draw) as bars:
        is_new, problems = False, set[str]()

        def ended(spec: RunSpec, state: str, why: str = "") -> None:
            nonlocal is_new
            row = board.row(spec)
            row.state, is_new = state, True
            score = "" if row.score is None else f", {row.score:.1f}"
            bars.say(f"{state}: {spec.name}{score}{f': {why}' if why else ''}")

        def on_done(spec: RunSpec, how: How) -> None:
            setattr(counts, how, getattr(counts, how) + 1)
            ended(spec, how)

        def on_step(spec: RunSpec, line: Mapping[str, Any]) -> None:
            board.row(spec).line = line
            if not bars.is_live and (text := board.log(spec)):
                bars.say(text)

        def draw() -> None:
            try:
                report()
            except Exception as error:  # a report must never end a training
                if str(error) not in problems:
                    problems.add(str(error))
                    bars.say(f"note: there is no report yet: {error}")

        feeding, drawing = _Beside(lambda: feed(bars)), _Beside(draw)

        def on_tick() -> None:
            nonlocal is_new
            if is_new and drawing():
                is_new = False
            feeding()

        yield Watcher(
            on_step=on_step,
            on_score=lambda spec, share: setattr(board.row(spec), "score", 100 * share),
            on_done=on_done,
            on_overhead=counts.overheads.append,
            on_failed=lambda spec, error: ended(spec, "failed", str(error)),
            on_pruned=lambda spec, why: ended(spec, "pruned", why),
            on_note=lambda text: bars.say(f"note: {text}"),
            on_tick=on_tick,
            on_progress=bars,
        )
