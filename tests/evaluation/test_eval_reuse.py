"""Nothing is measured twice, and nothing that changed is taken for the same."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evalsets import MINE, NOTHING, counted, run

from pgsbench.evaluation.evaluate import evaluate
from pgsbench.evaluation.suite import load_suite
from pgsbench.evaluation.task_results import is_measured
from pgsbench.models.clip import Clip

FOUR = ("my/six", "my/two", "my/find", "my/swap")
#: All but the task that the changes below concern.
OTHERS = ("my/six", "my/find", "my/swap")


def files(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_a_second_call_reuses_every_task_and_writes_the_same(tiny: Clip, suite: Path) -> None:
    first = run(tiny, suite)
    before = files(suite.parent / "out")
    with counted(tiny.model) as seen:
        second = run(tiny, suite)
    assert seen == NOTHING
    assert first.reused == ()
    assert second.reused == FOUR
    assert files(suite.parent / "out") == before
    run(tiny, suite, out=suite.parent / "again")  # measured anew
    assert files(suite.parent / "again").keys() == before.keys()
    again = files(suite.parent / "again")
    assert all(again[name] == content for name, content in before.items() if name != "scores.json")


@pytest.mark.parametrize(
    ("model", "more"),
    [
        (dict, {"checkpoint_sha256": "abd"}),
        (dict, {"autocast": torch.bfloat16}),
        (lambda tiny: {"model_cfg": tiny.model_cfg | {"quick_gelu": True}}, {}),
        (lambda tiny: {"preprocess_cfg": tiny.preprocess_cfg | {"interpolation": "bilinear"}}, {}),
        (lambda tiny: {"tokenize": lambda texts: tiny.tokenize([text.upper() + "x" for text in texts])}, {}),
    ],
)
def test_another_model_is_measured_anew(
    tiny: Clip, suite: Path, model: Callable[..., dict[str, Any]], more: dict[str, Any]
) -> None:
    run(tiny, suite)
    changed = model(tiny) if model is not dict else {}
    assert run(dataclasses.replace(tiny, **changed), suite, **more).reused == ()


def test_a_model_without_a_hash_is_never_known_again(tiny: Clip, suite: Path) -> None:
    run(tiny, suite, checkpoint_sha256="")
    assert run(tiny, suite, checkpoint_sha256="").reused == ()


def outcomes(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        path = next(folder.glob("out/outcomes/my__two-*/acc1.npz"))
        with np.load(path) as file:
            arrays = dict(file)
        np.savez(path, **arrays | change(arrays))

    return write


def cut_outcomes(folder: Path) -> None:
    path = next(folder.glob("out/outcomes/my__two-*/acc1.npz"))
    path.write_bytes(path.read_bytes()[:-60])


def damage_record(folder: Path) -> None:
    next(folder.glob("out/outcomes/my__two-*/task.json")).write_text('{"key": ')


def new_version(folder: Path) -> None:
    path = folder / "mine.yaml"
    path.write_text(path.read_text().replace("mean_per_class_recall", "acc1, version: 2"))


def new_time(folder: Path) -> None:
    os.utime(folder / "data/two/test/0.tar", ns=(0, 0))


def new_content(folder: Path) -> None:
    """Write an archive and set its size and time back: the time of its writing stays."""
    path = folder / "data/two/test/0.tar"
    before = path.stat()
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        cut_outcomes,
        outcomes(lambda a: {"values": 1 - a["values"]}),
        outcomes(lambda a: {name: a[name] * np.nan for name in ("values", "correct")}),
        damage_record,
        new_version,
        new_time,
        new_content,
    ],
)
def test_only_the_task_that_changed_is_measured_anew(
    tiny: Clip, suite: Path, change: Callable[[Path], None]
) -> None:
    first = run(tiny, suite)
    change(suite.parent)
    second = run(tiny, suite)
    assert second.reused == OTHERS
    assert [score.value for score in second.scores] == [score.value for score in first.scores]


def test_texts_are_known_by_content_whatever_their_time_of_change(tiny: Clip, suite: Path) -> None:
    run(tiny, suite)
    names = suite.parent / "data/two/classnames.txt"
    first, second = names.read_text().split("\n")[:2]
    before = names.stat()
    names.write_text(f"{second}\n{first}\n")
    os.utime(names, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run(tiny, suite).reused == OTHERS
    os.utime(names, ns=(0, 0))
    assert run(tiny, suite).reused == FOUR


def test_data_behind_a_link_are_data(tiny: Clip, suite: Path) -> None:
    split, elsewhere = suite.parent / "data/two/test", suite.parent / "elsewhere"
    split.rename(elsewhere)
    split.symlink_to(elsewhere)
    (elsewhere / "loop").symlink_to(suite.parent / "data")
    run(tiny, suite)
    assert run(tiny, suite).reused == FOUR
    os.utime(elsewhere / "0.tar", ns=(0, 0))
    assert run(tiny, suite).reused == OTHERS


def test_of_a_protocol_fields_and_code_count_and_not_which_metric_stands_for_it(
    tiny: Clip, suite: Path
) -> None:
    run(tiny, suite)
    text = suite.read_text()
    suite.write_text(text.replace("mean_per_class_recall", "acc1"))
    again = run(tiny, suite)
    assert (again.reused, again.primary()["my/two"].metric) == (FOUR, "acc1")
    suite.write_text(text.replace("protocol: retrieval", "protocol: retrieval, recall_at: [5, 7]"))
    assert run(tiny, suite).reused == ("my/six", "my/two", "my/swap")

    (suite.parent / "mine.py").write_text(MINE)
    task = "name: x\ntasks: [{name: a, data: data/two, protocol: 'mine.py:NAME', group: g, metric: acc1}]"
    for name, reused in (("Mine", ()), ("Mine", ("a",)), ("Yours", ())):
        suite.write_text(task.replace("NAME", name))
        assert run(tiny, suite).reused == reused
    (suite.parent / "mine.py").write_text(f"{MINE}# changed\n")
    assert run(tiny, suite).reused == ()


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
    assert is_measured(suite.parent / "out", before.suite_fingerprint)
    assert run(tiny, suite, checkpoint_sha256="other").reused == ()
    assert run(tiny, suite).reused == FOUR


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
    first = [next(suite.parent.glob(f"out/outcomes/{name}-*/acc1.npz")) for name in "pq"]
    assert [np.load(file)["units"][0].partition(":")[0] for file in first] == ["p/set", "q/set"]
