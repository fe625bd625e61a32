"""The plan of a study: which runs it asks for, before anything is trained."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tinyworld import HALF, TinyWorld

from pgsbench.config.schema import RunConfig
from pgsbench.devices import devices_named
from pgsbench.errors import ConfigError, PluginError, StudyError
from pgsbench.execution import estimate
from pgsbench.execution.engine import plan_slots
from pgsbench.execution.ledger import Ledger
from pgsbench.models.start import build_for
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.study_record import StudyRecord
from pgsbench.study import plan
from pgsbench.study.design import Design
from pgsbench.study.open import open_study_file
from pgsbench.tracking.rundir import RunDir
from pgsbench.training.loop import train


def specs(study: Design, arms: list[str], params: dict[str, Any] | None = None) -> list[RunSpec]:
    return plan.Planner(study).specs(arms, params)


def test_a_grid_is_the_product_of_its_choices_last_path_fastest(tiny: TinyWorld) -> None:
    space = "{training.samples: [32, 64], strategy.mask_ratio: {low: 0, high: 0.8, step: 0.4}}"
    study = open_study_file(tiny.study, overrides=[f"search={{space: {space}, arms: [pgs, flip]}}"])
    points = plan.grid_points(study)
    assert len(points) == 12
    assert {point.arm for point in points[:6]} == {"pgs"}
    assert [tuple(point.params.values()) for point in points[:4]] == [
        (32, 0.0),
        (32, 0.4),
        (32, 0.8),
        (64, 0.0),
    ]
    assert plan.grid_points(study, 7) == points[:7]


def test_equal_configurations_are_one_run_whatever_the_arm(tiny: TinyWorld) -> None:
    study = open_study_file(tiny.study)
    by_arm = specs(study, ["pgs"])[0]
    by_point = specs(study, ["pgs"], {"strategy.mask_ratio": 0.5})[0]
    assert by_arm.id == by_point.id
    other = specs(study, ["pgs"], {"strategy.mask_ratio": 0.75})[0]
    assert other.id != by_arm.id
    assert other.name == "pgs mask_ratio=0.75 s0"


def test_what_a_spec_would_be_now_is_what_would_be_planned_now(tiny: TinyWorld) -> None:
    (spec,) = specs(open_study_file(tiny.study, overrides=["seeds=[0]"]), ["pgs"])
    before: dict[str, Any] = {"data": "other shards", "reading": {"order": "another"}}
    before |= dict.fromkeys(("strategy_code", "text_code", "model_file", "pretrained"), "other code")
    assert plan.as_now(replace(spec, **before)) == spec


def test_a_strategy_that_is_no_arm_becomes_one(tiny: TinyWorld) -> None:
    study = plan.with_arms(open_study_file(tiny.study), ["pgs", "grid"])
    assert specs(study, ["grid"])[0].config.strategy.fields["mask_ratio"] == 0.5
    with pytest.raises(StudyError, match="did you mean 'flip'") as raised:
        plan.with_arms(study, ["flop"])
    assert str(raised.value).count("flip,") == 1  # an arm and a strategy


def test_a_strategy_in_a_file_is_named_from_here_and_its_arm_by_its_class(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("my", "other"):
        Path(folder).mkdir()
        Path(folder, "half.py").write_text(HALF)
    study = plan.with_arms(open_study_file(tiny.study), ["my/half.py:Half", "my/half.py:Half", "flip"])
    (run,) = specs(study, ["Half"])
    assert run.folder == f"tiny/Half-s0-{run.id}"
    assert run.config.strategy.name == f"{tmp_path}/my/half.py:Half"
    assert plan.with_arms(study, ["my/half.py:Half"]).config == study.config
    with pytest.raises(StudyError, match="another arm is called 'Half'"):
        plan.with_arms(study, ["other/half.py:Half"])
    with pytest.raises(PluginError, match="the file of this strategy does not exist"):
        plan.with_arms(study, ["half.py:Half"])


def folder_of(study: Design, root: Path) -> Ledger:
    return Ledger.open(plan.Planner(study), root, "cmd")


def arms_entered(root: Path) -> list[str]:
    return [run.spec.arm for run in StudyRecord.read(root / "tiny").runs]


def test_the_record_grows_and_drops_what_is_trained_otherwise_now(tiny: TinyWorld, tmp_path: Path) -> None:
    def enter(arms: list[str], *changed: str) -> list[str]:
        """Return the arms of the record after a command for some arms of a changed study."""
        study = open_study_file(tiny.study, overrides=changed)
        folder_of(study, tmp_path).add(specs(study, arms))
        return arms_entered(tmp_path)

    plugin = tmp_path / "mine.py"
    plugin.write_text(HALF)
    mine = (f"arms.mine.strategy={plugin}:Half", "arms.flip.strategy.mask_ratio=0.25")
    assert enter(["mine", "flip"], *mine) == ["mine", "flip"]
    assert enter(["none", "mine"], *mine) == ["mine", "flip", "none"]
    assert enter(["none"], mine[0], "arms.flip.strategy.mask_ratio=0.75") == ["mine", "none"]
    plugin.write_text(HALF + "# edited\n")
    assert enter(["pgs"], *mine) == ["none", "pgs"]
    assert enter(["mine"], *mine, "strategy.tau=0.3") == ["none", "mine"]  # only pgs has another base now
    assert enter(["flip"], *mine, "evaluation.batch_size=8") == ["flip"]


def test_runs_of_other_numerics_stay_in_the_record_and_are_seen_to_differ(
    tiny: TinyWorld, tmp_path: Path
) -> None:
    study = open_study_file(tiny.study)
    folder_of(study, tmp_path).add(specs(study, ["flip"]))
    planner = plan.Planner(study, threads=2)
    Ledger.open(planner, tmp_path, "cmd").add(planner.specs(["pgs"]))
    kept = StudyRecord.read(tmp_path / "tiny").runs
    assert [(run.spec.arm, run.spec.numerics.threads) for run in kept] == [("flip", 1), ("pgs", 2)]


def test_a_run_that_another_command_made_meanwhile_is_named_where_it_lies(
    tiny: TinyWorld, tmp_path: Path
) -> None:
    study = open_study_file(tiny.study)
    folder = folder_of(study, tmp_path)
    runs = specs(study, ["pgs", "none"])
    runs += specs(study, ["pgs"], {"strategy.mask_ratio": 0.5})  # the arm's own
    folder.add(runs)
    elsewhere = RunDir.create(tmp_path, replace(runs[0], study="other"))
    assert folder.look_for(runs[0]).path == elsewhere.path
    entered = [tmp_path / run.directory for run in StudyRecord.read(tmp_path / "tiny").runs]
    assert entered == [elsewhere.path, tmp_path / runs[1].folder, elsewhere.path]


def test_shards_are_known_by_what_they_hold_and_not_by_place_or_size(tiny: TinyWorld, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(tiny.shards, moved)

    def run_id(folder: Path) -> str:
        study = open_study_file(tiny.study, overrides=[f"data.train={folder}", "search=null"])
        return specs(study, ["none"])[0].id

    before = run_id(moved)
    assert before == run_id(tiny.shards)
    shard = moved / "00001.tar"
    content = shard.read_bytes()
    shard.write_bytes(content.replace(b"square", b"sphere"))
    assert len(content) == shard.stat().st_size
    assert run_id(moved) != before


def test_only_what_decides_pixels_and_order_makes_another_run(tiny: TinyWorld) -> None:
    def run_id(*changed: str) -> str:
        return specs(open_study_file(tiny.study, overrides=changed), ["none"])[0].id

    for same in ("workers=1", "workers=0", "memory_limit_gib=1e-9", "max_bad_share=0.5"):
        assert run_id(f"data.{same}") == run_id()
    others = ("augment=open_clip", "augment={scale: [0.5, 1]}", "scaled_decoding=true")
    ids = {run_id(f"data.{other}") for other in (*others, f"train={tiny.shards}/00000.tar")}
    mixed = f"data.train={tiny.shards}/00000.tar::{tiny.shards}/{{00001..00002}}.tar"
    ids |= {run_id(mixed, "data.weights=[1,1]"), run_id(mixed, "data.weights=[1,2]")}
    assert len(ids | {run_id()}) == 7
    assert run_id(mixed) == run_id()  # without weights they are one source


def test_an_estimate_times_the_model_and_the_precision_of_the_training(
    tiny: TinyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, precisions = [], []

    def spy_on_build(config: RunConfig, **options: Any) -> Any:
        built.append(config.model)
        return build_for(config, **options)

    def spy_on_train(*args: Any, **options: Any) -> Any:
        precisions.append(args[4].precision_on("cpu"))
        return train(*args, **options)

    monkeypatch.setattr(estimate, "build_for", spy_on_build)
    monkeypatch.setattr(estimate, "train", spy_on_train)
    estimator = estimate.Estimator("cpu")
    for precision in ("auto", "bf16"):
        changed = ["model.grad_checkpointing=true", "model.token_std=0.1", f"training.precision={precision}"]
        (run,) = specs(open_study_file(tiny.study, overrides=changed), ["flip"])
        cost = estimator.cost(run.config)
        assert cost.train_seconds > 0
        assert cost.dropped == 0.5
    assert built
    assert all(model.grad_checkpointing and model.token_std == 0.1 for model in built)
    assert precisions == ["fp32", "fp32", "bf16", "bf16"]


def test_threads_come_from_options_and_not_from_what_is_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert plan_slots(device="cpu").threads == 1
    assert plan_slots(jobs=1, device="cpu").threads == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert plan_slots(device="cpu").threads == 3
    for threads, num_slots in ((1, 4), (3, 2), (4, 2), (8, 1), (99, 1)):
        slots = plan_slots(device="cpu", threads=threads)
        assert (len(slots.devices), slots.threads) == (num_slots, threads)
    assert len(plan_slots(jobs=3, device="cpu", threads=1).devices) == 3


def test_devices_are_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert devices_named("auto") == ["cpu"]
    for name in ("cuda", "cuda:0", "gpu", "mps", "xpu", "meta", "cpu:1"):
        with pytest.raises(ConfigError, match=r"valid: auto, cpu$"):
            devices_named(name)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert devices_named("auto") == devices_named("cuda") == ["cuda:0", "cuda:1"]
    assert devices_named("cuda:1") == ["cuda:1"]
    with pytest.raises(ConfigError, match="valid: auto, cpu, cuda, cuda:0, cuda:1"):
        devices_named("cuda:2")
    assert plan_slots(device="cuda").devices == ("cuda:0", "cuda:1")
