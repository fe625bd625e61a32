"""Scores and checkpoints of a training under way: they change nothing of it, and processes share the work."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tinyworld import TinyWorld
from typer.testing import CliRunner

from pgsbench import meanwhile
from pgsbench.checkpoints import evaluate_checkpoint
from pgsbench.cli.app import app
from pgsbench.config.training import TrainingConfig, number_at
from pgsbench.errors import Interrupted, RunError
from pgsbench.evaluation.evaluate import evaluate
from pgsbench.evaluation.suite import load_suite, suite_of
from pgsbench.execution.run import Stop
from pgsbench.execution.run import run as work_on
from pgsbench.experiment import run_once
from pgsbench.hashing import file_hash
from pgsbench.models.checkpoint import load, weights_hash
from pgsbench.models.start import build_for
from pgsbench.records.kept import kept_folder
from pgsbench.records.run_spec import RunSpec
from pgsbench.reporting.one_run import Run, weights_of
from pgsbench.study.open import open_study_file
from pgsbench.study.plan import Planner
from pgsbench.tracking.mlflow_text import score_points
from pgsbench.tracking.rundir import RunDir, find_runs
from pgsbench.training.ranks import Ranks

CPU = torch.device("cpu")
DURING = "evaluation.during={tasks: [tiny/colour, retrieval], every: 3 steps}"
KEEP = "training.keep={every: 2 steps, last: 3, best: retrieval}"
TASKS = ["tiny/colour", "tiny/retrieval"]


def spec_of(tiny: TinyWorld, *changed: str) -> RunSpec:
    length = ("training.samples=160", "training.checkpoint_every_steps=100", "search=null")
    return Planner(open_study_file(tiny.study, overrides=[*length, *changed])).specs(["pgs"])[0]


def trained(spec: RunSpec, root: Path) -> RunDir:
    return run_once(spec, runs_root=root, device=CPU)


def numbers(run: RunDir) -> tuple[bytes, Any, list[float]]:
    """Return the weights, the scores and the losses of a run."""
    assert run.scores is not None
    scores = [(one.task, one.metric, one.value, one.low, one.high) for one in run.scores.scores]
    weights = next(run.checkpoint.glob("*.safetensors")).read_bytes()
    return weights, scores, [line["loss"] for line in run.metrics()]


def test_scores_and_checkpoints_meanwhile_change_nothing(tiny: TinyWorld, tmp_path: Path) -> None:
    spec = spec_of(tiny, DURING, KEEP)
    assert spec.id == spec_of(tiny).id
    run, quiet = trained(spec, tmp_path / "looked"), trained(spec_of(tiny), tmp_path / "quiet")
    assert numbers(run) == numbers(quiet)
    curve = run.curve()
    assert [(one.number, one.step, one.samples) for one in curve] == [(1, 3, 48), (2, 6, 96), (3, 9, 144)]
    assert all(list(one.scores) == TASKS for one in curve)
    assert [one.flops for one in curve] == sorted(one.flops for one in curve)
    assert quiet.curve() == []
    steps = [path.name for path in sorted((run.path / "checkpoints").iterdir())]
    assert steps == ["best", "model", "step-00000004", "step-00000006", "step-00000008"]

    kept = kept_folder(run.path, "0.6")
    assert kept == kept_folder(run.path, "step-6") == kept_folder(run.path, "epoch-1")  # 96 pairs
    suite = suite_of(spec)
    again = evaluate(load(kept), suite, out=tmp_path / "kept", checkpoint_sha256=weights_hash(kept))
    assert {task: score.value for task, score in again.primary().items()} == curve[1].scores
    best = evaluate(load(kept_folder(run.path, "best")), suite, out=tmp_path / "best")
    assert best.groups["retrieval"].value == max(one.groups["retrieval"] for one in curve)
    with pytest.raises(RunError, match="one of step-4, step-6, step-8, best"):
        kept_folder(run.path, "epoch-2")


@pytest.fixture(scope="module")
def kept_run(tiny: TinyWorld, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(trained(spec_of(tiny, DURING, KEEP), tmp_path_factory.mktemp("kept") / "runs"))


def test_a_kept_checkpoint_is_evaluated_exported_and_gone_on_from(
    kept_run: Run, tiny: TinyWorld, tmp_path: Path
) -> None:
    output = kept_run.path.parents[2]
    kept = kept_folder(kept_run.path, "step-6")
    found = evaluate_checkpoint(f"{kept_run.path}@0.6", suite_of(kept_run.spec), to=tmp_path / "s")
    assert found.scores.checkpoint_sha256 == weights_hash(kept)
    typer = CliRunner()
    exported = [
        "runs",
        "export",
        f"{kept_run.spec.id[:6]}@0.6",
        str(tmp_path / "out"),
        "--output",
        str(output),
    ]
    assert typer.invoke(app, exported).exit_code == 0
    assert weights_hash(tmp_path / "out") == weights_hash(kept)
    assert json.loads((tmp_path / "out/run.json").read_text())["scores"] == []
    assert weights_of(f"{kept_run.spec.id[:6]}@step-6", output) == kept
    tuned = spec_of(tiny, f"model.pretrained={kept_run.path}@0.6", "training.unmasked_tuning.share=0.5")
    assert tuned.pretrained == file_hash(kept / "open_clip_model.safetensors")
    begins = build_for(tuned.config, seed=0).model.state_dict()
    assert all(torch.equal(value, begins[key]) for key, value in load(kept).model.state_dict().items())
    with pytest.raises(RunError, match="has kept no such checkpoint"):
        spec_of(tiny, f"model.pretrained={kept_run.path}@0.9")


def test_train_begins_from_a_run(kept_run: Run, tiny: TinyWorld) -> None:
    output = kept_run.path.parents[2]
    command = ["train", str(tiny.study), "--from", f"{kept_run.spec.id}@best", "--dry-run", "--write"]
    changed = ["--set", "search=null", "--arm", "none", "--output", str(output)]
    said = CliRunner().invoke(app, [*command, *changed])
    assert said.exit_code == 0, said.output
    laid = RunDir(Path(said.output.split()[-1])).spec
    best = kept_folder(kept_run.path, "best")
    assert laid.pretrained == file_hash(best / "open_clip_model.safetensors")


def test_curves_of_scores_are_frames_and_points(kept_run: Run) -> None:
    frame = kept_run.score_curve
    assert list(frame["step"]) == [3, 3, 6, 6, 9, 9, 10, 10]
    assert kept_run.directory.scores is not None
    last = [score.value for score in kept_run.directory.scores.primary().values()]
    assert list(frame[frame["step"] == 10]["score"]) == last
    assert list(frame["task"].unique()) == TASKS
    measured = kept_run.directory.curve()[1]
    assert list(frame[frame["step"] == 6]["score"]) == list(measured.scores.values())
    points = {(name, step): value for name, value, _, step in score_points(kept_run.directory)}
    assert points["during/tiny/colour", 6] == pytest.approx(100 * measured.scores["tiny/colour"])
    assert points["during/retrieval", 9] == points["during/tiny/retrieval", 9]


def test_what_is_stopped_while_it_is_measured_is_measured_later(tiny: TinyWorld, tmp_path: Path) -> None:
    spec, asked = spec_of(tiny, DURING), []

    def should_stop() -> bool:
        asked.append(0)
        return len(asked) > 4  # three steps, and the first question of the evaluation

    with pytest.raises(Interrupted):
        run_once(spec, runs_root=tmp_path / "stopped", device=CPU, should_stop=should_stop)
    (run,) = find_runs(tmp_path / "stopped", [spec.id]).values()
    assert run.curve() == []
    assert [path.name for path in run.state.iterdir()] == ["step-00000003"]
    trained(spec, tmp_path / "stopped")
    quiet = trained(spec, tmp_path / "quiet")
    assert numbers(run) == numbers(quiet)
    assert [one.scores for one in run.curve()] == [one.scores for one in quiet.curve()]


@pytest.mark.slow
def test_two_processes_share_what_is_measured(tiny: TinyWorld, tmp_path: Path) -> None:
    found = []
    for name, changed in (("looked", (DURING, KEEP)), ("quiet", ())):
        spec = spec_of(tiny, *changed)
        work_on(spec, tmp_path / name, devices=["cpu", "cpu"], threads=1, stop=Stop())
        found.append(find_runs(tmp_path / name, [spec.id])[spec.id])
    run, quiet = found
    assert numbers(run) == numbers(quiet)
    assert [one.step for one in run.curve()] == [3, 6, 9]
    alone = evaluate(load(run.checkpoint), suite_of(run.spec), out=tmp_path / "alone", checkpoint_sha256="a")
    assert numbers(run)[1] == [(one.task, one.metric, one.value, one.low, one.high) for one in alone.scores]
    assert not list(run.path.rglob("parts"))


def test_each_task_is_of_one_process_and_pictures_stay_together(tiny: TinyWorld, tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    text = tiny.suite.read_text().replace("data: ", f"data: {tiny.folder}/")
    path.write_text(
        text + f"- {{name: twin, data: {tiny.folder}/colour, protocol: zero_shot, group: more}}\n"
    )
    suite = load_suite(path)
    shares = [[task.name for task in meanwhile.share_of(suite, Ranks(rank, 3)).tasks] for rank in range(3)]
    assert sorted(shares) == [[], ["tiny/colour", "twin"], ["tiny/retrieval"]]


def test_randomness_stays_where_it_was(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(*_: Any, **__: Any) -> None:
        torch.rand(3), np.random.rand(3), random.random()

    monkeypatch.setattr(meanwhile, "evaluate", draw)
    suite = load_suite(tiny.suite)

    def states() -> list[str]:
        return [str(torch.get_rng_state().tolist()), str(np.random.get_state()), str(random.getstate())]

    before = states()
    meanwhile.measure_together(
        *(None, suite),  # type: ignore[arg-type]
        whole=suite,
        out=tmp_path,
        device=CPU,
        batch_size=1,
        sha256="",
        should_stop=lambda: False,
        ranks=Ranks(),
        step=0,
    )
    assert states() == before


@pytest.mark.parametrize(
    ("every", "steps"),
    [
        (0.25, [25, 50, 75]),
        (0.3, [30, 60, 90]),
        ("40 steps", [40, 80]),
        ("1 epoch", [7, 13, 20, 27, 33, 40, 47, 53, 60, 67, 73, 80, 87, 93]),  # of 6.67 steps
        ("8 epochs", [53]),
        (0.001, [*range(1, 100)]),
    ],
)
def test_how_often_is_said_in_shares_steps_or_epochs(every: float | str, steps: list[int]) -> None:
    training = TrainingConfig(samples=1500, batch_size=15)
    found = {step: n for step in range(1, 101) if (n := number_at(step, every, training, 100))}
    assert list(found) == steps
    assert list(found.values()) == [*range(1, len(steps) + 1)]
