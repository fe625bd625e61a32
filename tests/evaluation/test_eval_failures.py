"""What goes wrong or is stopped in the middle of an evaluation, and how far it has come by then."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from counting import counted
from four_tasks import run

from pgsbench.data.tar import EncodedImage
from pgsbench.errors import ConfigError, DataError, EvaluationError, Interrupted, RunError
from pgsbench.evaluation import task_results
from pgsbench.evaluation.availability import DAMAGED, MISSING, survey
from pgsbench.evaluation.embed import Preprocess
from pgsbench.evaluation.suite import load_suite
from pgsbench.evaluation.task_data import locate
from pgsbench.models.clip import Clip
from pgsbench.records.scores import Scores
from pgsbench.reporting import study_frames


@pytest.fixture
def suite(data: Path, tmp_path: Path) -> Path:
    shutil.copytree(data, tmp_path / "data")
    path = tmp_path / "mine.yaml"
    path.write_text("""
name: mine
tasks:
  - {name: my/six, data: data/classes, protocol: zero_shot, group: a}
  - {name: my/find, data: data/retrieval, protocol: retrieval, group: b}
  - {name: my/swap, data: data/pairs, protocol: compositional, group: c, subset: swap_att}
""")
    return path


# ------------------------------------------------------------------------------------- stop and progress


def test_progress_moves_with_pictures_and_texts(
    tiny: Clip, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgsbench.evaluation.evaluate.QUIET_SECONDS", 0.0)
    told: list[tuple[str, int, int]] = []
    run(tiny, suite, progress=lambda *step: told.append(step))
    assert [step for step in told if step[0] == "tasks"] == [("tasks", i, 3) for i in range(4)]
    pictures = [step for step in told if step[0] == "my/six: pictures"]
    assert pictures == [("my/six: pictures", done, 60) for done in (16, 32, 48, 60)]
    assert ("my/six: texts", 16, 18) in told
    assert ("my/six: texts", 18, 18) in told
    # Encoded before, and yet read: these count, too.
    assert [step for step in told if step[0] == "my/find: pictures"][-1] == ("my/find: pictures", 60, 60)


def test_a_quick_task_shows_no_progress_of_its_own(
    tiny: Clip, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgsbench.evaluation.evaluate.QUIET_SECONDS", 1000.0)
    told: list[str] = []
    run(tiny, suite, progress=lambda what, *_: told.append(what))
    assert set(told) == {"tasks"}


@pytest.mark.parametrize("batches", [0, 1, 3, 6])
def test_an_evaluation_stops_between_two_batches(batches: int, tiny: Clip, suite: Path) -> None:
    with counted(tiny.model) as seen:
        with pytest.raises(Interrupted):
            run(tiny, suite, should_stop=lambda: sum(seen.values()) >= 16 * batches)
        assert sum(seen.values()) <= 16 * (batches + 1)
    assert not (suite.parent / "out" / "scores.json").exists()
    done = {path.parent.name.rpartition("-")[0] for path in suite.parent.glob("out/outcomes/*/task.json")}
    assert done == ({"my__six"} if batches == 6 else set())
    assert [name.replace("/", "__") for name in run(tiny, suite).reused] == sorted(done)


# ---------------------------------------------------------------------------------- protocols of the user


PROTOCOL = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Mine:
    primary = "acc"

    @property
    def requires(self):
        return REQUIRES

    def count_items(self, folder):
        return COUNT

    def measure(self, folder, encode):
        yield MEASURE
"""


@pytest.fixture
def of_mine(suite: Path) -> Callable[..., Path]:
    def write(*, requires: str = "()", count: str = "1", measure: str = "None") -> Path:
        code = PROTOCOL.replace("REQUIRES", requires).replace("COUNT", count).replace("MEASURE", measure)
        (suite.parent / "mine.py").write_text(code)
        suite.write_text(
            "name: mine\ntasks:\n  - {name: my/own, data: data/classes, protocol: 'mine.py:Mine', group: a}\n"
        )
        return suite

    return write


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (
            {"measure": "[].pop()"},
            r"mine\.py:Mine failed: IndexError: pop from empty list\n.*mine\.py:16: yield",
        ),
        ({"measure": "encode.texts(3)"}, r"failed: TypeError: .*\n.*mine\.py:16: yield encode"),
        ({"measure": "37"}, r"failed: TypeError: it yields int where a Measurement is due"),
    ],
)
def test_a_protocol_that_raises_is_named(broken, said: str, tiny: Clip, of_mine: Callable[..., Path]) -> None:
    with pytest.raises(EvaluationError, match=rf"^my/own: the protocol .*{said}") as found:
        run(tiny, of_mine(**broken))
    assert isinstance(found.value.__cause__, (IndexError, TypeError))


def test_a_protocol_that_cannot_say_what_it_requires(of_mine: Callable[..., Path]) -> None:
    suite = of_mine(requires="1 / 0")
    with pytest.raises(ConfigError, match=r"mine\.yaml:3: tasks\.0: .*ZeroDivisionError"):
        load_suite(suite)


def test_a_protocol_that_cannot_count(of_mine: Callable[..., Path]) -> None:
    (found,) = survey(load_suite(of_mine(count="folder.x")))
    assert found.state == DAMAGED
    assert "mine.py:Mine failed: AttributeError" in found.problem


def test_a_bug_of_a_built_in_protocol_keeps_its_traceback(
    tiny: Clip, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgsbench.evaluation.protocols.zero_shot.class_embeddings", lambda *_: [].pop())
    with pytest.raises(IndexError):
        run(tiny, suite)


@pytest.mark.parametrize(
    ("task", "metric", "valid"),
    [
        ("data: data/classes, protocol: zero_shot", "acc_1", "did you mean 'acc1'"),
        ("data: data/retrieval, protocol: retrieval, recall_at: [1]", "text_recall_at_5", "text_recall_at_1"),
        ("data: data/pairs, protocol: compositional, subset: swap_att", "text_acc", "valid: acc"),
        ("data: data/pairs, protocol: winoground", "group_acc", "valid: acc, image_acc, text_acc"),
        ("data: data/classes, protocol: multilabel", "map", "valid: mean_average_precision"),
        ("data: data/classes, protocol: linear_probe", "acc1", "did you mean 'lp_acc1'"),
    ],
)
def test_a_misspelt_metric_is_told_when_the_suite_is_read(
    task: str, metric: str, valid: str, suite: Path
) -> None:
    suite.write_text(f"name: x\ntasks:\n  - {{name: a, {task}, group: g, metric: {metric}}}\n")
    with pytest.raises(ConfigError, match=rf"tasks\.0\.metric: \w+ does not measure this.*\n.*{valid}"):
        load_suite(suite)


# ------------------------------------------------------------------------------------ pictures and disks


@pytest.mark.parametrize("size", [(500, 1), (1, 500)])
def test_a_picture_that_the_transform_rejects(
    size: tuple[int, int], tiny: Clip, make_picture: Callable[..., EncodedImage]
) -> None:
    prepare = Preprocess(tiny.preprocess_cfg | {"resize_mode": "longest"})
    with pytest.raises(
        DataError, match=rf"^odd\.png: .*cannot be brought.*got '{size[0]} x {size[1]} pixels'"
    ):
        prepare([("odd.png", make_picture(0, size))])


@pytest.mark.parametrize("name", ["acc1.npz", "task.json", "scores.json"])
def test_a_full_disk_is_said(name: str, tiny: Clip, suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Path.open

    def full(self: Path, mode: str = "r", *args: Any, **more: Any) -> Any:
        if "w" in mode and name in str(self):
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(self, mode, *args, **more)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DataError, match=r"out: results cannot be written here: No space left.*\n.*make room"):
        run(tiny, suite)
    monkeypatch.undo()
    assert len(run(tiny, suite).reused) == (3 if name == "scores.json" else 0)


@pytest.mark.parametrize(
    ("data", "way_out"),
    [
        ("nowhere/at/all", "put your own folders where the suite's file says"),
        ("clip_benchmark:mnist", "`pgsbench data fetch x` fetches public data sets"),
        ("scenes:shape", "`pgsbench data make NAME` makes the generated data sets"),
    ],
)
def test_the_way_out_is_for_the_data_that_is_missing(
    data: str, way_out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSBENCH_DATA", str(tmp_path / "root"))
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: x\ntasks:\n  - {{name: a, data: '{data}', protocol: zero_shot, group: g}}\n")
    with pytest.raises(DataError) as found:
        locate(load_suite(path))
    assert found.value.way_out.startswith(way_out)
    assert "; " not in found.value.way_out
    (state,) = survey(load_suite(path))
    assert state.state == MISSING


# ------------------------------------------------------------------------------- two models in one folder


def test_outcomes_of_another_model_are_never_read_as_ones_own(tiny: Clip, suite: Path) -> None:
    run(tiny, suite)
    run(tiny, suite, checkpoint_sha256="other", out=suite.parent / "other")
    ours, theirs = (next(suite.parent.glob(f"{x}/outcomes/my__six-*/acc1.npz")) for x in ("out", "other"))
    shutil.copy(theirs, ours)
    task = load_suite(suite).tasks[0]
    scores = Scores.read(suite.parent / "out")
    key = scores.primary()["my/six"].key
    assert task_results.read(suite.parent / "out", task, key) is None
    with pytest.raises(RunError, match="belong to another evaluation than the scores beside them"):
        study_frames.primary_values(suite.parent / "out", scores.scores)
    assert run(tiny, suite).reused == ("my/find", "my/swap")
