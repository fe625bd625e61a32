"""A budget of tokens, operations or seconds becomes pairs, arm by arm, before a run has its identity."""

from __future__ import annotations

from pathlib import Path

import pytest
from tinyworld import TinyWorld

from pgsbench.config.schema import RunConfig
from pgsbench.errors import ConfigError, StudyError
from pgsbench.execution.engine import Slots
from pgsbench.execution.estimate import Estimator
from pgsbench.execution.kept_times import KeptTimes, Timed
from pgsbench.models.pair_cost import pair_costs
from pgsbench.records.json_files import read_record
from pgsbench.records.run_spec import RunSpec
from pgsbench.session.costs import plan
from pgsbench.session.opening import open_study, work_on
from pgsbench.study.budget import PairSeconds
from pgsbench.study.open import open_study_file
from pgsbench.study.plan import Planner
from pgsbench.training.optim import first_unmasked_step

ARMS = "{none: {strategy: none}, flip: {strategy: flip}, views: {strategy: {name: flip, views: 2}}}"


def write(tiny: TinyWorld, folder: Path, budget: str, *, training: str = "batch_size: 4") -> Path:
    path = folder / "timed.yaml"
    path.write_text(
        f"data: {{train: {tiny.shards}}}\nmodel: tiny-vit\nstrategy: {{name: pgs, mask_ratio: 0.5}}\n"
        f"training: {{{training}}}\nbudget: {budget}\narms: {ARMS}\nevaluation: {{suite: '{tiny.suite}'}}\n"
    )
    return path


def specs(tiny: TinyWorld, tmp_path: Path, budget: str, **more: str) -> list[RunSpec]:
    study = open_study_file(write(tiny, tmp_path, budget, **more))
    return Planner(study).specs(study.config.arm_names)


def in_seconds(tiny: TinyWorld, tmp_path: Path) -> Path:
    return write(tiny, tmp_path, "{equal: seconds, amount: 8}")


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
    kept = sorted((tmp_path / "runs/timed/times").glob("*.json"))
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
    jobs = (KeptTimes(tmp_path, Slots(("cuda:0",), threads)) for threads in (1, 8))
    assert len({job(config) for job in jobs}) == 1, "threads do not decide the seconds of a GPU"
    assert KeptTimes(tmp_path, Slots(("cpu",), 1))(config) == one(config)
    assert len(timed) == 3
    assert KeptTimes(tmp_path, Slots(("cpu",), 1))(
        config.model_copy(update={"seed": 7, "training": config.training.model_copy(update={"samples": 64})})
    ) == one(config), "neither seed nor length decides what a pair takes"


def test_seconds_of_a_cluster_are_not_those_of_the_login_node(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timed: list[str]
) -> None:
    profiles = tmp_path / "cluster.yaml"
    profiles.write_text("one: {cpus_per_task: 2}\ngpu: {gpus_per_node: 1, cpus_per_task: 8}\n")
    monkeypatch.setenv("PGSBENCH_CLUSTER", str(profiles))
    study = open_study_file(in_seconds(tiny, tmp_path))
    for profile in ("one", "gpu"):
        with pytest.raises(StudyError, match="timed where runs are trained") as caught:
            work_on(study, on=f"slurm:{profile}", output=tmp_path).plan()
        assert "OMP_NUM_THREADS" in caught.value.way_out
    assert not timed
    on_a_node = open_study(in_seconds(tiny, tmp_path), output=tmp_path, device="cpu", threads=2).plan()
    planned = work_on(study, on="slurm:one", output=tmp_path).plan()
    assert [spec.id for spec in planned] == [spec.id for spec in on_a_node]


@pytest.mark.parametrize(
    ("budget", "said", "way_out"),
    [
        ("{equal: tokens, amount: 3}", "the budget pays for no step", "a step of this arm costs"),
        ("{equal: tokens, amount: 1.0e+18}", "pays for more than 1e\\+13 pairs", "say less"),
        ("{equal: samples, amount: 1.0e+30}", "pays for more than 1e\\+13 pairs", "say less"),
    ],
)
def test_a_budget_of_no_step_or_of_endless_ones_is_refused(
    tiny: TinyWorld, tmp_path: Path, budget: str, said: str, way_out: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        specs(tiny, tmp_path, budget)
    assert caught.value.where == "budget.amount"
    assert way_out in caught.value.way_out
    with pytest.raises(ConfigError, match=said):
        open_study_file(tmp_path / "timed.yaml").resolved()


def test_seconds_need_a_place_where_they_are_timed(tiny: TinyWorld, tmp_path: Path) -> None:
    study = open_study_file(in_seconds(tiny, tmp_path))
    with pytest.raises(ConfigError, match="seconds become steps where the study is trained"):
        Planner(study).spec("flip", 0, {})
    assert study.resolved()["arms"]["flip"]["budget"] == {"equal": "seconds", "amount": 8.0}
    with pytest.raises(ConfigError, match="timed on one device"):
        open_study_file(in_seconds(tiny, tmp_path), overrides=["devices_per_run=2"])


def test_a_budget_pays_for_the_whole_warm_up(tiny: TinyWorld, tmp_path: Path) -> None:
    budget = "{equal: samples, amount: 99}"  # 24 steps of four; the default of samples has no say
    specs(tiny, tmp_path, budget, training="batch_size: 4, warmup_steps: 24")
    with pytest.raises(ConfigError, match="the budget pays for 24 steps") as caught:
        specs(tiny, tmp_path, budget, training="batch_size: 4, warmup_steps: 25")
    assert (caught.value.where, caught.value.value) == ("training.warmup_steps", 25)
