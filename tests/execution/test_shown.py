"""What is done beside work under way takes little of its time."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pgsbench.execution import shown as shown_module
from pgsbench.execution.shown import Counts, shown


@pytest.mark.parametrize(("takes", "times"), [(1, 27), (30, 2)])
def test_mlflow_is_fed_less_often_where_that_takes_long(
    monkeypatch: pytest.MonkeyPatch, takes: int, times: int
) -> None:
    """A study of thousands of runs takes a mirror half a minute, which comes from the command's own time."""
    now, fed = 0.0, 0
    monkeypatch.setattr(shown_module, "time", SimpleNamespace(monotonic=lambda: now))

    def feed(_: object) -> None:
        nonlocal now, fed
        now, fed = now + takes, fed + 1

    with shown(Counts(), feed) as watcher:
        while now < 600:
            now += 1
            watcher.on_tick()
    assert fed == times
