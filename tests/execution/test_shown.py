"""What a person sees of work under way, and that what is done beside it takes little of its time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from made_study import fake_line, spec_of

from pgsbench.execution import shown as shown_module
from pgsbench.execution.driver import Watcher
from pgsbench.execution.engine import Slots
from pgsbench.execution.estimate import cost_of
from pgsbench.execution.shown import Board, Counts, shown
from pgsbench.study.budget import PairSeconds

RUNS = [spec_of(arm, seed) for arm in ("flip", "pgs") for seed in (0, 1)]


class Clock:
    """A clock that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(shown_module, "time", SimpleNamespace(monotonic=lambda: self.now))

    def tick(self, watcher: Watcher, seconds: int) -> None:
        """Let time pass, a second a look."""
        for _ in range(seconds):
            self.now += 1
            watcher.on_tick()


def board() -> Board:
    return Board(RUNS, Slots(("cpu", "cpu"), 1))


@pytest.mark.parametrize(("takes", "times"), [(1, 27), (30, 2)])
def test_mlflow_is_fed_less_often_where_that_takes_long(
    monkeypatch: pytest.MonkeyPatch, takes: int, times: int
) -> None:
    """A study of thousands of runs takes a mirror half a minute, which comes from the command's own time."""
    clock, fed = Clock(monkeypatch), 0

    def feed(_: object) -> None:
        nonlocal fed
        clock.now, fed = clock.now + takes, fed + 1

    with shown(Counts(), board(), feed) as watcher:
        while clock.now < 700:
            clock.tick(watcher, 1)
    assert fed == times


def test_the_report_is_drawn_after_runs_end_and_never_ends_a_study(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock, drawn = Clock(monkeypatch), list[float]()

    def report() -> None:
        drawn.append(clock.now)
        clock.now += 6  # of which 10 % are a minute
        raise ValueError("no scores")

    with shown(Counts(), board(), lambda _: None, report) as watcher:
        clock.tick(watcher, 50)
        assert not drawn  # nothing has ended
        watcher.on_done(RUNS[0], "trained")
        clock.tick(watcher, 2)
        assert len(drawn) == 1
        watcher.on_done(RUNS[1], "trained")
        clock.tick(watcher, 59)
        assert len(drawn) == 1
        clock.tick(watcher, 300)
        assert len(drawn) == 2
    assert capsys.readouterr().err.count("no report yet: no scores") == 1


def test_a_log_has_a_line_a_run_and_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock, counts = Clock(monkeypatch), Counts()
    with shown(counts, board(), lambda _: None) as watcher:
        for second in range(121):
            clock.now = 100.0 + second
            watcher.on_step(RUNS[0], fake_line(1 + second, loss=2.0) if second else {})
        watcher.on_score(RUNS[0], 0.625)
        watcher.on_done(RUNS[0], "trained")
        watcher.on_failed(RUNS[1], ValueError("no such shard"))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "flip s0: step 2/390, loss 2.000, pairs/s 457, left 0:01:18",
        "flip s0: step 62/390, loss 2.000, pairs/s 457, left 0:01:06",
        "trained: flip s0, 62.5",
        "failed: flip s1: no such shard",
    ]
    assert counts.words == "1 trained, 0 reused"


def test_a_terminal_shows_a_row_a_run_and_how_far_all_is(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, found = Clock(monkeypatch), board()
    assert list(found.draw()) == []
    first, second, third, _ = (found.row(spec) for spec in RUNS[:3] + RUNS[:1])
    second.line = fake_line(1)
    found.title()  # the clock of the speed starts with the first steps
    first.state, first.score = "trained", 62.5
    second.line, third.line = fake_line(195), fake_line(390)
    clock.now += 60
    # A run and a half and, all but a step, another one took a minute; as much and more is left.
    assert found.seconds_left() == pytest.approx(60 * (4 - 2.5) / (2.5 - 1 / 390), rel=0.05)
    said = "1 trained, 2 under way, 1 waiting, highest 62.5 (flip s0), less than a minute left"
    assert found.title() == said
    table: Any = next(iter(found.draw()))
    columns = [[str(cell) for cell in column.cells] for column in table.columns]
    assert columns[:2] == [["flip s1", "pgs s0"], ["195/390", "is evaluated"]]  # a line told of the other
    assert columns[3:5] == [["457", ""], ["0:00:39", ""]]


def test_the_first_line_says_how_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = PairSeconds(0.01, 0.01)
    monkeypatch.setattr(shown_module.Estimator, "seconds", lambda *_: timed)
    minutes = 2 * (cost_of(RUNS[0].config, timed).train_seconds or 0) / 2 / 60
    said, page = board().first_line("mine", RUNS[:2], "report.html").splitlines()
    assert said == (
        f"mine: 2 of 4 runs are complete; trains 2, 2 at a time on cpu; about {round(minutes)} minutes of "
        "training if the cores are free"
    )
    assert page.startswith("report.html shows the answer so far")
    assert board().first_line("mine", [], "report.html") == "mine: 4 of 4 runs are complete"
    gpus = Board(RUNS, Slots(("cuda:0",), 1))
    assert gpus.first_line("mine", RUNS, "x").startswith("mine: trains 4 runs, 1 at a time on cuda\n")
