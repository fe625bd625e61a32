"""The page about adding an evaluation does what it says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from pgsbench.errors import ConfigError
from pgsbench.evaluation.evaluate import evaluate
from pgsbench.evaluation.suite import load_suite
from pgsbench.models.clip import Clip
from pgsbench.records.scores import Scores

PAGE = Path(__file__).parents[2] / "docs" / "add-an-evaluation.md"


@pytest.fixture
def example(tmp_path: Path, data: Path) -> Path:
    """The page's files in a folder, beside the data that they name."""
    write_files_of(PAGE, tmp_path)
    shutil.copytree(data / "classes", tmp_path / "sets" / "kind")
    shutil.copytree(data / "retrieval", tmp_path / "sets" / "find")
    return tmp_path


def write_files_of(page: Path, folder: Path) -> None:
    for name, text in re.findall(r"```\w+ title=(\S+)\n(.*?)```", page.read_text(), flags=re.DOTALL):
        (folder / name).write_text(text)


def run(tiny: Clip, suite: Path) -> Scores:
    return evaluate(tiny, load_suite(suite), out=suite.parent / "out")


def test_the_protocol_runs(tiny: Clip, example: Path) -> None:
    report = run(tiny, example / "invariance.yaml")
    assert [score.task for score in report.scores] == ["pets/turned", "pets/upside_down"]
    assert [score.n for score in report.scores] == [60, 60]
    assert report.groups["invariance"].n_tasks == 2
    assert report.num_images == 3 * 60


@pytest.mark.parametrize("group", ["mean", "turned"])
def test_a_group_has_a_name_of_its_own(example: Path, group: str) -> None:
    suite = example / "invariance.yaml"
    text = suite.read_text().replace("pets/turned", "turned")
    suite.write_text(text.replace("group: invariance", f"group: {group}"))
    with pytest.raises(ConfigError, match="rename the group"):
        load_suite(suite)
