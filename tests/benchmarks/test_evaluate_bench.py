"""Both sides of an evaluation: which command line is run, and what a difference leads to."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tinyworld import TinyWorld

from benchmarks import evaluate as both
from benchmarks import reference
from benchmarks.reference import Cost, ReferenceResult
from pgsbench.errors import ConfigError, EvaluationError, ModelError
from pgsbench.evaluation.evaluate import evaluate
from pgsbench.evaluation.protocols.compositional import Compositional
from pgsbench.evaluation.protocols.linear_probe import LinearProbe
from pgsbench.evaluation.protocols.retrieval import Retrieval
from pgsbench.evaluation.protocols.zero_shot import ZeroShot
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


def test_a_command_line_that_fails_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "_COMMAND_LINE", "raise ValueError('no such model')")
    with pytest.raises(EvaluationError, match=r"name: clip_benchmark's command line failed: .*Error"):
        reference.run(
            task(ZeroShot()), tmp_path, model="no-such-model", pretrained="", batch_size=8, workers=0
        )


def test_a_checkpoint_as_clip_benchmark_names_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints" / "model").mkdir(parents=True)
    assert both.as_open_clip_names_it(str(run)) == (f"local-dir:{run}/checkpoints/model", "")
    assert both.as_open_clip_names_it(str(tmp_path)) == (f"local-dir:{tmp_path}", "")
    assert both.as_open_clip_names_it("ViT-B-32:openai") == ("ViT-B-32", "openai")
    for other in ("no/such/folder", "runs:/1/model", "hf-hub:a/b"):
        with pytest.raises(ModelError, match="clip_benchmark takes a folder or a published model"):
            both.as_open_clip_names_it(other)


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

    monkeypatch.setattr(both, "_ours", ours)
    monkeypatch.setattr(reference, "run", lambda task, *_, **__: theirs[task.name])
    return theirs


def compared(tiny: TinyWorld, tmp_path: Path) -> both.SideBySide:
    return both.compare(
        str(tmp_path / "model"), str(tiny.suite), batch_size=64, workers=0, out=tmp_path / "ours"
    )


def test_equal_scores_and_both_times(
    measured: dict[str, ReferenceResult], tiny: TinyWorld, tmp_path: Path
) -> None:
    found = compared(tiny, tmp_path)
    assert list(both.score_table(found)["scores"]) == ["equal"] * (2 + 6)
    theirs, _, ratio = both.cost_table(found).itertuples(index=False)
    assert list(theirs) == ["clip_benchmark", 8.0, 6.0, 2]
    assert list(ratio)[:3] == ["ratio", 4.0, 6.0]


def test_a_difference_is_an_error(
    measured: dict[str, ReferenceResult], tiny: TinyWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = measured["tiny/colour"]
    measured["tiny/colour"] = ReferenceResult({**found.metrics, "acc1": found.metrics["acc1"] + 1e-5}, COST)
    with pytest.raises(EvaluationError, match=r"differ by more than ties \(got \['tiny/colour acc1'\]\)"):
        both.main(str(tmp_path / "model"), str(tiny.suite))
    assert "DIFFERENT" in capsys.readouterr().out


@pytest.mark.parametrize(("more", "different"), [(1, []), (2, ["tiny/colour acc1"])])
def test_ties_excuse_no_more_than_they_can_make(
    more: int,
    different: list[str],
    measured: dict[str, ReferenceResult],
    tiny: TinyWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report, cost = both._ours()  # type: ignore[call-arg]
    scores = tuple(replace(s, num_ties=1) if s.metric == "acc1" else s for s in report.scores)
    monkeypatch.setattr(both, "_ours", lambda *_: (replace(report, scores=scores), cost))
    found = measured["tiny/colour"]
    n = next(score.n for score in scores if score.metric == "acc1")
    changed = {**found.metrics, "acc1": found.metrics["acc1"] + more / n}
    measured["tiny/colour"] = ReferenceResult(changed, COST)
    assert compared(tiny, tmp_path).different == different


def test_a_made_up_set_has_the_shape_that_was_asked_for() -> None:
    with both.made_up("tiny-vit", "3x2x7") as (model, suite):
        scores = evaluate(open_model(model).clip, load_suite(suite), out=Path(model) / "out")
    assert {score.n for score in scores.scores} == {7}
    assert scores.num_texts == 3 * 2
    assert next(score.chance for score in scores.scores if score.metric == "acc1") == 1 / 3
    assert not Path(model).exists()


def test_a_shape_that_is_none() -> None:
    with (
        pytest.raises(ConfigError, match="a shape is CLASSESxTEMPLATESxPICTURES"),
        both.made_up("tiny-vit", "3x2"),
    ):
        pass


@pytest.mark.slow
def test_both_sides_as_a_user_runs_them(tiny: TinyWorld, tmp_path: Path) -> None:
    checkpoint.save(clip.build("tiny-vit", seed=0), tmp_path / "model")
    found = compared(tiny, tmp_path)
    assert list(both.score_table(found)["scores"]) == ["equal"] * (2 + 6)
    assert len(found.theirs) == 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_model_trained_on_scenes_scores_alike_on_all_of_their_suite(tmp_path: Path) -> None:
    def pgsbench(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pgsbench", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    trained = pgsbench("train", "baselines", "--arm", "pgs", "--seeds", "1", "--set", "training.samples=4096")
    assert trained.returncode == 0, trained.stderr
    (run,) = (tmp_path / "runs/baselines").glob("pgs-s0-*")
    table = both.score_table(both.compare(str(run), "scenes", batch_size=64, workers=0, out=tmp_path / "out"))
    assert table["task"].nunique() == 29
    # Some captions stand under two pictures, which tie when a picture asks for its caption.
    unlike = table[(table["scores"] != "equal") & ~table["metric"].str.startswith("text_recall_at_")]
    assert unlike.empty
