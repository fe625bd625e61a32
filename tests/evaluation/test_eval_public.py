"""Public data sets by name: where they lie, what is missing, fetching them, and sizes that are not right."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from clip_benchmark.datasets.builder import dataset_collection, get_dataset_default_task
from public_sets import classes, states, suite_of

from pgsbench.data import evalset, public
from pgsbench.data.tar import EncodedImage
from pgsbench.evaluation.availability import (
    DAMAGED,
    MISSING,
    PRESENT,
    WRONG_SIZE,
    survey,
)
from pgsbench.evaluation.evaluate import evaluate
from pgsbench.evaluation.suite import Suite, load_suite
from pgsbench.models.clip import Clip
from pgsbench.records.scores import Scores

MakePicture = Callable[..., EncodedImage]

# ------------------------------------------------------------------------------------------------ names


def test_the_catalogue_knows_clip_benchmarks_collections() -> None:
    for name in ("vtab", "vtab+", "retrieval", "imagenet_robustness", "sugar_crepe"):
        assert public.collection(name) == tuple(dataset_collection[name])
        for member in dataset_collection[name]:
            known = public.lookup(member)
            assert known.name == member
            assert known.size is not None
            is_retrieval = get_dataset_default_task(member) == "zeroshot_retrieval"
            assert is_retrieval == (member in dataset_collection["retrieval"])


def test_names_of_sets(root: Path) -> None:
    assert public.folder("wds/vtab/cifar10") == root / "wds_vtab-cifar10"
    assert public.lookup("cifar10") == public.lookup("vtab/cifar10")
    assert public.lookup("vtab/cifar10").repository == "clip-benchmark/wds_vtab-cifar10"
    assert public.folder("sugar_crepe/add_att", root=Path("/x")) == Path("/x/sugar_crepe")
    unknown = public.lookup("imagenet1q")
    assert (unknown.folder, unknown.size, unknown.repository) == ("wds_imagenet1q", None, "")
    assert unknown.source == "not in the catalogue: did you mean 'imagenet1k'?"


def test_a_collection_is_one_task_a_set(tmp_path: Path) -> None:
    suite = suite_of(
        tmp_path,
        '{name: find, data: "clip_benchmark:retrieval", protocol: retrieval, group: g, recall_at: [1]}',
        '{name: sc, data: "clip_benchmark:sugar_crepe", protocol: compositional, group: c}',
    )
    assert [task.name for task in suite.tasks][:4] == [
        "find/mscoco_captions",
        "find/flickr8k",
        "find/flickr30k",
        "sc/sugar_crepe/add_att",
    ]
    assert suite.tasks[1].data == "clip_benchmark:flickr8k"
    assert suite.tasks[1].protocol.recall_at == (1,)
    assert [task.protocol.subset for task in suite.tasks[3:]] == [
        "add_att",
        "add_obj",
        "replace_att",
        "replace_obj",
        "replace_rel",
        "swap_att",
        "swap_obj",
    ]
    assert sum(task.size or 0 for task in suite.tasks[3:]) == 7511


def test_the_size_of_another_split_is_not_known(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, classes("mnist"), classes("cars", split="train"), classes("dtd", size=47))
    assert [task.size for task in suite.tasks] == [10_000, None, 47]


# ------------------------------------------------------------------------------------------------ status


def test_status_of_sets_in_every_state(root: Path, data: Path, tmp_path: Path) -> None:
    for name in ("wds_mine", "wds_mnist", "wds_stl10", "wds_cars"):
        shutil.copytree(data / "classes", root / name)
    (root / "wds_stl10" / "classnames.txt").unlink()
    shard = root / "wds_cars" / "test" / "1.tar"
    shard.write_bytes(shard.read_bytes()[:600])
    (root / "wds_cars" / "test" / "nshards.txt").write_text("2\n")
    found = states(suite_of(tmp_path, *(classes(name) for name in ("mine", "mnist", "stl10", "cars", "dtd"))))

    assert (found["mine"].state, found["mine"].count, found["mine"].size) == (PRESENT, 60, None)
    assert (found["mnist"].state, found["mnist"].count, found["mnist"].size) == (WRONG_SIZE, 60, 10_000)
    assert (found["stl10"].state, found["stl10"].problem) == (MISSING, "classnames.txt")
    assert found["cars"].state == DAMAGED
    assert "1.tar" in found["cars"].problem
    assert (found["dtd"].state, found["dtd"].count) == (MISSING, None)
    assert found["dtd"].source == "hf.co/datasets/clip-benchmark/wds_vtab-dtd"
    assert found["dtd"].splits == ("test",)


def test_status_names_each_set_once_for_the_splits_it_is_asked_for(root: Path) -> None:
    found = list(survey(load_suite("paper")))
    assert len(found) == len({(one.data, one.splits) for one in found}) == 36
    assert {one.state for one in found} == {MISSING}
    assert not root.exists()


def test_status_of_built_in_and_own_data(
    root: Path, data: Path, make_picture: MakePicture, tmp_path: Path
) -> None:
    suite = suite_of(
        tmp_path,
        '{name: s, data: "scenes:shape", protocol: zero_shot, group: g}',
        f"{{name: own, data: {data}/pairs, protocol: compositional, subset: swap_att, group: g}}",
        f"{{name: find, data: {data}/retrieval, protocol: retrieval, group: g}}",
    )
    scenes, own, find = survey(suite)
    assert (scenes.state, scenes.source) == (MISSING, "pgsbench data make scenes")
    assert (own.state, own.count, find.count) == (PRESENT, 50, 60)


# ------------------------------------------------------------------------------------------------- guard


def run(tiny: Clip, suite: Suite, out: Path) -> Scores:
    return evaluate(tiny, suite, out=out)


@pytest.mark.parametrize(
    ("folder", "name", "protocol"),
    [
        ("classes", "mnist", "zero_shot"),
        ("retrieval", "flickr8k", "retrieval"),
    ],
)
def test_a_wrong_size_marks_every_score(
    folder: str, name: str, protocol: str, root: Path, data: Path, tiny: Clip, tmp_path: Path
) -> None:
    shutil.copytree(data / folder, root / public.lookup(name).folder)
    task = f'name: t, data: "clip_benchmark:{name}", protocol: {protocol}, group: g'
    marked = run(tiny, suite_of(tmp_path, f"{{{task}}}"), tmp_path / "out")
    note = f"60 test items where the set has {public.lookup(name).size:,}: "
    assert all(any(text.startswith(note) for text in score.notes) for score in marked.scores)
    assert marked.groups["g"].marked == ("t",)
    right = run(tiny, suite_of(tmp_path, f"{{{task}, size: 60}}"), tmp_path / "out")
    assert not any("test items where" in text for score in right.scores for text in score.notes)


def test_what_was_asked_with_is_on_record(root: Path, data: Path, tiny: Clip, tmp_path: Path) -> None:
    shutil.copytree(data / "classes", tmp_path / "classes")
    suite = suite_of(tmp_path, "{name: t, data: classes, protocol: zero_shot, group: g}")
    first = run(tiny, suite, tmp_path / "out")
    assert first.activations == ("GELU",)
    assert first.protocols["t"] == {"split": "test"}
    assert first.architecture == tiny.model_cfg
    assert first.environment["precision"] == "float32"
    assert first.environment["torchvision"] == version("torchvision")
    assert set(first.files["t"]) == {"classnames.txt", "zeroshot_classification_templates.txt"}
    (tmp_path / "classes" / "zeroshot_classification_templates.txt").write_text("ein Foto von {c}.\n")
    second = run(tiny, suite, tmp_path / "out")
    assert first.files["t"]["classnames.txt"] == second.files["t"]["classnames.txt"]
    templates = "zeroshot_classification_templates.txt"
    assert first.files["t"][templates] != second.files["t"][templates]


def test_a_sample_is_counted_as_it_is_read(data: Path) -> None:
    for folder in ("classes", "retrieval"):
        assert evalset.count_split(data / folder) == len(list(evalset.read_split(data / folder))) == 60
