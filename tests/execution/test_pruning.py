"""Pruning: what each pruner ends, that a pruned run is no result, and that probes disturb nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_scores import scores_of
from made_up import MadeUpEngine, finish
from test_search import Bench, fields, watched_draws
from tinyworld import TinyWorld

from pgsbench.errors import Interrupted, Pruned
from pgsbench.evaluation.identity import current_fingerprint
from pgsbench.evaluation.suite import part_named, suite_of
from pgsbench.execution.ledger import Ledger
from pgsbench.execution.pruning import Probed, PrunerJudge, judge_of, why_pruned
from pgsbench.execution.run import Stop
from pgsbench.execution.run import run as work_on
from pgsbench.experiment import is_complete, run_once
from pgsbench.records import files
from pgsbench.records.run_records import Measured, PrunedMark
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.scores import GroupMean, Score
from pgsbench.reporting.badges import badges
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames
from pgsbench.reporting.sweep import sweep_table
from pgsbench.study.open import open_study_file
from pgsbench.study.plan import Planner
from pgsbench.tracking.rundir import RunDir
from pgsbench.tracking.states import statuses

DURING = "evaluation.during={tasks: [tiny/colour], every: 0.34}"  # after 2 and 4 of 6 steps
SPACE = "space: {strategy.mask_ratio: [0.25, 0.5, 0.75, 0.875]}, arms: [pgs]"


def searching(pruner: str | None, more: str = "") -> tuple[str, str]:
    return DURING, f"search={{{SPACE}, pruner: {pruner or 'null'}{more}}}"


# ------------------------------------------------------------------------------------------- what is ended


def test_the_median_ends_what_is_below_it_once_enough_are_complete() -> None:
    def is_bad(value: float, others: list[Probed]) -> bool:
        return bool(why_pruned("median", Probed("ours", [value]), others))

    known = [Probed("x", [value], score=1.0) for value in (0.1, 0.2, 0.3, 0.4, 0.5)]
    assert is_bad(0.25, known)
    assert not is_bad(0.35, known)
    assert not is_bad(0.05, known[:3])
    assert not is_bad(0.05, [Probed("x", one.values) for one in known])  # which run still


def test_halving_lets_the_better_half_go_on_at_each_probe() -> None:
    def is_bad(*values: float, others: Sequence[Probed]) -> bool:
        return bool(why_pruned("halving", Probed("ours", values), others))

    known = [Probed("x", values) for values in ([0.1, 0.1], [0.2], [0.3, 0.6], [0.4, 0.5])]
    assert not is_bad(0.35, others=known)
    assert is_bad(0.15, others=known)
    assert is_bad(0.35, 0.2, others=known)
    assert not is_bad(0.35, 0.7, others=known)
    assert not is_bad(0.05, others=[])  # there is nothing to be worse than


def test_the_paired_test_ends_what_is_surely_worse_on_the_same_items() -> None:
    rng = np.random.default_rng(0)
    best = {f"i{k}": float(rng.random() < 0.6) for k in range(400)}
    alike = {item: value if rng.random() < 0.9 else 1 - value for item, value in best.items()}
    worse = {item: value if rng.random() < 0.7 else 0.0 for item, value in best.items()}

    def said(ours: dict[str, float], theirs: dict[str, float], score: float | None = 0.9) -> str:
        rivals = [Probed("x", [0.5], score, lambda _: theirs), Probed("y", [0.9], 0.8, lambda _: {})]
        return why_pruned("wilcoxon", Probed("ours", [0.4], None, lambda _: ours), rivals)

    assert said(worse, best) == "it scores 40.0, worse on its test items than the best so far, x"
    assert not said(best, worse)
    assert not said(best, best)
    assert not said(alike | {"only here": 0.0}, alike)
    assert not said(worse, best, score=None)  # it is not complete, and y has no such items


def write_scores(run: RunDir, number: int, right: int, fingerprint: str = "data") -> Measured:
    """Write what a measurement would: so many right answers of twenty."""
    name = f"{files.MEANWHILE}/{number}"
    folder, values = run.path / name, (np.arange(20) < right).astype(np.float32)
    folder.mkdir(parents=True)
    np.savez(folder / "colour.npz", values=values, items=np.array([f"i{k}" for k in range(20)]))
    mean = right / 20
    score = Score("tiny/colour", "classification", "zero_shot", "acc1", mean, 20, mean, mean, 0.3, True)
    score = replace(score, per_sample="colour.npz")
    groups = {"classification": GroupMean(mean, mean, mean, 1, 0.3)}
    scores = scores_of([score], groups, suite="tiny", suite_fingerprint=fingerprint)
    scores.write(folder)
    tasks, means = ("tiny/colour",), {"classification": mean}
    found = Measured(number, 2 * number, 0, 1.0, 1.0, 0, tasks, name, fingerprint, {}, means)
    run.append_curve(found)
    return found


@pytest.mark.parametrize("pruner", ["halving", "wilcoxon"])
def test_a_run_is_judged_by_what_lies_in_the_directories_of_its_seed(
    tiny: TinyWorld, tmp_path: Path, pruner: str
) -> None:
    study = open_study_file(tiny.study, overrides=["arms={}", "seeds=[0, 1]", *searching(pruner)])
    folder = Ledger.open(Planner(study), tmp_path)
    specs = [spec for r in (0.25, 0.5) for spec in folder.planner.specs(["pgs"], {"strategy.mask_ratio": r})]
    folder.add(specs)
    runs = [RunDir.create(tmp_path, spec) for spec in specs]
    good, _, ours, other_seed = [judge for spec in specs if (judge := judge_of(spec, tmp_path))]
    write_scores(runs[0], 1, right=18)
    finish(folder, specs[0], 0.9)
    bad = write_scores(runs[2], 1, right=5)
    assert "it scores 25.0, " in ours._why(runs[2], bad)
    alone = write_scores(runs[3], 1, right=5)
    assert not other_seed._why(runs[3], alone)
    assert ours.ends(runs[2], bad)
    assert ours.is_pruned
    assert ours.is_over()
    assert "another seed of its point was pruned" in other_seed._why(runs[3], alone)
    assert not good._why(runs[0], write_scores(runs[0], 2, right=1, fingerprint="other data"))
    late = write_scores(runs[1], 2, right=1)  # the first was not asked for then
    assert not good._why(runs[1], late)


def test_arms_that_are_not_searched_are_not_judged(tiny: TinyWorld, tmp_path: Path) -> None:
    study = open_study_file(tiny.study, overrides=searching("median"))
    folder = Ledger.open(Planner(study), tmp_path)
    folder.add(folder.planner.specs(["none"]))
    assert judge_of(folder.runs["none s0"].spec, tmp_path) is None


# ---------------------------------------------------------------------------------------- a real training


@pytest.mark.slow
def test_a_pruned_training_goes_on_without_its_pruner_as_if_nothing_had_been(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(root: Path, pruner: str | None) -> tuple[Ledger, RunSpec]:
        study = open_study_file(tiny.study, overrides=searching(pruner))
        folder = Ledger.open(Planner(study), root)
        (spec,) = folder.planner.specs(["pgs"], {"strategy.mask_ratio": 0.75})
        folder.add([spec])
        cpu = torch.device("cpu")
        run_once(spec, runs_root=root, device=cpu, judge=judge_of(spec, root))
        return folder, spec

    monkeypatch.setattr(PrunerJudge, "_why", lambda self, run, one: "is bad" if one.number == 2 else "")
    with pytest.raises(Pruned):
        trained(tmp_path / "here", "median")
    (run,) = (RunDir(path) for path in (tmp_path / "here/tiny").glob("pgs*"))
    assert not run.is_done
    assert not run.holder
    assert [one.step for one in run.curve()] == [2, 4]
    assert len(list(run.path.glob("meanwhile/*/scores.json"))) == 2
    assert [path.name for path in run.state.iterdir()] == ["step-00000004"]
    saved = next(run.state.glob("*/*.safetensors")).stat().st_mtime_ns
    with pytest.raises(Pruned):  # whoever takes it up although it is ended does not go on with it
        trained(tmp_path / "here", "median")
    assert next(run.state.glob("*/*.safetensors")).stat().st_mtime_ns == saved
    (state,) = statuses(tmp_path / "here/tiny")
    assert (state.state, state.why) == ("pruned", "at 67% of the training is bad")
    for root in ("here", "there"):
        folder, spec = trained(tmp_path / root, None)
        done = folder.directory(spec)
        assert is_complete(done, current_fingerprint(suite_of(spec)))
    weights = [
        next((tmp_path / root).glob("tiny/*/checkpoints/model/*.safetensors")) for root in ("here", "there")
    ]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert [one.state for one in statuses(tmp_path / "here/tiny")] == ["done"]


@pytest.mark.slow
def test_two_processes_of_a_run_are_pruned_together(tiny: TinyWorld, tmp_path: Path) -> None:
    study = open_study_file(tiny.study, overrides=["arms={}", *searching("halving"), "devices_per_run=2"])
    folder = Ledger.open(Planner(study), tmp_path)
    rival, ours = (folder.planner.specs(["pgs"], {"strategy.mask_ratio": r})[0] for r in (0.25, 0.5))
    folder.add([rival, ours])
    named = part_named(suite_of(ours), ["tiny/colour"])
    write_scores(RunDir.create(tmp_path, rival), 1, right=20, fingerprint=current_fingerprint(named))
    with pytest.raises(Interrupted):
        work_on(ours, tmp_path, devices=["cpu", "cpu"], threads=1, stop=Stop())
    run = folder.directory(ours)
    assert run.pruned is not None
    assert run.pruned.step == 2
    assert "not in the better half" in run.pruned.why
    assert [path.name for path in run.state.iterdir()] == ["step-00000002"]


# --------------------------------------------------------------------------------------------- the search


class PruningEngine(MadeUpEngine):
    """Prunes what has a high ratio, in the middle of its training."""

    def work(self, spec: RunSpec) -> None:
        search = self.folder.study.config.search
        if search is None or not search.pruner or fields(spec)["mask_ratio"] <= 0.6:
            return super().work(spec)
        run = RunDir.create(self.folder.runs_root, spec)
        run.append_metrics({"step": 2, "seconds": 1.0})
        run.prune(PrunedMark("tiny", search.pruner, "at 40 % of the training it was bad", 2, 1.0))
        self.trained.append(f"pruned {spec.name}")
        raise Pruned


@pytest.fixture
def bench(tiny: TinyWorld, tmp_path: Path) -> Bench:
    found = Bench(tiny.study, tmp_path / "runs")
    found.engine = PruningEngine
    return found


def test_a_pruned_point_is_neither_failed_nor_complete_nor_worked_on_again(bench: Bench) -> None:
    seeds = "seeds=[0, 1]"
    assert bench.search(*searching("median"), seeds) == []
    assert bench.trained == [
        *(f"pgs mask_ratio={ratio} s{seed}" for ratio in (0.25, 0.5) for seed in (0, 1)),
        "pruned pgs mask_ratio=0.75 s0",  # and its other seed is never begun
        "pruned pgs mask_ratio=0.875 s0",
    ]
    assert bench.search(*searching("median"), seeds) == []
    assert bench.trained == []
    folder = bench.runs_root / "tiny"
    states = [run.state for run in statuses(folder)]
    assert states == ["done"] * 4 + ["pruned"] * 4
    frames = read_frames(folder)
    assert frames.problems == []
    assert frames.pruned_labels == ["pgs mask_ratio=0.75", "pgs mask_ratio=0.875"]
    # Of 6 steps 2 took a second; of each point one seed was trained so far, and one not at all.
    assert frames.saved_seconds == pytest.approx(2 * (4 * 0.5 + 6 * 0.5))


def test_without_its_pruner_a_pruned_point_is_like_any_other(bench: Bench) -> None:
    bench.search(*searching("median"))
    bench.search(*searching("halving"))  # which has ended none of them
    assert bench.trained == ["pruned pgs mask_ratio=0.75 s0", "pruned pgs mask_ratio=0.875 s0"]
    bench.search(*searching(None))
    assert bench.trained == ["pgs mask_ratio=0.75 s0", "pgs mask_ratio=0.875 s0"]
    assert [run.state for run in statuses(bench.runs_root / "tiny")] == ["done"] * 4
    assert bench.search(*searching("median")) == []  # marks of complete runs mean nothing
    assert bench.trained == []
    assert read_frames(bench.runs_root / "tiny").pruned_labels == []


def test_scores_of_a_pruned_point_count_nowhere(bench: Bench) -> None:
    folder = bench.folder(*searching("median"), "seeds=[0, 1]")
    bench.search(*searching(None), "seeds=[0]")
    bench.search(*searching("median"), "seeds=[0, 1]")
    assert read_frames(folder.path).pruned_labels == ["pgs mask_ratio=0.75", "pgs mask_ratio=0.875"]
    results = Results(read_frames(folder.path))
    assert np.isnan(results.objective_value("pgs mask_ratio=0.875"))  # its seed 0 is complete
    assert results.best(results.study.labels) == "pgs mask_ratio=0.5"
    table = sweep_table(results)
    assert table is not None
    assert [row[-3] for row in table.cells()] == ["50.0", "25.0", "pruned", "pruned"]
    said = "".join(badge.sentence for badge in badges(results))
    assert "2 points pruned (median): they count nowhere" in said


def test_a_sampler_knows_what_was_pruned(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = watched_draws(monkeypatch)
    space = "space: {strategy.mask_ratio: {low: 0.1, high: 0.9}}, arms: [pgs], sampler: tpe, trials: 9"
    search = DURING, f"search={{{space}, pruner: median}}"
    bench.search(*search)
    assert len(bench.trained) == 9
    num_pruned = sum(name.startswith("pruned") for name in bench.trained[:-1])
    assert 0 < num_pruned < 8
    assert sum(point.is_pruned for point in asked[-1][1]) == num_pruned
    bench.search(*search)
    assert bench.trained == []
