"""Nothing is measured twice, and nothing that changed is taken for the same."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import four_tasks
import numpy as np
import pytest
import torch
from counting import NOTHING, counted
from four_tasks import run

from pgsbench.errors import EvaluationError
from pgsbench.evaluation.evaluate import evaluate
from pgsbench.evaluation.protocols.retrieval import Retrieval
from pgsbench.evaluation.suite import load_suite
from pgsbench.evaluation.task_results import are_whole
from pgsbench.models.clip import Clip


@pytest.fixture
def suite(data: Path, tmp_path: Path) -> Path:
    return four_tasks.write(data, tmp_path)


def files(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_a_second_call_reuses_every_task_and_writes_the_same(tiny: Clip, suite: Path) -> None:
    first = run(tiny, suite)
    before = files(suite.parent / "out")
    with counted(tiny.model) as seen:
        second = run(tiny, suite)
    assert seen == NOTHING
    assert first.reused == ()
    assert second.reused == ("my/six", "my/two", "my/find", "my/swap")
    assert files(suite.parent / "out") == before
    assert {"scores.csv", "scores.json"} <= set(before)


def test_a_killed_evaluation_goes_on(tiny: Clip, suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = Retrieval.measure

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Retrieval, "measure", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tiny, suite)
    assert not (suite.parent / "out" / "scores.json").exists()
    monkeypatch.setattr(Retrieval, "measure", measure)
    continued = run(tiny, suite)
    assert continued.reused == ("my/six", "my/two")
    whole = run(tiny, suite, out=suite.parent / "whole")
    assert continued.scores == whole.scores
    assert continued.groups == whole.groups


@pytest.mark.parametrize("more", [{"checkpoint_sha256": "abd"}, {"autocast": torch.bfloat16}])
def test_another_model_is_measured_anew(tiny: Clip, suite: Path, more: dict[str, Any]) -> None:
    run(tiny, suite)
    assert run(tiny, suite, **more).reused == ()


@pytest.mark.parametrize(
    "more",
    [
        {"model_cfg": {"quick_gelu": True}},
        {"preprocess_cfg": {"interpolation": "bilinear"}},
    ],
)
def test_equal_weights_in_another_model_are_measured_anew(
    tiny: Clip, suite: Path, more: dict[str, dict[str, Any]]
) -> None:
    run(tiny, suite)
    changed = {name: getattr(tiny, name) | fields for name, fields in more.items()}
    assert run(dataclasses.replace(tiny, **changed), suite).reused == ()


def test_a_model_without_a_hash_is_never_known_again(tiny: Clip, suite: Path) -> None:
    run(tiny, suite, checkpoint_sha256="", cache=suite.parent / "cache")
    assert run(tiny, suite, checkpoint_sha256="").reused == ()
    assert not (suite.parent / "cache").exists()


def damage_outcomes(folder: Path) -> None:
    path = next(folder.glob("out/outcomes/my__two-*/acc1.npz"))
    path.write_bytes(path.read_bytes()[:-60])


def other_values(folder: Path) -> None:
    path = next(folder.glob("out/outcomes/my__two-*/acc1.npz"))
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **arrays | {"values": 1 - arrays["values"]})


def outcomes_that_are_none(folder: Path) -> None:
    path = next(folder.glob("out/outcomes/my__two-*/acc1.npz"))
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **arrays | {name: arrays[name] * np.nan for name in ("values", "correct")})


def damage_record(folder: Path) -> None:
    next(folder.glob("out/outcomes/my__two-*/task.json")).write_text('{"key": ')


def new_version(folder: Path) -> None:
    path = folder / "mine.yaml"
    path.write_text(path.read_text().replace("mean_per_class_recall", "acc1, version: 2"))


def new_data(folder: Path) -> None:
    path = folder / "data/two/test/0.tar"
    os.utime(path, ns=(0, 0))


@pytest.mark.parametrize(
    "change",
    [damage_outcomes, other_values, outcomes_that_are_none, damage_record, new_version, new_data],
)
def test_only_the_task_that_changed_is_measured_anew(
    tiny: Clip, suite: Path, change: Callable[[Path], None]
) -> None:
    first = run(tiny, suite)
    change(suite.parent)
    second = run(tiny, suite)
    assert second.reused == ("my/six", "my/find", "my/swap")
    assert [score.value for score in second.scores] == [score.value for score in first.scores]


def test_data_behind_a_link_are_data(tiny: Clip, suite: Path) -> None:
    split, elsewhere = suite.parent / "data/two/test", suite.parent / "elsewhere"
    split.rename(elsewhere)
    split.symlink_to(elsewhere)
    (elsewhere / "loop").symlink_to(suite.parent / "data")
    run(tiny, suite)
    assert "my/two" in run(tiny, suite).reused
    os.utime(elsewhere / "0.tar", ns=(0, 0))
    assert run(tiny, suite).reused == ("my/six", "my/find", "my/swap")


def test_another_field_of_the_protocol_is_another_task(tiny: Clip, suite: Path) -> None:
    run(tiny, suite)
    suite.write_text(
        suite.read_text().replace("protocol: retrieval", "protocol: retrieval, recall_at: [5, 7]")
    )
    report = run(tiny, suite)
    assert "my/find" not in report.reused
    assert "image_recall_at_7" in {score.metric for score in report.scores}


def test_another_primary_metric_needs_no_measuring(tiny: Clip, suite: Path) -> None:
    run(tiny, suite)
    suite.write_text(suite.read_text().replace("mean_per_class_recall", "acc1"))
    report = run(tiny, suite)
    assert len(report.reused) == 4
    assert report.primary()["my/two"].metric == "acc1"


def test_a_result_never_stands_beside_the_outcomes_of_another_model(
    tiny: Clip, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(tiny, suite)
    original = Path.replace

    def dies(self: Path, target: Path) -> Path:
        if target.name == "task.json":
            raise KeyboardInterrupt
        return original(self, target)

    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        run(tiny, suite, checkpoint_sha256="other")
    monkeypatch.undo()
    assert are_whole(suite.parent / "out", before)
    assert run(tiny, suite, checkpoint_sha256="other").reused == ()
    assert len(run(tiny, suite).reused) == 4


def test_a_protocol_whose_code_changed_is_measured_anew(tiny: Clip, suite: Path) -> None:
    code = (
        "from dataclasses import dataclass\n"
        "from pgsbench.evaluation.protocols.zero_shot import ZeroShot\n"
        "@dataclass(frozen=True)\n"
        "class Mine(ZeroShot):\n"
        "    pass\n"
    )
    (suite.parent / "mine.py").write_text(code)
    suite.write_text(
        "name: x\ntasks: [{name: a, data: data/two, protocol: 'mine.py:Mine', group: g, metric: acc1}]"
    )
    assert run(tiny, suite).reused == ()
    assert run(tiny, suite).reused == ("a",)
    (suite.parent / "mine.py").write_text(code + "\n# changed\n")
    assert run(tiny, suite).reused == ()


def test_another_class_of_the_same_file_is_another_protocol(tiny: Clip, suite: Path) -> None:
    (suite.parent / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from pgsbench.evaluation.protocols.zero_shot import ZeroShot\n"
        "@dataclass(frozen=True)\n"
        "class One(ZeroShot):\n    pass\n"
        "@dataclass(frozen=True)\n"
        "class Two(ZeroShot):\n    pass\n"
    )
    for name in ("One", "Two"):
        suite.write_text(
            "name: x\n"
            f"tasks: [{{name: a, data: data/two, protocol: 'mine.py:{name}', group: g, metric: acc1}}]"
        )
        assert run(tiny, suite).reused == ()


def test_texts_are_known_by_content_whatever_their_time_of_change(tiny: Clip, suite: Path) -> None:
    run(tiny, suite)
    names = suite.parent / "data/two/classnames.txt"
    first, second = names.read_text().split("\n")[:2]
    before = names.stat()
    names.write_text(f"{second}\n{first}\n")
    os.utime(names, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert names.stat().st_size == before.st_size
    assert "my/two" not in run(tiny, suite).reused
    os.utime(names, ns=(0, 0))
    assert "my/two" in run(tiny, suite).reused


def test_cached_embeddings_serve_another_protocol_without_a_forward_pass(
    tiny: Clip, suite: Path, data: Path
) -> None:
    cache = suite.parent / "cache"
    first = run(tiny, suite, cache=cache)
    other = suite.with_name("other.yaml")
    other.write_text(f"""
name: other
tasks:
  - {{name: all, data: {data}/retrieval, protocol: retrieval, group: a, recall_at: [2, 3],
     metric: text_recall_at_2}}
  - {{name: six, data: {data}/classes, protocol: zero_shot, group: b}}
""")
    with counted(tiny.model) as seen:
        cached = run(tiny, other, cache=cache, out=suite.parent / "other")
    assert seen == NOTHING
    assert cached.num_images == 60
    values = {(score.task, score.metric): score.value for score in cached.scores}
    assert values["six", "acc1"] == first.primary()["my/six"].value
    plain = run(tiny, other, out=suite.parent / "plain")
    assert plain.scores == cached.scores


def test_an_archive_of_the_same_size_and_time_is_known_by_the_time_of_its_writing(
    tiny: Clip, suite: Path
) -> None:
    run(tiny, suite)
    archive = suite.parent / "data/two/test/0.tar"
    before = archive.stat()
    archive.write_bytes(archive.read_bytes())
    os.utime(archive, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "my/two" not in run(tiny, suite).reused


def test_another_tokenizer_is_another_model(tiny: Clip, suite: Path) -> None:
    run(tiny, suite)
    other = dataclasses.replace(
        tiny, tokenize=lambda texts: tiny.tokenize([text.upper()[::-1] for text in texts])
    )
    assert run(other, suite).reused == ()


def test_scores_under_a_mask_say_so_and_pass_for_no_others(tiny: Clip, suite: Path) -> None:
    mask = {"name": "flip", "mask_ratio": 0.5, "seed": 0}
    assert run(tiny, suite, mask=mask).checkpoint_sha256 == "abc"
    assert json.loads((suite.parent / "out/scores.json").read_text())["mask"] == mask
    assert run(tiny, suite, mask=mask).reused == ()
    whole = run(tiny, suite)
    assert whole.reused == ()
    assert whole.mask is None


def test_a_failed_task_leaves_no_record(tiny: Clip, suite: Path) -> None:
    suite.write_text(
        "name: x\ntasks: [{name: a, data: data/two, protocol: zero_shot, group: g, metric: acc5}]"
    )
    with pytest.raises(EvaluationError):
        run(tiny, suite)
    assert not (suite.parent / "out").exists()


def test_parts_are_joined_where_folders_share_their_last_name(tiny: Clip, suite: Path) -> None:
    for parent in "pq":
        shutil.copytree(suite.parent / "data/two", suite.parent / parent / "set")
    tasks = [f"{{name: {name}, data: {name}/set, protocol: zero_shot, group: g}}" for name in "pq"]
    suite.write_text(f"name: x\ntasks: [{', '.join(tasks)}]")
    whole = load_suite(suite)
    folders = [suite.parent / name for name in ("part-1", "part-2")]
    for folder, task in zip(folders, whole.tasks, strict=True):
        part = dataclasses.replace(whole, tasks=(task,))
        evaluate(tiny, part, out=folder, checkpoint_sha256="abc", batch_size=16, part_of=whole)
    assert run(tiny, suite, earlier=folders).reused == ("p", "q")


def test_scores_csv(tiny: Clip, suite: Path) -> None:
    import csv

    report = run(tiny, suite)
    with (suite.parent / "out/scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["task"], row["metric"]) for row in rows] == [(s.task, s.metric) for s in report.scores]
    assert [float(row["value"]) for row in rows] == [score.value for score in report.scores]
    assert rows[0]["notes"] == "2 of 6 classes have no picture"
    assert set(rows[0]) == set(json.loads((suite.parent / "out/scores.json").read_text())["scores"][0])
