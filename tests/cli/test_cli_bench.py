"""Both sides of `bench eval`: which command line is run, and what a difference leads to."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from test_cli_errors import call
from tinyworld import TinyWorld

from pgsbench.errors import ConfigError, EvaluationError, ModelError
from pgsbench.evaluation import reference, side_by_side
from pgsbench.evaluation.evaluate import evaluate
from pgsbench.evaluation.protocols.compositional import Compositional
from pgsbench.evaluation.protocols.linear_probe import LinearProbe
from pgsbench.evaluation.protocols.retrieval import Retrieval
from pgsbench.evaluation.protocols.zero_shot import ZeroShot
from pgsbench.evaluation.reference import Cost, ReferenceResult, timed
from pgsbench.evaluation.suite import Task, load_suite
from pgsbench.evaluation.task_data import data_folder
from pgsbench.models import checkpoint, clip
from pgsbench.models.source import open_model
from pgsbench.records.scores import Scores

COST = Cost(seconds=4.0, cpu_seconds=3.0)


def task(protocol) -> Task:
    return Task("name", "data", protocol, "protocol", "metric", "group")


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        (
            ZeroShot(split="val"),
            "--dataset wds/x --dataset_root /d --task zeroshot_classification --split val",
        ),
        (
            Retrieval((1, 7)),
            "--dataset wds/x --dataset_root /d --task zeroshot_retrieval --split test --recall_k 1 7",
        ),
        (
            Compositional("swap_obj"),
            "--dataset sugar_crepe/swap_obj --dataset_root /d --task image_caption_selection",
        ),
    ],
)
def test_a_task_as_clip_benchmark_names_it(protocol, words: str) -> None:
    assert reference.arguments(task(protocol), Path("/d")) == words.split()


def test_the_folder_of_a_relative_suite_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(
        "name: mine\ntasks: [{name: a, data: sets/a, protocol: zero_shot, group: g}]"
    )
    (known,) = load_suite("mine.yaml").tasks
    words = reference.arguments(known, data_folder(known.data))
    assert words
    assert words[words.index("--dataset_root") + 1] == str(tmp_path / "sets/a")


@pytest.mark.parametrize("protocol", [LinearProbe(), Compositional("mine")])
def test_a_task_that_clip_benchmark_lacks(protocol) -> None:
    assert reference.arguments(task(protocol), Path("/d")) is None


def test_a_command_line_that_fails_is_said(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"name: clip_benchmark's command line failed: .*Error"):
        reference.run(
            task(ZeroShot()), tmp_path, model="no-such-model", pretrained="", batch_size=8, workers=0
        )


def test_processor_time_is_not_wall_time() -> None:
    _, slept = timed([sys.executable, "-c", "import time; time.sleep(1)"])
    done, worked = timed([sys.executable, "-c", "print(sum(range(10**7)))"])
    assert slept.seconds > 1 > slept.cpu_seconds
    assert worked.cpu_seconds > slept.cpu_seconds
    assert done.stdout.strip() == str(10**7 * (10**7 - 1) // 2)


def test_a_checkpoint_as_clip_benchmark_names_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints" / "model").mkdir(parents=True)
    assert side_by_side.as_open_clip_names_it(str(run)) == (f"local-dir:{run}/checkpoints/model", "")
    assert side_by_side.as_open_clip_names_it(str(tmp_path)) == (f"local-dir:{tmp_path}", "")
    assert side_by_side.as_open_clip_names_it("ViT-B-32:openai") == ("ViT-B-32", "openai")
    for other in ("no/such/folder", "runs:/1/model", "hf-hub:a/b"):
        with pytest.raises(ModelError, match="clip_benchmark takes a folder or a published model"):
            side_by_side.as_open_clip_names_it(other)


@pytest.fixture
def measured(tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, ReferenceResult]:
    """Our side measured in this process; theirs says the same, which a test may change."""
    model = clip.build("tiny-vit", seed=0)
    checkpoint.save(model, tmp_path / "model")
    report = evaluate(model, load_suite(tiny.suite), out=tmp_path / "out")
    theirs = {
        name: ReferenceResult({s.metric: s.value + 5e-7 for s in report.scores if s.task == name}, COST)
        for name in ("tiny/colour", "tiny/retrieval")
    }

    def ours(*_: object) -> tuple[Scores, Cost]:
        return report, Cost(2.0, 1.0)

    monkeypatch.setattr(side_by_side, "_ours", ours)
    monkeypatch.setattr(reference, "run", lambda task, *_, **__: theirs[task.name])
    return theirs


def test_equal_scores_and_both_times(
    measured: dict[str, ReferenceResult],
    tiny: TinyWorld,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["bench", "eval", str(tmp_path / "model"), "--suite", str(tiny.suite)]
    status, out, err = call(capsys, monkeypatch, *words)
    assert status == 0, err
    assert out.count("equal") == 2 + 6
    assert re.search(r"clip_benchmark +8\.0 +6\.0 +2\n", out)
    assert out.split()[-3:] == ["ratio", "4.0", "6.0"]


def test_a_difference_is_an_error(
    measured: dict[str, ReferenceResult],
    tiny: TinyWorld,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = measured["tiny/colour"]
    measured["tiny/colour"] = ReferenceResult({**found.metrics, "acc1": found.metrics["acc1"] + 1e-5}, COST)
    words = ["bench", "eval", str(tmp_path / "model"), "--suite", str(tiny.suite)]
    status, out, err = call(capsys, monkeypatch, *words)
    assert status == 2
    assert "DIFFERENT" in out
    assert "1 scores differ by more than ties (got ['tiny/colour acc1'])" in err


@pytest.mark.parametrize(("more", "status"), [(1, 0), (2, 2)])
def test_ties_excuse_no_more_than_they_can_make(
    more: int,
    status: int,
    measured: dict[str, ReferenceResult],
    tiny: TinyWorld,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report, cost = side_by_side._ours()  # type: ignore[call-arg]
    scores = tuple(replace(s, num_ties=1) if s.metric == "acc1" else s for s in report.scores)
    monkeypatch.setattr(side_by_side, "_ours", lambda *_: (replace(report, scores=scores), cost))
    found = measured["tiny/colour"]
    n = next(score.n for score in scores if score.metric == "acc1")
    changed = {**found.metrics, "acc1": found.metrics["acc1"] + more / n}
    measured["tiny/colour"] = ReferenceResult(changed, COST)
    words = ["bench", "eval", str(tmp_path / "model"), "--suite", str(tiny.suite)]
    assert call(capsys, monkeypatch, *words)[0] == status


def test_a_made_up_set_has_the_shape_that_was_asked_for() -> None:
    with side_by_side.made_up("tiny-vit", "3x2x7") as (model, suite):
        scores = evaluate(open_model(model).clip, load_suite(suite), out=Path(model) / "out")
    assert {score.n for score in scores.scores} == {7}
    assert scores.num_texts == 3 * 2
    assert next(score.chance for score in scores.scores if score.metric == "acc1") == 1 / 3
    assert not Path(model).exists()


@pytest.mark.parametrize("shape", ["3x2", "1x2x3", "3x0x7", "imagenet"])
def test_a_shape_that_is_none(shape: str) -> None:
    with (
        pytest.raises(ConfigError, match="a shape is CLASSESxTEMPLATESxPICTURES"),
        side_by_side.made_up("tiny-vit", shape),
    ):
        pass


@pytest.mark.slow
def test_both_sides_as_a_user_runs_them(
    tiny: TinyWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(clip.build("tiny-vit", seed=0), tmp_path / "model")
    words = ["bench", "eval", str(tmp_path / "model"), "--suite", str(tiny.suite)]
    status, out, err = call(capsys, monkeypatch, *words)
    assert status == 0, err
    assert out.count("equal") == 2 + 6
    assert re.search(r"clip_benchmark +[\d.]+ +[\d.]+ +2\n", out)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_model_trained_on_scenes_scores_alike_on_all_of_their_suite(tmp_path: Path) -> None:
    def pgsbench(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pgsbench", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    trained = pgsbench("train", "baselines", "--arm", "pgs", "--seeds", "1", "--set", "training.samples=4096")
    assert trained.returncode == 0, trained.stderr
    (run,) = (tmp_path / "runs/baselines").glob("pgs-s0-*")
    done = pgsbench("bench", "eval", str(run), "--suite", "scenes")
    assert done.returncode == 0, done.stderr  # 2: a score differs by more than ties can make
    rows = [line for line in done.stdout.splitlines() if line.startswith("scenes/")]
    assert len({row.split()[0] for row in rows}) == 29
    # Some captions stand under two pictures, which tie when a picture asks for its caption.
    assert [row for row in rows if not row.endswith("equal") and " text_recall_at_" not in row] == []
