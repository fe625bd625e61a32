"""What the file of a task says of each item, and a look at the first items only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from counting import counted

from pgsbench.data.evalset import read_split
from pgsbench.evaluation.evaluate import evaluate
from pgsbench.evaluation.ranking import ranks_of_right
from pgsbench.evaluation.suite import Suite, first_items, load_suite
from pgsbench.models.clip import Clip
from pgsbench.records.scores import Scores


@pytest.fixture
def suite(data: Path, tmp_path: Path) -> Suite:
    path = tmp_path / "mine.yaml"
    path.write_text(f"""
name: mine
tasks:
  - {{name: classes, data: "{data}/classes", protocol: zero_shot, group: a}}
  - {{name: find, data: "{data}/retrieval", protocol: retrieval, group: b}}
  - {{name: pairs, data: "{data}/pairs", protocol: compositional, subset: swap_att, group: b}}
""")
    return load_suite(path)


def run(tiny: Clip, suite: Suite, out: Path, **more: Any) -> Scores:
    return evaluate(tiny, suite, out=out, checkpoint_sha256="a" * 64, **more)


def test_zero_shot_says_which_class_was_predicted_and_where_the_true_one_ranks(
    tiny: Clip, suite: Suite, data: Path, tmp_path: Path
) -> None:
    run(tiny, suite, tmp_path / "out")
    with np.load(next(tmp_path.glob("out/outcomes/classes-*/acc1.npz"))) as file:
        predicted, rank, items, correct = (file[k] for k in ("predicted", "rank", "items", "correct"))
    samples = dict(read_split(data / "classes"))
    labels = np.array([int(samples[item]["cls"]) for item in items])

    assert (predicted == labels).tolist() == (correct == 1).tolist() == (rank == 1).tolist()
    assert set(rank) <= set(range(1, 7))
    assert len(set(predicted)) > 1
    assert len(set(rank)) > 2
    with np.load(next(tmp_path.glob("out/outcomes/classes-*/acc5.npz"))) as file:
        assert ((rank <= 5) == (file["correct"] == 1)).all()


def test_retrieval_says_where_the_first_right_answer_ranks(tiny: Clip, suite: Suite, tmp_path: Path) -> None:
    run(tiny, suite, tmp_path / "out")
    for direction in ("image", "text"):
        for k in (1, 10):
            with np.load(next(tmp_path.glob(f"out/outcomes/find-*/{direction}_recall_at_{k}.npz"))) as file:
                assert ((file["rank"] <= k) == (file["correct"] == 1)).all()
                assert file["rank"].min() >= 1


def test_the_nearest_candidates_hold_what_is_found_at_five(
    tiny: Clip, suite: Suite, data: Path, tmp_path: Path
) -> None:
    run(tiny, suite, tmp_path / "out")
    protocol: Any = suite.tasks[1].protocol
    for direction in ("image", "text"):
        with np.load(next(tmp_path.glob(f"out/outcomes/find-*/{direction}_recall_at_5.npz"))) as file:
            names = np.array(protocol.candidates(data / "retrieval", f"{direction}_recall_at_5"))
            pictures = np.char.partition(names[file["nearest"]], "#")[..., 0]
            own = np.char.partition(file["items"], "#")[:, :1]
            found = (pictures == own).any(axis=1)
            assert file["nearest"].shape == (len(own), 5)
            assert 0 < found.sum() < len(own)
            assert found[file["correct"] == 1].all()  # a tie may be near, and yet counts as wrong
    shown = protocol.show(data / "retrieval", {str(own[0, 0]), f"{own[0, 0]}#0"})
    assert shown[f"{own[0, 0]}#0"].right in shown[str(own[0, 0])].right


def test_a_reused_task_keeps_what_it_says_of_items(tiny: Clip, suite: Suite, tmp_path: Path) -> None:
    run(tiny, suite, tmp_path / "out")
    again = run(tiny, suite, tmp_path / "other", earlier=[tmp_path / "out"])
    assert len(again.reused) == 3
    for name in ("classes-*/acc1", "find-*/text_recall_at_5"):
        files = [next((tmp_path / where / "outcomes").glob(f"{name}.npz")) for where in ("out", "other")]
        first, second = map(np.load, files)
        assert sorted(first.files) == sorted(second.files)
        assert (first["rank"] == second["rank"]).all()


def test_a_look_at_the_first_items_is_marked_and_stands_for_nothing_else(
    tiny: Clip, suite: Suite, tmp_path: Path
) -> None:
    whole = run(tiny, suite, tmp_path / "out")
    look = first_items(suite, 7)
    with counted(tiny.model) as seen:
        some = run(tiny, look, tmp_path / "look")
    assert seen["encode_image"] <= 3 * 7
    assert {score.n for score in some.scores if "image_recall" not in score.metric} == {7}
    assert all("a look at the first 7 items" in score.notes[-1] for score in some.scores)
    assert all(mean.marked for mean in some.groups.values())
    assert some.suite == "mine-first-7"
    assert some.suite_fingerprint != whole.suite_fingerprint

    after = run(tiny, suite, tmp_path / "look")  # where the look's results lie
    assert after.reused == ()
    assert replace(after, reused=()) == whole
    assert run(tiny, look, tmp_path / "out2", earlier=[tmp_path / "out"]).reused == ()
    assert not any("look" in note for score in after.scores for note in score.notes)


def test_a_limit_beyond_the_set_is_still_marked(tiny: Clip, suite: Suite, tmp_path: Path) -> None:
    some = run(tiny, first_items(suite, 1000), tmp_path / "out")
    assert next(iter(some.scores)).n == 60
    assert all("first 1,000 items" in score.notes[-1] for score in some.scores)


def test_ranks_name_the_nearest_candidate() -> None:
    candidates = torch.eye(4)
    queries = torch.tensor([[0.1, 0.9, 0.2, 0.0], [0.5, 0.3, 0.2, 0.4]])
    ranks = ranks_of_right(queries, torch.tensor([1, 3]), candidates, torch.arange(4))
    assert ranks.nearest.tolist() == [1, 0]
    assert ranks.rank.tolist() == [1, 2]
