"""A budget of tokens, operations or seconds becomes pairs, arm by arm, before a run has its identity."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from study_records import write_study_record
from tinyworld import TinyWorld

from pgsbench.config.schema import RunConfig, TrainingConfig, UnmaskedTuning
from pgsbench.errors import ConfigError, StudyError, UserError
from pgsbench.execution.estimate import Estimator
from pgsbench.execution.join import joined_file
from pgsbench.execution.kept_times import KeptTimes, Timed
from pgsbench.execution.slots import Slots
from pgsbench.models.pair_cost import pair_costs
from pgsbench.records.json_files import read_record
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.study_record import StudyRecord
from pgsbench.session.planning import plan
from pgsbench.session.study import open_study
from pgsbench.session.workers import on_cluster
from pgsbench.study.budget import PairSeconds
from pgsbench.study.open import open_study_file
from pgsbench.study.plan import Planner
from pgsbench.training.optim import first_unmasked_step

ARMS = "{none: {strategy: none}, flip: {strategy: flip}, views: {strategy: {name: flip, views: 2}}}"


def specs(tiny: TinyWorld, tmp_path: Path, budget: str, *, training: str = "batch_size: 4") -> list[RunSpec]:
    path = tmp_path / "study.yaml"
    path.write_text(
        f"data: {{train: {tiny.shards}}}\nmodel: tiny-vit\nstrategy: {{name: pgs, mask_ratio: 0.5}}\n"
        f"training: {{{training}}}\nbudget: {budget}\narms: {ARMS}\n"
    )
    study = open_study_file(path)
    return Planner(study).specs(study.config.arm_names)


def spent(spec: RunSpec, steps: int) -> float:
    """What so many steps cost, added up step by step."""
    budget, training = spec.config.budget, spec.config.training
    assert budget is not None
    masked, whole = pair_costs(spec.config.model, spec.config.strategy, spec.config.text)
    tuned = int(steps * training.unmasked_tuning.share)
    total = 0.0
    for step in range(steps):
        pair = whole if step >= steps - tuned else masked
        price = pair.flops if budget.equal == "flops" else pair.patch_tokens + pair.text_tokens
        assert price is not None
        total += training.batch_size * price
    return total


@pytest.mark.parametrize("budget", ["{equal: flops, amount: 1.0e+10}", "{equal: tokens, amount: 20_000}"])
@pytest.mark.parametrize("share", [0, 0.15, 0.34])
def test_every_arm_gets_the_steps_that_the_budget_pays_for(
    tiny: TinyWorld, tmp_path: Path, budget: str, share: float
) -> None:
    training = f"batch_size: 4, unmasked_tuning: {{share: {share}}}"
    for spec in specs(tiny, tmp_path, budget, training=training):
        assert spec.config.budget is not None
        amount, steps = spec.config.budget.amount, spec.config.training.steps
        assert spent(spec, steps) <= amount < spent(spec, steps + 1), spec.arm


def test_a_budget_of_samples_is_as_many_pairs_for_every_arm(tiny: TinyWorld, tmp_path: Path) -> None:
    found = specs(tiny, tmp_path, "{equal: samples, amount: 99}")
    assert {spec.config.training.samples for spec in found} == {96}  # whole steps of four


def in_seconds(tiny: TinyWorld, tmp_path: Path) -> Path:
    path = tmp_path / "timed.yaml"
    path.write_text(
        f"data: {{train: {tiny.shards}}}\nmodel: tiny-vit\nstrategy: {{name: pgs, mask_ratio: 0.5}}\n"
        f"training: {{batch_size: 4}}\nbudget: {{equal: seconds, amount: 8}}\narms: {ARMS}\n"
        f"evaluation: {{suite: '{tiny.suite}'}}\n"
    )
    return path


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was timed; each time it takes longer than the time before."""
    found: list[str] = []

    def seconds(_: Estimator, config: RunConfig) -> PairSeconds:
        found.append(config.strategy.name)
        return PairSeconds(masked=0.01 * len(found), whole=0.02 * len(found))

    monkeypatch.setattr(Estimator, "seconds", seconds)
    return found


def test_seconds_are_timed_once_for_a_study(tiny: TinyWorld, tmp_path: Path, timed: list[str]) -> None:
    first = open_study(in_seconds(tiny, tmp_path), output=tmp_path, device="cpu").plan()
    assert timed == ["pgs", "none", "flip", "flip"]
    for number, spec in enumerate(first, start=1):
        training = spec.config.training
        masked = first_unmasked_step(training)
        spent = 4 * 0.01 * number * (masked + 2 * (training.steps - masked))
        assert spent <= 8 < spent + 4 * 0.02 * number, spec.arm
    again = open_study(in_seconds(tiny, tmp_path), output=tmp_path, device="cpu").plan()
    assert [spec.id for spec in again] == [spec.id for spec in first]
    assert len(timed) == 4
    kept = sorted((tmp_path / "runs/timed/times").iterdir())
    assert len(kept) == 4
    known = read_record(kept[0], Timed, StudyError)
    assert known is not None
    assert (known.device, known.threads) == ("cpu", 1)
    costs, _ = plan(open_study_file(in_seconds(tiny, tmp_path)), output=tmp_path, device="cpu")
    assert [row[2] for row in costs.cells()] == [f"{spec.config.training.steps:,}" for spec in first]
    assert len(timed) == 4, "a plan is of the same runs"


def test_seconds_of_other_threads_are_timed_anew(tiny: TinyWorld, tmp_path: Path, timed: list[str]) -> None:
    config = open_study_file(in_seconds(tiny, tmp_path)).run_config("flip", {}, 0)
    one, two = (KeptTimes(tmp_path, Slots(("cpu",), threads)) for threads in (1, 2))
    assert one(config) == one(config) != two(config)
    assert KeptTimes(tmp_path, Slots(("cpu",), 1))(config) == one(config)
    assert len(timed) == 2
    assert KeptTimes(tmp_path, Slots(("cpu",), 1))(
        config.model_copy(update={"seed": 7, "training": config.training.model_copy(update={"samples": 64})})
    ) == one(config), "neither seed nor length decides what a pair takes"


def test_seconds_are_kept_on_a_file_system_without_links(
    tiny: TinyWorld, tmp_path: Path, timed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", no_links)
    config, slots = open_study_file(in_seconds(tiny, tmp_path)).run_config("flip", {}, 0), Slots(("cpu",), 1)
    assert KeptTimes(tmp_path / "new", slots)(config) == KeptTimes(tmp_path / "new", slots)(config)
    assert len(timed) == 1
    assert len(list((tmp_path / "new/times").iterdir())) == 1


def test_seconds_of_a_cluster_are_not_those_of_the_login_node(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timed: list[str]
) -> None:
    profiles = tmp_path / "cluster.yaml"
    profiles.write_text("profiles: {one: {cpus: 2}, gpu: {gpus: 1, cpus: 8}}\n")
    monkeypatch.setenv("PGSBENCH_CLUSTER", str(profiles))
    study = open_study_file(in_seconds(tiny, tmp_path))
    for profile in ("one", "gpu"):
        with pytest.raises(StudyError, match="timed where runs are trained") as caught:
            on_cluster(study, on=f"slurm:{profile}", output=tmp_path).plan()
        assert "OMP_NUM_THREADS" in caught.value.way_out
    assert not timed
    on_a_node = open_study(in_seconds(tiny, tmp_path), output=tmp_path, device="cpu", threads=2).plan()
    planned = on_cluster(study, on="slurm:one", output=tmp_path).plan()
    assert [spec.id for spec in planned] == [spec.id for spec in on_a_node]


def test_threads_do_not_decide_the_seconds_of_a_gpu(
    tiny: TinyWorld, tmp_path: Path, timed: list[str]
) -> None:
    config = open_study_file(in_seconds(tiny, tmp_path)).run_config("pgs", {}, 0)
    one, eight = (KeptTimes(tmp_path, Slots(("cuda:0",), threads)) for threads in (1, 8))
    assert one(config) == eight(config), "a job, a worker and a login node plan the same runs"
    assert len(timed) == 1


def test_timed_steps_have_the_micro_batches_of_the_real_ones(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[TrainingConfig] = []

    def look(*given: object, emit: Callable[[object], None], **_: object) -> None:
        (config,) = (one for one in given if isinstance(one, TrainingConfig))
        seen.append(config)
        for step in range(config.steps):
            emit(step)

    monkeypatch.setattr("pgsbench.execution.estimate.train", look)
    config = open_study_file(in_seconds(tiny, tmp_path)).run_config("none", {}, 0)
    for batch, micro in ((1024, 256), (4, 2), (1024, 1000), (1024, None)):
        sizes = {"batch_size": batch, "micro_batch_size": micro, "unmasked_tuning": UnmaskedTuning(share=0)}
        training = config.training.model_copy(update=sizes)
        Estimator("cpu").seconds(config.model_copy(update={"training": training}))
    found = [(one.batch_size, one.micro_batch_size) for one in seen]
    assert found == [(64, 16), (4, 2), (64, 62), (64, None)]


@pytest.mark.parametrize("budget", ["{equal: tokens, amount: 1.0e+18}", "{equal: samples, amount: 1.0e+30}"])
def test_a_budget_of_more_pairs_than_a_training_has_is_refused(
    tiny: TinyWorld, tmp_path: Path, budget: str
) -> None:
    with pytest.raises(ConfigError, match="pays for more than 1e\\+13 pairs") as caught:
        specs(tiny, tmp_path, budget)
    assert caught.value.where == "budget.amount"
    assert "say less" in caught.value.way_out
    with pytest.raises(ConfigError, match="pays for more than"):
        open_study_file(tmp_path / "study.yaml").resolved()


def test_seconds_need_a_place_where_they_are_timed(tiny: TinyWorld, tmp_path: Path) -> None:
    study = open_study_file(in_seconds(tiny, tmp_path))
    with pytest.raises(ConfigError, match="seconds become steps where the study is trained"):
        Planner(study).spec("flip", 0, {})
    assert study.resolved()["arms"]["flip"]["budget"] == {"equal": "seconds", "amount": 8.0}
    with pytest.raises(ConfigError, match="timed on one device"):
        open_study_file(in_seconds(tiny, tmp_path), overrides=["devices_per_run=2"])


def test_cheap_pairs_are_more_pairs(tiny: TinyWorld, tmp_path: Path) -> None:
    seen = {
        spec.arm: spec.config.training.samples
        for spec in specs(tiny, tmp_path, "{equal: tokens, amount: 1_000_000}")
    }
    assert seen["none"] == seen["views"] < seen["flip"] == seen["pgs"]  # two halves are a whole


def test_a_run_is_the_same_whether_its_pairs_were_counted_or_given(tiny: TinyWorld, tmp_path: Path) -> None:
    counted = specs(tiny, tmp_path, "{equal: flops, amount: 1.0e+10}")[0]
    samples = counted.config.training.samples
    given = specs(tiny, tmp_path, "null", training=f"batch_size: 4, samples: {samples}")[0]
    assert counted.id == given.id


def test_a_budget_can_be_searched(tiny: TinyWorld, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(
        f"data: {{train: {tiny.shards}}}\nmodel: tiny-vit\ntraining: {{batch_size: 4}}\n"
        "budget: {equal: tokens, amount: 20_000}\nsearch: {space: {budget.amount: [20_000, 40_000]}}\n"
    )
    study = open_study_file(path)
    short, long = (Planner(study).spec("pgs", 0, {"budget.amount": amount}) for amount in (20_000, 40_000))
    assert 1.9 < long.config.training.samples / short.config.training.samples < 2.2


def test_a_budget_below_one_step_is_refused(tiny: TinyWorld, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the budget pays for no step") as caught:
        specs(tiny, tmp_path, "{equal: tokens, amount: 3}")
    assert "a step of this arm costs" in caught.value.way_out


def test_a_budget_pays_for_the_whole_warm_up(tiny: TinyWorld, tmp_path: Path) -> None:
    budget = "{equal: samples, amount: 99}"  # 24 steps of four; the default of samples has no say
    specs(tiny, tmp_path, budget, training="batch_size: 4, warmup_steps: 24")
    with pytest.raises(ConfigError, match="the budget pays for 24 steps") as caught:
        specs(tiny, tmp_path, budget, training="batch_size: 4, warmup_steps: 25")
    assert (caught.value.where, caught.value.value) == ("training.warmup_steps", 25)


def test_who_joins_a_study_with_a_budget_plans_the_same_runs(tiny: TinyWorld, tmp_path: Path) -> None:
    planned = specs(tiny, tmp_path, "{equal: tokens, amount: 20_000}")
    write_study_record(
        StudyRecord(open_study_file(tmp_path / "study.yaml").config, (), folder=str(tmp_path)), tmp_path
    )
    joined = joined_file(StudyRecord.read(tmp_path))
    assert [spec.id for spec in Planner(joined).specs(joined.config.arm_names)] == [one.id for one in planned]


@pytest.mark.parametrize("place", ["base", "arm"])
def test_pairs_are_given_or_follow_from_a_budget_not_both(
    tiny: TinyWorld, tmp_path: Path, place: str
) -> None:
    path = tmp_path / "study.yaml"
    given = "training: {samples: 32, batch_size: 4}"
    path.write_text(
        f"data: {{train: {tiny.shards}}}\nmodel: tiny-vit\nbudget: {{equal: tokens, amount: 20_000}}\n"
        + (given if place == "base" else f"arms: {{a: {{{given}}}}}")
    )
    with pytest.raises(UserError, match="the number of pairs follows from the budget"):
        open_study_file(path)
