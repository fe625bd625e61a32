"""The contract of what an evaluation leaves on disk: scores, and the outcome of every item."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evalsets import counted, write_four

from pgsbench.data.evalset import read_split
from pgsbench.errors import DataError, EvaluationError
from pgsbench.evaluation.evaluate import evaluate
from pgsbench.evaluation.suite import Suite, first_items, load_suite
from pgsbench.models.clip import Clip
from pgsbench.records.scores import Scores


@pytest.fixture
def suite(data: Path, tmp_path: Path) -> Suite:
    return load_suite(write_four(data, tmp_path / "suite"))


def run(tiny: Clip, suite: Suite, out: Path, **more: Any) -> Scores:
    return evaluate(tiny, suite, out=out, batch_size=16, checkpoint_sha256="abc", **more)


def outcomes(out: Path, name: str) -> dict[str, np.ndarray]:
    with np.load(next(out.glob(f"outcomes/my__{name}.npz"))) as file:
        return dict(file)


def test_scores_as_json_and_as_a_table(tiny: Clip, suite: Suite, tmp_path: Path) -> None:
    report = run(tiny, suite, tmp_path / "out")
    content = json.loads((tmp_path / "out" / "scores.json").read_text())

    assert (content["suite"], content["suite_version"], content["checkpoint_sha256"]) == ("mine", 3, "abc")
    assert content["num_images"] == 60  # four tasks, the same pictures
    by_name = {(score["task"], score["metric"]): score for score in content["scores"]}
    assert by_name["my/two", "mean_per_class_recall"]["primary"]
    assert not by_name["my/two", "acc1"]["primary"]
    assert by_name["my/find", "image_recall_at_5"]["version"] == 2
    assert by_name["my/swap", "acc"]["chance"] == 0.4
    assert by_name["my/six", "acc5"]["chance"] == pytest.approx(5 / 6)
    primary = report.primary()
    assert list(primary) == ["my/six", "my/two", "my/find", "my/swap"]
    for score in content["scores"]:
        assert 0 <= score["low"] <= score["value"] <= score["high"] <= 1
    assert list(content["groups"]) == ["a", "b", "c"]
    assert content["groups"]["a"]["n_tasks"] == 2
    expected = (primary["my/six"].value + primary["my/two"].value) / 2
    assert content["groups"]["a"]["value"] == pytest.approx(expected)
    with (tmp_path / "out/scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["value"]) for row in rows] == [score.value for score in report.scores]
    assert json.dumps(asdict(Scores.read(tmp_path / "out"))) == json.dumps(asdict(report))
    with pytest.raises(EvaluationError, match="no readable scores here"):
        Scores.read(tmp_path / "elsewhere")


def test_per_sample_values_carry_the_scores(tiny: Clip, suite: Suite, tmp_path: Path) -> None:
    report = run(tiny, suite, tmp_path)
    for score in report.scores:
        task = score.task.replace("/", "__")
        assert score.per_sample == f"outcomes/{task}-{score.key[:16]}/{score.metric}.npz"
        with np.load(tmp_path / score.per_sample) as file:
            assert file["values"].dtype == np.float32
            assert file["values"].mean(dtype=np.float64) == pytest.approx(score.value, abs=1e-6)
            assert len(set(file["items"])) == len(file["items"]) == len(file["units"]) == score.n
    assert len(list(tmp_path.glob("outcomes/*/*.npz"))) == len(report.scores)
    found = outcomes(tmp_path, "find-*/image_recall_at_5")
    assert list(found["items"][:3]) == ["0000#0", "0001#0", "0001#1"]
    assert list(found["units"][:3]) == ["retrieval:0000", "retrieval:0001", "retrieval:0001"]


def test_outcomes_say_which_class_was_predicted_and_where_the_right_answer_ranks(
    tiny: Clip, suite: Suite, data: Path, tmp_path: Path
) -> None:
    run(tiny, suite, tmp_path)
    found = outcomes(tmp_path, "six-*/acc1")
    samples = dict(read_split(data / "classes"))
    labels = np.array([int(samples[item]["cls"]) for item in found["items"]])
    right, rank = found["correct"] == 1, found["rank"]
    assert (found["predicted"] == labels).tolist() == right.tolist() == (rank == 1).tolist()
    assert 2 < len(set(rank)) <= 6
    assert len(set(found["predicted"])) > 1
    for name, k in (("six-*/acc5", 5), ("find-*/image_recall_at_1", 1), ("find-*/text_recall_at_10", 10)):
        found = outcomes(tmp_path, name)
        assert ((found["rank"] <= k) == (found["correct"] == 1)).all()
        assert found["rank"].min() == 1


def test_an_item_is_shown_with_its_captions(suite: Suite, data: Path) -> None:
    protocol: Any = suite.tasks[2].protocol
    shown = protocol.show(data / "retrieval", {"0003", "0003#0"})
    assert shown["0003#0"].right in shown["0003"].right


def test_a_look_at_the_first_items_is_marked_and_stands_for_nothing_else(
    tiny: Clip, suite: Suite, tmp_path: Path
) -> None:
    whole = run(tiny, suite, tmp_path / "out")
    look = first_items(suite, 7)
    with counted(tiny.model) as seen:
        some = run(tiny, look, tmp_path / "look")
    assert seen["encode_image"] <= 4 * 7
    assert {score.n for score in some.scores if "image_recall" not in score.metric} == {7}
    assert all("a look at the first 7 items" in score.notes[-1] for score in some.scores)
    assert all(mean.marked for mean in some.groups.values())
    assert some.suite == "mine-first-7"
    assert some.suite_fingerprint != whole.suite_fingerprint
    after = run(tiny, suite, tmp_path / "look")  # where the look's results lie
    assert after == whole
    assert run(tiny, look, tmp_path / "out2", earlier=[tmp_path / "out"]).reused == ()


def test_missing_data_is_said_before_anything_is_encoded(tiny: Clip, suite: Suite, tmp_path: Path) -> None:
    def nothing(data: str) -> Path:
        return tmp_path / "none" / Path(data).name

    with pytest.raises(DataError, match=r"(?s)my/six.*my/two.*my/find.*my/swap"):
        run(tiny, suite, tmp_path / "out", data_folder=nothing, progress=lambda *_: pytest.fail("began"))
    assert not (tmp_path / "out").exists()
