"""The contract of what an evaluation leaves on disk."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pgsbench.errors import DataError, EvaluationError
from pgsbench.evaluation.evaluate import evaluate
from pgsbench.evaluation.suite import Suite, load_suite
from pgsbench.models.clip import Clip
from pgsbench.records.scores import Scores


@pytest.fixture
def suite(data: Path, tmp_path: Path) -> Suite:
    path = tmp_path / "mine.yaml"
    path.write_text(f"""
name: mine
version: 3
tasks:
  - {{name: my/six, data: {data}/classes, protocol: zero_shot, group: classes}}
  - {{name: my/two, data: {data}/two, protocol: zero_shot, group: classes, metric: mean_per_class_recall}}
  - {{name: my/find, data: {data}/retrieval, protocol: retrieval, group: retrieval, version: 2}}
  - {{name: my/swap, data: {data}/pairs, protocol: compositional, group: p, subset: swap_att, chance: 0.4}}
""")
    return load_suite(path)


def run(tiny: Clip, suite: Suite, out: Path, **more: Any) -> Scores:
    return evaluate(tiny, suite, out=out, batch_size=16, checkpoint_sha256="abc", **more)


def test_scores_json(tiny: Clip, suite: Suite, tmp_path: Path) -> None:
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
    assert [s.task for s in report.primary().values()] == ["my/six", "my/two", "my/find", "my/swap"]
    for score in content["scores"]:
        assert 0 <= score["low"] <= score["value"] <= score["high"] <= 1
    assert content["groups"]["classes"]["n_tasks"] == 2
    assert content["groups"]["classes"]["mean"] == "macro"
    primary = report.primary()
    assert content["groups"]["classes"]["value"] == pytest.approx(
        (primary["my/six"].value + primary["my/two"].value) / 2
    )
    assert list(content["groups"]) == ["classes", "retrieval", "p"]


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
    with np.load(next(tmp_path.glob("outcomes/my__find-*/image_recall_at_5.npz"))) as file:
        assert list(file["items"][:3]) == ["0000#0", "0001#0", "0001#1"]
        assert list(file["units"][:3]) == ["retrieval:0000", "retrieval:0001", "retrieval:0001"]


def test_a_report_reads_back(tiny: Clip, suite: Suite, tmp_path: Path) -> None:
    report = run(tiny, suite, tmp_path)
    again = Scores.read(tmp_path)
    assert json.dumps(asdict(again)) == json.dumps(asdict(report))
    with pytest.raises(EvaluationError, match="no readable scores here"):
        Scores.read(tmp_path / "elsewhere")


def test_the_same_evaluation_gives_the_same_bytes(tiny: Clip, suite: Suite, tmp_path: Path) -> None:
    for name in "ab":
        run(tiny, suite, tmp_path / name)
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert files
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_missing_data_is_said_before_anything_is_encoded(tiny: Clip, suite: Suite, tmp_path: Path) -> None:
    def nothing(data: str) -> Path:
        return tmp_path / "none" / Path(data).name

    with pytest.raises(DataError, match=r"(?s)my/six.*my/two.*my/find.*my/swap"):
        run(tiny, suite, tmp_path / "out", data_folder=nothing, progress=lambda *_: pytest.fail("began"))
    assert not (tmp_path / "out").exists()


def test_a_diverged_model_leaves_no_scores(tiny: Clip, suite: Suite, tmp_path: Path) -> None:
    scale = tiny.model.visual.ln_post.weight
    saved = scale.detach().clone()
    with torch.no_grad():
        scale.fill_(torch.inf)
    try:
        with pytest.raises(EvaluationError, match=r"my/six, image tower: .* not finite"):
            run(tiny, suite, tmp_path / "out")
    finally:
        with torch.no_grad():
            scale.copy_(saved)
    assert not (tmp_path / "out" / "scores.json").exists()


def test_a_task_without_its_metric(tiny: Clip, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"name: x\ntasks: [{{name: a, data: {data}/two, protocol: zero_shot, group: g, metric: acc5}}]"
    )
    with pytest.raises(EvaluationError, match=r"a: the task's metric was not measured .*\n.*acc1"):
        run(tiny, load_suite(path), tmp_path / "out")


def test_one_metric_twice_is_an_error(tiny: Clip, data: Path, tmp_path: Path) -> None:
    (tmp_path / "twice.py").write_text(
        "from dataclasses import dataclass\n"
        "from pgsbench.evaluation.protocols.zero_shot import ZeroShot\n"
        "@dataclass(frozen=True)\n"
        "class Twice(ZeroShot):\n"
        "    def measure(self, folder, encode):\n"
        "        found = list(super().measure(folder, encode))\n"
        "        return iter([*found, found[0]])\n"
    )
    path = tmp_path / "suite.yaml"
    path.write_text(
        f"name: x\ntasks: [{{name: a, data: {data}/classes, protocol: 'twice.py:Twice', group: g}}]"
    )
    with pytest.raises(EvaluationError, match="a: two measurements of one metric"):
        run(tiny, load_suite(path), tmp_path / "out")


def test_pictures_of_folders_of_one_name_are_told_apart(tiny: Clip, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    tasks = []
    for parent in ("p", "q"):
        shutil.copytree(data / "classes", tmp_path / parent / "set")
        tasks.append(f"{{name: {parent}, data: {parent}/set, protocol: zero_shot, group: g}}")
    path.write_text(f"name: x\ntasks: [{', '.join(tasks)}]")
    run(tiny, load_suite(path), tmp_path / "out")
    files = [next(tmp_path.glob(f"out/outcomes/{name}-*/acc1.npz")) for name in ("p", "q")]
    units = [np.load(file)["units"][0] for file in files]
    assert [unit.partition(":")[0] for unit in units] == ["p/set", "q/set"]
