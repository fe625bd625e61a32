"""What a search asks for and is told, with workers that only write down what a training would have given."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from tinyworld import TinyWorld

from pgsbench.errors import StudyError, UserError
from pgsbench.execution import search as module
from pgsbench.execution.local import StudyFolder, Watcher
from pgsbench.execution.search import Searched, search
from pgsbench.study.open import open_study
from pgsbench.study.plan import PlannedRun
from pgsbench.tracking.rundir import RunDir

Value = Callable[[PlannedRun], float]


def fields(run: PlannedRun) -> dict[str, float]:
    return run.config.strategy.fields


class Bench:
    """Searches the tiny study in one folder and writes down what was trained, reused and said."""

    def __init__(self, study: Path, runs_root: Path, patch: pytest.MonkeyPatch) -> None:
        self.study, self.runs_root, self.patch = study, runs_root, patch
        self.trained: list[str] = []
        self.reused: list[str] = []
        self.notes: list[str] = []

    def search(
        self, *overrides: str, value: Value = lambda run: fields(run)["mask_ratio"], trials: int | None = None
    ) -> Searched:
        self.trained, self.reused, self.notes = [], [], []
        folder = StudyFolder.open(
            open_study(self.study, overrides=["arms={}", *overrides]), self.runs_root, ""
        )
        self.patch.setattr(module, "open_workers", lambda *_, **__: Workers(self, folder, value))
        watcher = Watcher(
            on_done=lambda run, existed: self.reused.append(run.place.name) if existed else None,
            on_note=self.notes.append,
        )
        return search(folder, [], watcher=watcher, trials=trials)


class Workers:
    """Stands for the pool of processes: two slots, and a run is over when it is submitted."""

    slots = SimpleNamespace(devices=("cpu", "cpu"))

    def __init__(self, bench: Bench, folder: StudyFolder, value: Value) -> None:
        self.bench, self.folder, self.value = bench, folder, value

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, run: PlannedRun) -> Future[str]:
        future = Future[str]()
        place = run.place
        try:
            score = self.value(run)
            identity = {"study": "tiny", "arm": place.arm, "seed": place.seed, "id": run.run_id}
            directory = RunDir.create(self.folder.runs_root, {**identity, "config": run.config.model_dump()})
            groups = {"classification": {"value": score}}
            scores = {"suite_fingerprint": self.folder.suite_fingerprint, "groups": groups, "scores": []}
            directory.write("scores.json", scores)
            directory.mark_done()
            self.bench.trained.append(place.name)
            future.set_result(directory.path.relative_to(self.folder.runs_root).as_posix())
        except UserError as error:
            future.set_exception(error)
        return future


@pytest.fixture
def bench(tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.delenv("OPTUNA_STORAGE", raising=False)
    return Bench(tiny.study, tmp_path / "runs", monkeypatch)


def grid(
    space: str = "{strategy.mask_ratio: [0.25, 0.5, 0.75], strategy.tau: [0.1, 1.0]}", more: str = ""
) -> str:
    return f"search={{space: {space}, arms: [pgs]{more}}}"


def tpe(trials: int, space: str = "{strategy.tau: {low: 0.05, high: 1.0, log: true}}") -> str:
    return f"search={{sampler: tpe, trials: {trials}, space: {space}, arms: [pgs]}}"


def failing(name: str) -> Value:
    def value(run: PlannedRun) -> float:
        if run.place.name == name:
            raise StudyError("out of memory")
        return 0.5

    return value


def test_importances_are_those_of_this_base_alone(bench: Bench) -> None:
    assert bench.search(grid(), value=lambda run: fields(run)["mask_ratio"]).importances["strategy.tau"] < 0.1
    found = bench.search(grid(), "training.samples=64", value=lambda run: fields(run)["tau"])
    assert found.importances["strategy.tau"] > 0.9
    assert len(bench.trained) == 6
    again = bench.search(grid())  # and back: the first base's runs and what they gave are still known
    assert again.importances["strategy.tau"] < 0.1
    assert not bench.trained


def test_an_arm_that_joins_the_search_is_searched(bench: Bench) -> None:
    bench.search(grid("{strategy.mask_ratio: [0.25, 0.75]}"))
    for arms in ("[pgs, flip]", "[pgs, flip, block]"):
        strategies = "arms={flip: {strategy: flip}, block: {strategy: block}}"
        bench.search(f"search={{space: {{strategy.mask_ratio: [0.25, 0.75]}}, arms: {arms}}}", strategies)
        last = arms.strip("[]").split(", ")[-1]
        assert bench.trained == [f"{last} mask_ratio=0.25 s0", f"{last} mask_ratio=0.75 s0"]


def test_a_cell_that_failed_is_trained_by_the_next_command(bench: Bench) -> None:
    name = "pgs mask_ratio=0.5 tau=0.1 s0"
    found = bench.search(grid(), value=failing(name))
    assert [(run.place.name, str(error)) for run, error in found.failed] == [(name, "out of memory")]
    assert len(bench.trained) == 5
    assert not bench.search(grid()).failed
    assert (bench.trained, len(bench.reused)) == ([name], 5)


def test_a_deleted_run_that_fails_once_is_not_forgotten(bench: Bench) -> None:
    name = "pgs mask_ratio=0.5 tau=0.1 s0"
    bench.search(grid())
    manifest = StudyFolder.open(
        open_study(bench.study, overrides=["arms={}", grid()]), bench.runs_root, ""
    ).runs
    shutil.rmtree(bench.runs_root / manifest[name].run)
    assert bench.search(grid(), value=failing(name)).failed
    bench.search(grid())
    assert bench.trained == [name]


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


def test_a_step_of_real_numbers_gives_the_same_runs_under_both_samplers(bench: Bench) -> None:
    space = "{strategy.mask_ratio: {low: 0.1, high: 0.5, step: 0.1}}"
    bench.search(grid(space))
    bench.search(tpe(5, space))
    assert bench.trained == []
    assert len(bench.reused) == 5


def test_a_space_that_has_no_more_points_ends_the_search(bench: Bench) -> None:
    bench.search(tpe(9, "{strategy.mask_ratio: [0.25, 0.5]}"))
    assert sorted(bench.trained) == ["pgs mask_ratio=0.25 s0", "pgs mask_ratio=0.5 s0"]
    assert "no new point in 50 draws" in bench.notes[0]


def test_values_that_are_not_valid_together_are_drawn_anew(bench: Bench) -> None:
    ratio = "{low: 0.3, high: 0.9}"  # max_ratio is refused below mask_ratio
    bench.search(tpe(6, f"{{strategy.mask_ratio: {ratio}, strategy.max_ratio: {ratio}}}"))
    assert len(bench.trained) == 6
    (name,) = optuna.get_all_study_names(f"sqlite:///{bench.runs_root}/tiny/optuna.db")
    trials = optuna.load_study(storage=f"sqlite:///{bench.runs_root}/tiny/optuna.db", study_name=name).trials
    assert any("max_ratio" in trial.user_attrs.get("error", "") for trial in trials)


def test_what_was_cut_off_is_worked_on_again(bench: Bench) -> None:
    def cut(run: PlannedRun) -> float:
        if len(bench.trained) == 2:
            raise KeyboardInterrupt
        return 0.5

    with pytest.raises(KeyboardInterrupt):
        bench.search(tpe(4), value=cut)
    first = list(bench.trained)
    bench.search(tpe(4))
    assert set(bench.reused) == set(first)
    assert len(bench.trained) == 2


def test_arms_that_share_a_run_train_it_once(bench: Bench) -> None:
    space = "{space: {strategy.mask_ratio: [0.25, 0.75]}, arms: [pgs, twin]}"
    bench.search(f"search={space}", "arms={twin: {strategy: {name: pgs}}}")
    assert len(bench.trained) == 2
    storage = f"sqlite:///{bench.runs_root}/tiny/optuna.db"
    (name,) = optuna.get_all_study_names(storage)
    assert sorted(optuna.load_study(storage=storage, study_name=name).trials_dataframe()["value"]) == [
        0.25,
        0.25,
        0.75,
        0.75,
    ]


def test_a_storage_that_cannot_be_opened_is_explained(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTUNA_STORAGE", "sqlite:////nowhere/at/all.db")
    with pytest.raises(StudyError, match="cannot be opened") as raised:
        bench.search(grid())
    assert raised.value.where == "OPTUNA_STORAGE"
