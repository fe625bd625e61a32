from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import clip_benchmark
import pytest
from evalsets import suite_of, write_suite

from pgsbench.errors import ConfigError, DataError, UserError
from pgsbench.evaluation import suite as suites
from pgsbench.evaluation import task_data
from pgsbench.evaluation.protocols.compositional import Compositional
from pgsbench.evaluation.protocols.retrieval import Retrieval
from pgsbench.evaluation.protocols.zero_shot import ZeroShot
from pgsbench.evaluation.suite import load_suite
from pgsbench.evaluation.task_data import locate

#: Suite -> tasks in each group.
PUBLIC = {
    "classification-17": {"classification": 17},
    "retrieval-3": {"retrieval": 3},
    "robustness-6": {"robustness-id": 2, "robustness-ood": 4},
    "sugarcrepe-7": {
        "compositionality-object": 3,
        "compositionality-attribute": 3,
        "compositionality-relation": 1,
    },
    "vtab+": {"vtab-plus": 35},
    "linear-probe-3": {"linear-probe": 3},
}
#: The parts of the paper's suite, in its order.
PAPER = ("classification-17", "retrieval-3", "robustness-6", "sugarcrepe-7", "linear-probe-3")
PUBLIC["paper"] = {group: count for name in PAPER for group, count in PUBLIC[name].items()}


@pytest.mark.parametrize("name", PUBLIC)
def test_suites_on_public_data_load(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    assert suite.question.endswith("?")
    assert Counter(task.group for task in suite.tasks) == PUBLIC[name]
    for task in suite.tasks:
        known = suites.public_set(task.data)
        assert known is not None
        assert task.size == known.size is not None
        assert task.chance is not None or task.protocol_name == "retrieval"
    assert task_data.without_builtin(suite) == suite


def test_chance_is_one_over_the_number_of_classes_that_clip_benchmark_names() -> None:
    path = Path(clip_benchmark.__file__).parent / "datasets" / "en_classnames.json"
    classnames = json.loads(path.read_text())
    renamed = {"caltech101": "caltech101_vtab", "imagenetv2": "imagenet1k", "imagenet_sketch": "imagenet1k"}
    checked = set()
    for name in ("classification-17", "robustness-6", "vtab+"):
        for task in load_suite(name).tasks:
            known = classnames.get(renamed.get(task.name, task.name))
            if known is not None and task.protocol_name == "zero_shot":
                assert task.chance == pytest.approx(1 / len(known), rel=1e-3), task.name
                checked.add(task.name)
    assert len(checked) > 12


def test_a_file_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETS", "/big/disk")
    suite = suite_of(
        tmp_path,
        "{name: a, data: sets/a, protocol: retrieval, group: g, recall_at: [3], metric: text_recall_at_3}",
        "{name: b, data: $SETS/b, protocol: compositional, group: g, subset: s, chance: 0.25, version: 2}",
    )
    first, second = suite.tasks
    assert first.protocol == Retrieval(recall_at=(3,))
    assert first.data == str(tmp_path / "sets" / "a")
    assert (first.metric, first.chance, first.version) == ("text_recall_at_3", None, 1)
    assert second.protocol == Compositional("s")
    assert second.data == "/big/disk/b"
    assert (second.metric, second.chance, second.version) == ("acc", 0.25, 2)


UNKNOWN = "does not measure this metric"


@pytest.mark.parametrize(
    ("task", "match"),
    [
        ("protocol: zeroshot", r"0: unknown protocol .*\n.*you mean 'zero_shot'"),
        ("protocol: zero_shot, name: a b", "tasks.0.name"),
        ("protocol: zero_shot, chance: 1.5", "tasks.0.chance: .*less than 1"),
        ("protocol: compositional", "subset must name one"),
        ("protocol: compositional, subset: ../x", "tasks.0.subset: subset must be a plain name"),
        ("protocol: retrieval, recall_at: [0]", "recall_at must be a list"),
        ("protocol: linear_probe, seed: 1.5", "0.seed: input should be a valid integer"),
        ("protocol: no.py:Such", "no.py: the file of this protocol does not exist"),
        ("protocol: plain.py:Plain", "a protocol is a frozen dataclass with primary"),
        ("protocol: less.py:Less", "a protocol is a frozen dataclass with primary"),
        ("protocol: zero_shot, metric: acc_1", rf"0\.metric: .*{UNKNOWN}.*\n.*did you mean 'acc1'"),
        ("protocol: retrieval, recall_at: [1], metric: text_recall_at_5", UNKNOWN),
    ],
)
def test_a_mistake_says_where_and_what(task: str, match: str, tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("class Plain:\n    primary = 'acc'\n")
    (tmp_path / "less.py").write_text(
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Less:\n    requires: tuple = ()\n"
    )
    basics = {"name": "a", "data": "x", "group": "g"}
    more = "".join(f", {key}: {value}" for key, value in basics.items() if f"{key}: " not in task)
    path = write_suite(tmp_path, f"{{{task}{more}}}")
    with pytest.raises(UserError, match=match) as error:
        load_suite(path)
    assert str(error.value).startswith(f"{path}:3: tasks.0")


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    path = write_suite(
        tmp_path,
        "{name: a/b, data: x, protocol: zero_shot, group: g}",
        "{name: a__b, data: x, protocol: zero_shot, group: g}",
        "{name: b, data: x, protocol: retrievel, group: g}",
    )
    with pytest.raises(ConfigError) as error:
        load_suite(path)
    assert "2 problems" in str(error.value)
    assert "tasks.1: two tasks have the same name" in str(error.value)
    assert "did you mean 'retrieval'" in str(error.value)


SUGAR_CREPE = (
    *(("add", what) for what in ("att", "obj")),
    *(("replace", what) for what in ("att", "obj", "rel")),
    *(("swap", what) for what in ("att", "obj")),
)


@pytest.mark.parametrize(
    ("name", "tasks", "kind"),
    [
        ("cifar10", ["vtab/cifar10"], ZeroShot),
        ("retrieval", ["mscoco_captions", "flickr8k", "flickr30k"], Retrieval),
        ("sugar_crepe/swap_att", ["sugar_crepe/swap_att"], Compositional),
        ("sugar_crepe", [f"sugar_crepe/{way}_{what}" for way, what in SUGAR_CREPE], Compositional),
    ],
)
def test_a_public_set_or_collection_is_a_suite(name: str, tasks: list[str], kind: type) -> None:
    suite = load_suite(f"clip_benchmark:{name}")
    assert [task.name for task in suite.tasks] == tasks
    assert {type(task.protocol) for task in suite.tasks} == {kind}


def test_everything_that_is_missing_is_named_at_once(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSBENCH_DATA", str(tmp_path / "none"))
    suite = suite_of(
        tmp_path,
        f"{{name: there, data: {data}/classes, protocol: zero_shot, group: g}}",
        f"{{name: other, data: {data}/classes, protocol: retrieval, group: g}}",
        "{name: gone, data: gone, protocol: zero_shot, group: g}",
        '{name: shape, data: "scenes:shape", protocol: zero_shot, group: g}',
        '{name: count, data: "scenes:count", protocol: zero_shot, group: g}',
    )
    with pytest.raises(DataError) as error:
        locate(suite)
    text = str(error.value)
    assert "- other" in text and "no dataset_type.txt" in text  # noqa: PT018
    assert f"- gone ({tmp_path / 'gone'})" in text and "no such folder" in text  # noqa: PT018
    assert text.count("pgsbench data make scenes") == 1
    assert "there" not in text
