"""Progress of long work: bars on a terminal and in a notebook, now and then a line in a log file."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import TaskID

LOG_EVERY_SECONDS = 15.0


class Bars:
    """Shows several tasks at once; use it in a `with` block.

    On a terminal and in a notebook each task is a bar that goes when the block ends. Elsewhere a task prints
    a line when it begins, every quarter of a minute while it moves, and when it is complete.
    """

    def __init__(self) -> None:
        self._is_live = sys.stderr.isatty() or "IPython" in sys.modules
        self._logged: dict[str, tuple[float, int]] = {}  # when a task was last printed, and at what
        self._shown: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        if self._is_live:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            console = Console(stderr=True)
            self._is_live = console.is_terminal or console.is_jupyter
            self._bars = Progress(*columns, console=console, transient=True)
        if self._is_live:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_live:
            self._bars.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say that `done` of `total` parts of a task are done."""
        if self._is_live:
            self._show(what, done, total)
        else:
            self._log(what, done, total)

    def say(self, text: str) -> None:
        """Print a line that stays, above the bars."""
        if self._is_live:
            self._bars.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def finish(self, what: str) -> None:
        """Forget a task; its bar goes."""
        if what in self._shown:
            self._bars.remove_task(self._shown.pop(what))
        self._logged.pop(what, None)

    def _show(self, what: str, done: int, total: int) -> None:
        if what not in self._shown:
            self._shown[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._shown[what], completed=done, total=total)
        if done >= total:
            self.finish(what)

    def _log(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        last, shown = self._logged.get(what, (0.0, -1))
        is_due = now - last >= LOG_EVERY_SECONDS and done > shown
        if shown < 0 or is_due or (done >= total and shown < total):
            self._logged[what] = (now, done)
            print(f"{what}: {done}/{total}", file=sys.stderr, flush=True)
