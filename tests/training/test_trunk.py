"""One trunk, many lengths: what begins from another run's state has the bits of a whole training."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tinyworld import TinyWorld

from pgsbench.config.training import TrainingConfig, UnmaskedTuning
from pgsbench.errors import ConfigError, Interrupted
from pgsbench.execution.estimate import Estimator
from pgsbench.execution.run import Stop
from pgsbench.execution.run import run as work_on
from pgsbench.experiment import run_once
from pgsbench.records import files
from pgsbench.records.run_spec import RunSpec
from pgsbench.reporting.one_run import Run, run_tables
from pgsbench.session.opening import open_study
from pgsbench.session.scaling import dry_run
from pgsbench.study.budget import PairSeconds
from pgsbench.study.open import open_study_file
from pgsbench.study.plan import Planner
from pgsbench.tracking.rundir import RunDir, find_runs
from pgsbench.training.optim import learning_rate

CPU = torch.device("cpu")
WSD = [
    *("training.schedule=wsd", "training.warmup_steps=2", "training.ramp_steps=5"),
    *("training.checkpoint_every_steps=100", "search=null"),
]
DURING = "evaluation.during={tasks: [tiny/colour], every: 4 steps}"
SHORT, LONG = 10 * 16, 18 * 16  # pairs of 10 and 18 steps, whose decays begin at steps 8 and 15


def spec_of(tiny: TinyWorld, samples: int, *more: str, arm: str = "pgs") -> RunSpec:
    study = open_study_file(tiny.study, overrides=[*WSD, f"training.samples={samples}", *more])
    return Planner(study).specs([arm])[0]


def trained(spec: RunSpec, root: Path, stop_after: int | None = None) -> RunDir:
    """Train a run, or stop it after so many of its own steps and go on."""
    asked = []

    def should_stop() -> bool:
        asked.append(0)
        return len(asked) == stop_after

    if stop_after is not None:
        with pytest.raises(Interrupted):
            run_once(spec, runs_root=root, device=CPU, should_stop=should_stop)
    return run_once(spec, runs_root=root, device=CPU)


@dataclass
class Result:
    """What two trainings must have alike."""

    weights: bytes
    losses: list[tuple[int, float]]
    scores: Any
    counts: tuple[Any, ...]
    curve: list[tuple[int, int, dict[str, float]]]

    @classmethod
    def of(cls, run: RunDir) -> Result:
        assert run.scores is not None
        assert run.summary is not None
        summary = run.summary
        losses = [(line["step"], line["loss"]) for line in run.metrics()]
        weights = next(run.checkpoint.glob("*.safetensors")).read_bytes()
        counts = (summary.samples, summary.flops, summary.visual_tokens, summary.mask_ratio_effective)
        scores = [(s.task, s.metric, s.value) for s in run.scores.scores]
        curve = [(one.number, one.step, one.scores) for one in run.curve()]
        return cls(weights, losses, scores, counts, curve)


@pytest.mark.parametrize(
    ("first", "stops"), [("shorter", (None, None)), ("shorter", (9, 4)), ("longer", (4, 1))]
)
def test_what_begins_from_another_length_equals_the_whole_training(
    tiny: TinyWorld, tmp_path: Path, first: str, stops: tuple[int | None, int | None]
) -> None:
    short = spec_of(tiny, SHORT, DURING)
    long = spec_of(tiny, LONG, DURING, "training.branch_steps=[8, 15]")
    before, after = (short, long) if first == "shorter" else (long, short)
    trained(before, tmp_path / "shared", stops[0])
    found = trained(after, tmp_path / "shared", stops[1])
    alone = trained(after, tmp_path / "alone")
    assert Result.of(found) == Result.of(alone)
    assert len(found.curve()) == (after.config.training.steps - 1) // 4  # those before the branch, too
    assert found.summary is not None
    assert alone.summary is not None
    branch = found.summary.branch
    assert branch is not None
    assert (branch.run, branch.step, branch.samples) == (before.folder, 8, 8 * 16)
    assert 0 < found.summary.own_seconds < found.summary.train_seconds
    assert 0 < branch.flops < (found.summary.flops or 0)
    assert alone.summary.branch is None
    cost = {row[0]: row[1] for row in run_tables(Run(found))[2].cells()}
    assert cost["branch.run"] == before.folder
    assert float(cost["own_seconds"]) < float(cost["train_seconds"])


class Killed(BaseException):
    """Stands for SIGKILL: nothing is saved."""


@pytest.mark.parametrize("after", [3, 12])
def test_a_branch_that_is_killed_goes_on(tiny: TinyWorld, tmp_path: Path, after: int) -> None:
    spec, steps = spec_of(tiny, LONG, "training.checkpoint_every_steps=5"), list[int]()
    trained(spec_of(tiny, SHORT), tmp_path / "shared")

    def should_stop() -> bool:
        steps.append(0)
        if len(steps) == after:
            raise Killed
        return False

    with pytest.raises(Killed):
        run_once(spec, runs_root=tmp_path / "shared", device=CPU, should_stop=should_stop)
    found, alone = (trained(spec, tmp_path / root) for root in ("shared", "alone"))
    assert Result.of(found) == Result.of(alone)
    assert found.summary is not None
    assert found.summary.branch is not None


@pytest.mark.slow
def test_two_processes_branch_like_one(tiny: TinyWorld, tmp_path: Path) -> None:
    def on_two(samples: int, root: Path) -> RunDir:
        spec = spec_of(tiny, samples)
        work_on(spec, root, devices=["cpu", "cpu"], threads=1, stop=Stop())
        return find_runs(root, [spec.id])[spec.id]

    trained(spec_of(tiny, SHORT), tmp_path / "shared")  # by one process: rounding may differ
    on_two(SHORT + 16, tmp_path / "shared")
    found, alone = (on_two(LONG, tmp_path / root) for root in ("shared", "alone"))
    assert found.summary is not None
    assert found.summary.branch is not None
    assert found.summary.branch.step == 9
    assert Result.of(found) == Result.of(alone)


def damaged(state: Path) -> None:
    tensors = state / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-100])


def deleted(state: Path) -> None:
    (state / "state.json").unlink()


@pytest.mark.parametrize("harm", [damaged, deleted])
def test_a_state_that_is_damaged_is_none(
    tiny: TinyWorld, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    trained(spec_of(tiny, SHORT, arm="none"), tmp_path)
    (state,) = (tmp_path / files.TRUNKS).glob("*/step-*")
    harm(state)
    run = trained(spec_of(tiny, LONG, arm="none"), tmp_path)
    assert run.summary is not None
    assert run.summary.branch is None
    assert [line["step"] for line in run.metrics()] == list(range(1, 19))


def test_a_trunk_is_all_but_the_length(tiny: TinyWorld) -> None:
    ours = spec_of(tiny, SHORT)
    same = spec_of(tiny, LONG, "training.unmasked_tuning.share=0.1", "training.decay_share=0.3")
    assert ours.id != same.id
    assert ours.trunk(1) == same.trunk(1) != ours.trunk(2)
    others = ("training.learning_rate=0.1", "seeds=[1]", "training.ramp_steps=6", "model.token_std=0.1")
    for one in (*others, "training.micro_batch_size=8"):
        assert spec_of(tiny, SHORT, one).trunk(1) != ours.trunk(1), one
    cosine = open_study_file(tiny.study, overrides=["search=null"])
    assert Planner(cosine).specs(["pgs"])[0].trunk(1) == ""


def test_nothing_before_the_decay_depends_on_the_length() -> None:
    def config(steps: int) -> TrainingConfig:
        return TrainingConfig(
            samples=steps * 16,
            batch_size=16,
            schedule="wsd",
            warmup_steps=5,
            ramp_steps=40,
            learning_rate=1.0,
            unmasked_tuning=UnmaskedTuning(share=0.2, lr_scale=0.5),
        )

    short, long = config(50), config(200)
    assert (short.first_decay_step, long.first_decay_step) == (40, 160)
    for step in range(40):
        assert learning_rate(step, short) == learning_rate(step, long) == min(1.0, (step + 1) / 5)
        assert short.progress(step) == long.progress(step) == step / 40
    rates = [learning_rate(step, long) for step in range(160, 200)]
    assert rates == pytest.approx([0.5 * (1 - math.sqrt(done / 40)) for done in range(40)])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("training.warmup_steps=null", "set warmup_steps"),
        ("training.unmasked_tuning.share=0.3", "at most decay_share"),
        ("training.warmup_steps=9", "the part before the decay, which has 8 steps"),
        ("training.ramp_steps=null", r"say in training\.ramp_steps"),
        ("training.schedule=cosine", "is of `schedule: wsd`"),
    ],
)
def test_what_would_need_the_length_is_refused(tiny: TinyWorld, changed: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        spec_of(tiny, SHORT, changed)


def test_masks_that_stay_as_they_are_need_no_ramp(tiny: TinyWorld) -> None:
    spec = spec_of(tiny, SHORT, "strategy=flip", "training.ramp_steps=null", "arms={}", arm="flip")
    assert json.loads(spec.config.model_dump_json())["training"]["schedule"] == "wsd"


def test_a_scale_counts_on_one_trunk(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Estimator, "seconds", lambda *_: PairSeconds(1.0, 1.0))
    overrides = [*WSD, "training.samples=400", "training.batch_size=4", "arms={}"]
    study = open_study(tiny.study, output=tmp_path, device="cpu", overrides=overrides)
    tables = dry_run(study, [0.25, 0.5, 1, 2, 4])
    states = [table.cells()[0][-1] for table in tables]
    assert states == ["to train", "from step 20", "from step 40", "from step 80", "from step 160"]
    samples = [int(table.cells()[0][3].replace(",", "")) for table in tables]
    assert sum(samples) == 4.75 * 400  # of 7.75
    assert "640 samples less (40%)" in " ".join(tables[-1].notes)
