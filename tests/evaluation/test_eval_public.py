"""Public data sets by name: where they lie, what is missing, and sizes that are not right."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
from clip_benchmark.datasets.builder import dataset_collection, get_dataset_default_task
from evalsets import classes, states, suite_of

from pgsbench.data import public
from pgsbench.evaluation.evaluate import evaluate
from pgsbench.evaluation.suite import load_suite
from pgsbench.evaluation.task_data import DAMAGED, MISSING, PRESENT, WRONG_SIZE, survey
from pgsbench.models.clip import Clip


def test_the_catalogue_knows_clip_benchmarks_collections() -> None:
    for name in ("vtab", "vtab+", "retrieval", "imagenet_robustness", "sugar_crepe"):
        members = tuple(name for name in dataset_collection[name] if name != "voc2007_multilabel")
        assert public.collection(name) == members
        for member in members:
            known = public.lookup(member)
            assert known.name == member
            assert known.size is not None
            is_retrieval = get_dataset_default_task(member) == "zeroshot_retrieval"
            assert is_retrieval == (member in dataset_collection["retrieval"])


def test_the_size_of_the_test_split_is_known(tmp_path: Path) -> None:
    other = suite_of(tmp_path, classes("mnist"), classes("cars", split="train"), classes("dtd", size=47))
    assert [task.size for task in other.tasks] == [10_000, None, 47]  # of another split it is not known


def test_status_of_sets_in_every_state(root: Path, data: Path, tmp_path: Path) -> None:
    for name in ("wds_mine", "wds_mnist", "wds_stl10", "wds_cars"):
        shutil.copytree(data / "classes", root / name)
    (root / "wds_stl10" / "classnames.txt").unlink()
    shard = root / "wds_cars" / "test" / "1.tar"
    shard.write_bytes(shard.read_bytes()[:600])
    (root / "wds_cars" / "test" / "nshards.txt").write_text("2\n")
    scenes = '{name: s, data: "scenes:shape", protocol: zero_shot, group: g}'
    names = ("mine", "mnist", "stl10", "cars", "dtd")
    found = states(suite_of(tmp_path, *map(classes, names), scenes))

    assert (found["mine"].state, found["mine"].count, found["mine"].size) == (PRESENT, 60, None)
    assert (found["mnist"].state, found["mnist"].count, found["mnist"].size) == (WRONG_SIZE, 60, 10_000)
    assert (found["stl10"].state, found["stl10"].problem) == (MISSING, "classnames.txt")
    assert found["cars"].state == DAMAGED
    assert "1.tar" in found["cars"].problem
    assert (found["dtd"].state, found["dtd"].count, found["dtd"].splits) == (MISSING, None, ("test",))
    assert found["dtd"].source == "hf.co/datasets/clip-benchmark/wds_vtab-dtd"
    assert (found["shape"].state, found["shape"].source) == (MISSING, "pgsbench data make scenes")
    assert len(list(survey(load_suite("paper")))) == 36


@pytest.mark.parametrize(
    ("folder", "name", "protocol"),
    [("classes", "mnist", "zero_shot"), ("retrieval", "flickr8k", "retrieval")],
)
def test_a_wrong_size_marks_every_score(
    folder: str, name: str, protocol: str, root: Path, data: Path, tiny: Clip, tmp_path: Path
) -> None:
    shutil.copytree(data / folder, root / public.lookup(name).folder)
    task = f'name: t, data: "clip_benchmark:{name}", protocol: {protocol}, group: g'
    marked = evaluate(tiny, suite_of(tmp_path, f"{{{task}}}"), out=tmp_path / "out")
    note = f"60 test items where the set has {public.lookup(name).size:,}: "
    assert all(any(text.startswith(note) for text in score.notes) for score in marked.scores)
    assert marked.groups["g"].marked == ("t",)
    right = evaluate(tiny, suite_of(tmp_path, f"{{{task}, size: 60}}"), out=tmp_path / "out")
    assert not any("test items where" in text for score in right.scores for text in score.notes)


def test_what_was_asked_with_is_on_record(data: Path, tiny: Clip, tmp_path: Path) -> None:
    shutil.copytree(data / "classes", tmp_path / "classes")
    suite = suite_of(tmp_path, "{name: t, data: classes, protocol: zero_shot, group: g}")
    first = evaluate(tiny, suite, out=tmp_path / "out")
    assert (first.activations, first.architecture) == (("GELU",), tiny.model_cfg)
    assert first.protocols["t"] == {"split": "test"}
    assert first.environment["precision"] == "float32"
    assert first.environment["torchvision"] == version("torchvision")
    templates = "zeroshot_classification_templates.txt"
    (tmp_path / "classes" / templates).write_text("ein Foto von {c}.\n")
    second = evaluate(tiny, suite, out=tmp_path / "out")
    assert first.files["t"].keys() == {"classnames.txt", templates}
    assert {name for name, of in first.files["t"].items() if of != second.files["t"][name]} == {templates}
