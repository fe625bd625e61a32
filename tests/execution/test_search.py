"""What a search asks for and is told, with an engine that writes down what a training would have given."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_up import MadeUpEngine, ratio_of
from tinyworld import TinyWorld

from pgsbench.errors import StudyError
from pgsbench.execution.adviser import Adviser, KnownPoint
from pgsbench.execution.driver import Watcher
from pgsbench.execution.ledger import Ledger
from pgsbench.execution.search import search
from pgsbench.records.run_spec import RunSpec
from pgsbench.study.open import open_study_file
from pgsbench.study.plan import Planner

Value = Callable[[RunSpec], float]


def fields(spec: RunSpec) -> dict[str, Any]:
    return spec.config.strategy.fields


class Bench:
    """Searches the tiny study in one folder and writes down what was trained, reused and said."""

    engine: Callable[..., MadeUpEngine] = MadeUpEngine

    def __init__(self, study: Path, runs_root: Path) -> None:
        self.study, self.runs_root = study, runs_root
        self.trained: list[str] = []
        self.reused: list[str] = []
        self.notes: list[str] = []
        self.importances: dict[str, float] = {}

    def folder(self, *overrides: str, trials: int | None = None) -> Ledger:
        study = open_study_file(self.study, overrides=["arms={}", *overrides]).with_trials(trials)
        return Ledger.open(Planner(study), self.runs_root)

    def search(
        self, *overrides: str, value: Value = ratio_of, trials: int | None = None
    ) -> list[tuple[RunSpec, Exception]]:
        """Search, and return the runs that failed."""
        self.reused, self.notes = [], []
        folder = self.folder(*overrides, trials=trials)
        engine = self.engine(folder, value)
        self.trained = engine.trained
        watcher = Watcher(
            on_done=lambda spec, how: self.reused.append(spec.name) if how == "reused" else None,
            on_note=self.notes.append,
        )
        failed = search(folder, [], engine, watcher)
        self.importances = folder.importances.shares if folder.importances else {}
        return failed


@pytest.fixture
def bench(tiny: TinyWorld, tmp_path: Path) -> Bench:
    return Bench(tiny.study, tmp_path / "runs")


def watched_draws(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Adviser, list[KnownPoint]]]:
    """Return a list that grows by who is asked for each point, and what is known then."""
    asked: list[tuple[Adviser, list[KnownPoint]]] = []
    draw = Adviser.draw

    def watched(adviser: Adviser, known: list[KnownPoint], accept: Callable[[dict[str, Any]], bool]) -> bool:
        asked.append((adviser, list(known)))
        return draw(adviser, known, accept)

    monkeypatch.setattr(Adviser, "draw", watched)
    return asked


def grid(
    space: str = "{strategy.mask_ratio: [0.25, 0.5, 0.75], strategy.tau: [0.1, 1.0]}", more: str = ""
) -> str:
    return f"search={{space: {space}, arms: [pgs]{more}}}"


def tpe(trials: int, space: str = "{strategy.tau: {low: 0.05, high: 1.0, log: true}}") -> str:
    return f"search={{sampler: tpe, trials: {trials}, space: {space}, arms: [pgs]}}"


def failing(name: str) -> Value:
    def value(spec: RunSpec) -> float:
        if spec.name == name:
            raise StudyError("out of memory")
        return 0.5

    return value


def test_importances_are_those_of_this_base_alone(bench: Bench) -> None:
    search = tpe(12, "{strategy.tau: {low: 0.05, high: 1.0}, strategy.mask_ratio: {low: 0.1, high: 0.9}}")
    bench.search(search, value=lambda spec: fields(spec)["mask_ratio"])
    assert bench.importances["strategy.tau"] < 0.3
    bench.search(search, "training.samples=64", value=lambda spec: fields(spec)["tau"])
    assert bench.importances["strategy.tau"] > 0.7
    bench.search(search)  # and back: the first base's runs and what they gave are still known
    assert bench.importances["strategy.tau"] < 0.3


def test_a_grid_leaves_its_effects_to_the_report(bench: Bench) -> None:
    bench.search(tpe(12), value=lambda spec: fields(spec)["tau"])
    assert bench.importances
    bench.search(grid())
    assert bench.importances == {}


def test_an_arm_that_joins_the_search_is_searched(bench: Bench) -> None:
    bench.search(grid("{strategy.mask_ratio: [0.25, 0.75]}"))
    for arms in ("[pgs, flip]", "[pgs, flip, block]"):
        strategies = "arms={flip: {strategy: flip}, block: {strategy: block}}"
        bench.search(f"search={{space: {{strategy.mask_ratio: [0.25, 0.75]}}, arms: {arms}}}", strategies)
        last = arms.strip("[]").split(", ")[-1]
        assert bench.trained == [f"{last} mask_ratio=0.25 s0", f"{last} mask_ratio=0.75 s0"]


def test_a_point_that_failed_is_trained_by_the_next_command(bench: Bench) -> None:
    name = "pgs mask_ratio=0.5 tau=0.1 s0"
    failed = bench.search(grid(), value=failing(name))
    assert [(spec.name, str(error)) for spec, error in failed] == [(name, "out of memory")]
    assert len(bench.trained) == 5
    assert not bench.search(grid())
    assert (bench.trained, len(bench.reused)) == ([name], 5)


def test_a_deleted_run_that_fails_once_is_not_forgotten(bench: Bench) -> None:
    name = "pgs mask_ratio=0.5 tau=0.1 s0"
    bench.search(grid())
    shutil.rmtree(bench.runs_root / bench.folder(grid()).runs[name].directory)
    assert bench.search(grid(), value=failing(name))
    bench.search(grid())
    assert bench.trained == [name]


def test_trials_are_named_by_values_that_give_the_same_run_again(bench: Bench) -> None:
    bench.search(tpe(2))
    found = [run.spec for run in bench.folder(tpe(2)).runs.values()]
    assert len(found) == 2
    for spec in found:
        tau = spec.label.rpartition("=")[2]
        assert len(tau) <= len("0.12345")
        (typed,) = Planner(open_study_file(bench.study, overrides=[f"strategy.tau={tau}"])).specs(["pgs"])
        assert typed.id == spec.id


def test_more_seeds_are_trained_at_the_same_points(bench: Bench) -> None:
    bench.search(tpe(4))
    points = [name.removesuffix(" s0") for name in bench.trained]
    assert len(set(points)) == 4
    bench.search(tpe(4), "seeds=[0, 1]")
    assert bench.trained == [f"{point} s1" for point in points]


def test_more_trials_go_on_from_those_that_are_there(bench: Bench) -> None:
    bench.search(tpe(3))
    first = bench.trained
    bench.search(tpe(3), trials=5)
    assert bench.reused == first
    assert len(bench.trained) == 2
    assert not set(bench.trained) & set(first)
    bench.search(tpe(3), trials=5)
    assert not bench.trained


def test_a_wider_space_keeps_the_points_that_lie_in_it(bench: Bench) -> None:
    bench.search(grid("{strategy.mask_ratio: [0.25, 0.5]}"))
    bench.search(grid("{strategy.mask_ratio: {low: 0.25, high: 0.75, step: 0.25}}"))
    assert bench.trained == ["pgs mask_ratio=0.75 s0"]
    bench.search(
        tpe(5, "{strategy.mask_ratio: {low: 0.4, high: 0.9}}")
    )  # from a grid to TPE: 0.25 is outside
    assert bench.reused == ["pgs mask_ratio=0.5 s0", "pgs mask_ratio=0.75 s0"]
    assert len(bench.trained) == 3


def test_a_space_that_has_no_more_points_ends_the_search(bench: Bench) -> None:
    bench.search(tpe(9, "{strategy.mask_ratio: [0.25, 0.5]}"))
    assert sorted(bench.trained) == ["pgs mask_ratio=0.25 s0", "pgs mask_ratio=0.5 s0"]
    assert "50 draws in a row gave no new point" in bench.notes[0]


def test_values_that_are_not_valid_together_are_drawn_anew(bench: Bench) -> None:
    ratio = "{low: 0.3, high: 0.9}"  # max_ratio is refused below mask_ratio
    bench.search(tpe(6, f"{{strategy.mask_ratio: {ratio}, strategy.max_ratio: {ratio}}}"))
    assert len(bench.trained) == 6
    assert any("max_ratio" in note for note in bench.notes)


def test_arms_that_share_a_run_train_it_once(bench: Bench) -> None:
    space = "{space: {strategy.mask_ratio: [0.25, 0.75]}, arms: [pgs, twin]}"
    bench.search(f"search={space}", "arms={twin: {strategy: {name: pgs}}}")
    assert len(bench.trained) == 2


def test_a_search_begins_with_the_base_and_the_points_that_come_first(bench: Bench) -> None:
    first = "first: [{strategy.tau: 0.7}, {strategy.tau: 5}]"  # the last one lies outside
    space = "{strategy.tau: {low: 0.05, high: 1.0}}"
    bench.search(f"search={{sampler: random, trials: 3, space: {space}, arms: [pgs], {first}}}")
    assert bench.trained[:2] == ["pgs tau=0.2 s0", "pgs tau=0.7 s0"]
    assert len(bench.trained) == 3


def test_a_path_is_searched_only_where_its_condition_holds(bench: Bench) -> None:
    space = "{strategy.name: [flip, pgs], strategy.tau: {choices: [0.1, 0.5], when: {strategy.name: [pgs]}}}"
    bench.search(f"search={{space: {space}, arms: [pgs]}}", value=lambda spec: 0.5)
    assert bench.trained == [
        "pgs strategy=flip s0",
        "pgs strategy=pgs tau=0.1 s0",
        "pgs strategy=pgs tau=0.5 s0",
    ]
    bench.search(f"search={{sampler: random, trials: 3, space: {space}, arms: [pgs]}}")
    assert not bench.trained  # the same points, and they are known


def test_two_objectives_are_told_with_their_directions_and_a_limit_as_a_constraint(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = watched_draws(monkeypatch)
    search = "metric: [mean, -train_seconds], at_most: {train_seconds: 0.5}, sampler: tpe, trials: 3"
    bench.search(f"search={{{search}, space: {{strategy.tau: {{low: 0.05, high: 1.0}}}}, arms: [pgs]}}")
    adviser, known = asked[-1]
    assert adviser.directions == ["maximize", "minimize"]
    assert [(list(point.values), point.excess) for point in known] == [
        ([0.5, 1.0], {"train_seconds": 0.5})
    ] * 2
