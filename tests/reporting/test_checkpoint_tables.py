"""Differences between evaluated checkpoints, from the outcomes of their items on disk."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from tinyworld import TinyWorld

from pgsbench.errors import EvaluationError
from pgsbench.evaluation.evaluate import evaluate
from pgsbench.evaluation.suite import first_items, load_suite
from pgsbench.models import clip
from pgsbench.records.scores import Scores
from pgsbench.reporting import terminal
from pgsbench.reporting.checkpoints import across_table, difference_table, differences, score_tables
from pgsbench.reporting.render import percent


@pytest.fixture(scope="module")
def folders(tiny: TinyWorld, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("evaluated")
    suite = load_suite(tiny.suite)
    for seed, name in enumerate("abc"):
        evaluate(clip.build("tiny-vit", seed=seed), suite, out=root / name)
    return {name: root / name for name in "abc"}


def values(folder: Path, name: str) -> dict[str, float]:
    with np.load(next((folder / "outcomes").glob(name))) as file:
        return dict(zip(file["items"].tolist(), file["values"].tolist(), strict=True))


def test_a_difference_is_that_of_paired_items(folders: dict[str, Path]) -> None:
    found = {(one.candidate, one.of): one for one in differences(folders)}
    assert {one.baseline for one in found.values()} == {"a"}
    assert len(found) == 2 * 4  # two candidates, two groups and two tasks
    for name in "bc":
        ours, theirs = (values(folders[x], "tiny__retrieval-*/image_recall_at_5.npz") for x in (name, "a"))
        paired = np.array([ours[item] - theirs[item] for item in theirs])
        interval = found[name, "tiny/retrieval"].interval
        assert interval.estimate == pytest.approx(paired.mean(), abs=1e-6)
        error = math.sqrt(paired.var(ddof=1) / len(paired))
        reach = stats.t.ppf(0.975, len(paired) - 1) * error
        assert interval.high - interval.low >= 2 * reach * 0.99  # a floor may widen it
        assert interval.num_seeds == 1
        assert found[name, "retrieval"].interval == interval  # its group has no other task


def test_the_order_of_items_on_disk_does_not_matter(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["b"], tmp_path / "b")
    for path in tmp_path.glob("b/outcomes/*/*.npz"):
        with np.load(path) as file:
            turned = {name: np.flip(file[name]) for name in file.files}  # the key has no axis
        np.savez(path, **turned)
    again = differences({**folders, "b": tmp_path / "b"})
    for before, after in zip(differences(folders), again, strict=True):
        assert after.interval.estimate == pytest.approx(before.interval.estimate)
        assert after.interval.p_value == pytest.approx(before.interval.p_value)


def test_holm_corrects_all_rows_together(folders: dict[str, Path]) -> None:
    found = differences(folders, baseline="b")
    assert {one.baseline for one in found} == {"b"}
    smallest = min(found, key=lambda one: one.interval.p_value)
    assert smallest.adjusted_p == pytest.approx(min(1.0, len(found) * smallest.interval.p_value))


def test_what_was_tested_otherwise_is_not_compared(
    folders: dict[str, Path], tiny: TinyWorld, tmp_path: Path
) -> None:
    look = first_items(load_suite(tiny.suite), 6)
    evaluate(clip.build("tiny-vit", seed=0), look, out=tmp_path)
    with pytest.raises(EvaluationError, match="look and a were tested in different ways"):
        differences({**folders, "look": tmp_path})
    other = replace(Scores.read(folders["b"]), environment={"precision": "bfloat16"})
    evaluate(clip.build("tiny-vit", seed=1), load_suite(tiny.suite), out=tmp_path / "rough")
    other.write(tmp_path / "rough")
    with pytest.raises(EvaluationError, match=r"rough and a were tested in different ways \(environment\)"):
        differences({**folders, "rough": tmp_path / "rough"})
    with pytest.raises(EvaluationError, match="no such checkpoint"):
        differences(folders, baseline="z")


def test_tables_of_one_and_of_several(folders: dict[str, Path]) -> None:
    scores = {name: Scores.read(folder) for name, folder in folders.items()}
    across = across_table(scores)
    assert across.names == ["group or task", "metric", "a", "b", "c"]
    assert [row[0] for row in across.cells()] == [
        "classification",
        "retrieval",
        "tiny/colour",
        "tiny/retrieval",
    ]
    for name, cell in zip("abc", across.cells()[2][2:], strict=True):
        assert cell == percent(scores[name].primary()["tiny/colour"].value)
    text = terminal.text(difference_table(differences(folders)))
    assert "b − a" in text
    assert "another training seed" in text
    tasks, groups = score_tables(scores["a"])
    assert [row[0] for row in tasks.cells()] == ["tiny/colour", "tiny/retrieval"]
    assert [row[0] for row in groups.cells()] == ["classification", "retrieval"]
