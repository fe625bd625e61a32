"""What happens between two batches of a task: progress is told, and a wish to stop is heard."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pgsbench.data.store import Progress
from pgsbench.errors import Interrupted
from pgsbench.evaluation.suite import Task

#: Progress within a task is told once it has taken this long; most tasks are over by then.
QUIET_SECONDS = 1.0


class TaskWatch:
    """Called between batches with what is encoded and how much of it is done.

    Args:
        task: The task.
        folder: Its data, which is counted where neither the encoder nor the task knows the total.
        progress: Told ``"TASK: pictures"`` or ``"TASK: texts"``, how many are done, and of how many.
        should_stop: Asked each time.
    """

    def __init__(
        self, task: Task, folder: Path, progress: Progress | None, should_stop: Callable[[], bool]
    ) -> None:
        self._task, self._folder = task, folder
        self._progress, self._should_stop = progress, should_stop
        self._total = task.size
        self._began = time.monotonic()

    def __call__(self, kind: str, done: int, total: int | None) -> None:
        """Tell the progress.

        Args:
            kind: ``"pictures"`` or ``"texts"``.
            done: How many of this call to the encoder are done.
            total: How many there are; None: the encoder does not know.

        Raises:
            Interrupted: `should_stop` said so.
        """
        if self._should_stop():
            raise Interrupted
        if self._progress is None or time.monotonic() - self._began < QUIET_SECONDS:
            return
        if total is None and self._total is None:
            count = getattr(self._task.protocol, "count_items", None)
            self._total = count(self._folder) if count else 0
        known = (self._total or 0) if total is None else total
        self._progress(f"{self._task.name}: {kind}", done, max(known, done))
