"""Whether a suite is still what scores were measured on: its file, its protocols' code, its data."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from evalsets import MINE

from pgsbench.data import store
from pgsbench.data.store import Dataset
from pgsbench.evaluation.identity import current_fingerprint
from pgsbench.evaluation.suite import load_suite


@pytest.fixture
def suite(data: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    shutil.copytree(data / "two", folder / "sets" / "two")
    (folder / "mine.py").write_text(MINE)
    path = folder / "mine.yaml"
    path.write_text("""
name: mine
tasks:
  - {name: a, data: sets/two, protocol: zero_shot, group: g}
  - {name: b, data: sets/two, protocol: "mine.py:Mine", group: g}
""")
    return path


def fingerprint(suite: Path | str) -> str:
    return current_fingerprint(load_suite(suite))


def other_archive(folder: Path) -> None:
    os.utime(folder / "sets/two/test/0.tar", ns=(0, 0))


def other_text(folder: Path) -> None:
    path = folder / "sets/two/classnames.txt"
    path.write_text(path.read_text().upper())


def other_code(folder: Path) -> None:
    (folder / "mine.py").write_text(f"{MINE}# changed\n")


def other_task(folder: Path) -> None:
    path = folder / "mine.yaml"
    path.write_text(path.read_text().replace("zero_shot, group: g", "zero_shot, group: h"))


@pytest.mark.parametrize("change", [other_archive, other_text, other_code, other_task])
def test_whatever_scores_rest_on_is_in_the_fingerprint(change: Callable[[Path], None], suite: Path) -> None:
    before = fingerprint(suite)
    assert fingerprint(suite) == before
    change(suite.parent)
    assert fingerprint(suite) not in (before, "")


def test_data_that_is_missing_has_no_fingerprint(suite: Path) -> None:
    shutil.rmtree(suite.parent / "sets")
    assert fingerprint(suite) == ""
    assert fingerprint("sugarcrepe-7") == ""
    assert fingerprint("scenes") == ""  # not made


def test_a_built_in_set_is_known_by_its_content_whatever_its_times(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "scenes"
    shutil.copytree(data / "two", root / "eval" / "shape")
    shutil.copytree(data / "two", root / "eval" / "colour")
    store.write_manifest(root, Dataset("scenes", "0", {}, 0))
    monkeypatch.setattr(store, "find", lambda _: root)
    suite = tmp_path / "mine.yaml"
    task = "name: x\ntasks: [{name: a, data: 'scenes:SET', protocol: zero_shot, group: g}]"
    suite.write_text(task.replace("SET", "shape"))
    before = fingerprint(suite)
    os.utime(root / "eval/shape/test/0.tar", ns=(0, 0))
    assert fingerprint(suite) == before
    suite.write_text(task.replace("SET", "colour"))
    assert fingerprint(suite) != before
    suite.write_text(task.replace("SET", "shape"))
    (root / "eval/shape/classnames.txt").write_text("one\ntwo\n")
    store.write_manifest(root, Dataset("scenes", "0", {}, 0))
    assert fingerprint(suite) not in (before, "")
