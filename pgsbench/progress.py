"""Progress of long work: bars on a terminal and in a notebook, now and then a line in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress, TaskID

LOG_EVERY_SECONDS = 60.0


class Bars:
    """Shows several tasks at once; use it in a `with` block.

    On a terminal and in a notebook each task is a bar that goes when the block ends. Elsewhere a task prints
    a line when it begins, every minute while it moves, and when it is complete.

    Args:
        above: Returns what is drawn above the bars, where there are any.
    """

    def __init__(self, above: Callable[[], Iterable[RenderableType]] = list) -> None:
        self.is_live = sys.stderr.isatty() or "IPython" in sys.modules
        self._above = above
        self._logged: dict[str, tuple[float, int]] = {}  # when a task was last printed, and at what
        self._shown: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        if self.is_live:
            from rich.console import Console

            console = Console(stderr=True)
            self.is_live = console.is_terminal or console.is_jupyter
            self._bars = _progress(console, self._above)
        if self.is_live:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_live:
            self._bars.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say that `done` of `total` parts of a task are done."""
        if self.is_live:
            self._show(what, done, total)
        else:
            self._log(what, done, total)

    def say(self, text: str) -> None:
        """Print a line that stays, above the bars."""
        if self.is_live:
            self._bars.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def _show(self, what: str, done: int, total: int) -> None:
        if what not in self._shown:
            self._shown[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._shown[what], completed=done, total=total)
        if done >= total:
            self._bars.remove_task(self._shown.pop(what))

    def _log(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        last, shown = self._logged.get(what, (0.0, -1))
        is_due = now - last >= LOG_EVERY_SECONDS and done > shown
        if shown < 0 or is_due or (done >= total and shown < total):
            self._logged[what] = (now, done)
            print(f"{what}: {done}/{total}", file=sys.stderr, flush=True)


def _progress(console: Console, above: Callable[[], Iterable[RenderableType]]) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    class Shown(Progress):
        def get_renderables(self) -> Any:
            yield from above()
            yield from super().get_renderables()

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Shown(*columns, console=console, transient=True, refresh_per_second=4)


def clock(seconds: float) -> str:
    """Return a time as hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def about(seconds: float) -> str:
    """Return a time in words, as exact as anybody can know it."""
    if seconds < 60:
        return "less than a minute"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"about {minutes} minute{'s' if minutes > 1 else ''}"
    return f"about {seconds / 3600:.1f} hours"
