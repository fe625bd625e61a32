"""What a person sees of work under way: a bar a run, a line for each that ends; MLflow is fed beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

from pgsbench.execution.driver import How, Watcher
from pgsbench.progress import Bars
from pgsbench.records.run_spec import RunSpec

MIRROR_EVERY_SECONDS = 20.0
#: Share of a command's time that feeding takes at most: thousands of runs take a mirror half a minute.
MIRROR_SHARE = 0.1


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


@contextmanager
def shown(counts: Counts, feed: Callable[[Bars], None]) -> Iterator[Watcher]:
    """Give a watcher that shows progress.

    Args:
        counts: Counted up.
        feed: Called every `MIRROR_EVERY_SECONDS` to feed MLflow, less often where that takes long.
    """
    fed, pause = time.monotonic(), MIRROR_EVERY_SECONDS
    with Bars() as bars:

        def on_done(spec: RunSpec, how: How) -> None:
            setattr(counts, how, getattr(counts, how) + 1)
            bars.finish(spec.name)
            bars.say(f"{how}: {spec.name}")

        def on_failed(spec: RunSpec, error: Exception) -> None:
            bars.finish(spec.name)
            bars.say(f"failed: {spec.name}: {error}")

        def on_pruned(spec: RunSpec, why: str) -> None:
            bars.finish(spec.name)
            bars.say(f"pruned: {spec.name}: {why}")

        def on_tick() -> None:
            nonlocal fed, pause
            began = time.monotonic()
            if began - fed > pause:
                feed(bars)
                fed = time.monotonic()
                pause = max(MIRROR_EVERY_SECONDS, (fed - began) / MIRROR_SHARE)

        yield Watcher(
            on_step=lambda spec, done, total: bars(spec.name, done, total),
            on_done=on_done,
            on_overhead=counts.overheads.append,
            on_failed=on_failed,
            on_pruned=on_pruned,
            on_note=lambda text: bars.say(f"note: {text}"),
            on_tick=on_tick,
            on_progress=bars,
        )
