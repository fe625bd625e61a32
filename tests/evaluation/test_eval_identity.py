"""Whether a suite is still what scores were measured on: its file, its protocols' code, its data."""

from __future__ import annotations

import ast
import os
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from pgsbench.data import store
from pgsbench.data.store import Dataset
from pgsbench.evaluation import identity
from pgsbench.evaluation.identity import CODE, current_fingerprint
from pgsbench.evaluation.suite import load_suite

PROTOCOL = """
from dataclasses import dataclass
from pgsbench.evaluation.protocols.zero_shot import ZeroShot
@dataclass(frozen=True)
class Mine(ZeroShot):
    pass
"""


@pytest.fixture
def suite(data: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    shutil.copytree(data / "two", folder / "sets" / "two")
    (folder / "mine.py").write_text(PROTOCOL)
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
    (folder / "mine.py").write_text(f"{PROTOCOL}# changed\n")


def other_task(folder: Path) -> None:
    path = folder / "mine.yaml"
    path.write_text(path.read_text().replace("zero_shot, group: g", "zero_shot, group: h"))


@pytest.mark.parametrize("change", [other_archive, other_text, other_code, other_task])
def test_whatever_scores_rest_on_is_in_the_fingerprint(change: Callable[[Path], None], suite: Path) -> None:
    before = fingerprint(suite)
    assert fingerprint(suite) == before
    change(suite.parent)
    assert fingerprint(suite) not in (before, "")


def test_where_a_suite_is_named_from_makes_no_difference(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(suite.parent)
    monkeypatch.chdir(suite.parent)
    typed = [suite, "mine.yaml", "../here/mine.yaml", tmp_path / "link" / "mine.yaml"]
    assert len({fingerprint(path) for path in typed}) == 1


def test_data_that_is_missing_has_no_fingerprint(suite: Path) -> None:
    shutil.rmtree(suite.parent / "sets")
    assert fingerprint(suite) == ""
    assert fingerprint("winoground") == ""
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


def test_an_installed_protocol_is_known_by_its_whole_package(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "lib" / "with_protocol"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "mine.py").write_text(PROTOCOL)
    (package / "sibling.py").write_text("X = 1\n")
    monkeypatch.syspath_prepend(str(package.parent))
    point = EntryPoint("sibling", "with_protocol.mine:Mine", "pgsbench.evaluation")
    monkeypatch.setattr("pgsbench.plugins.registry.entry_points", lambda *, group: [point])
    suite.write_text("name: x\ntasks: [{name: a, data: sets/two, protocol: sibling, group: g}]")
    before = fingerprint(suite)
    (package / "sibling.py").write_text("X = 2\n")
    try:
        assert fingerprint(suite) not in (before, "")
    finally:
        for name in [name for name in sys.modules if name.startswith("with_protocol")]:
            del sys.modules[name]


def test_data_that_tasks_share_is_looked_at_once(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walked: list[object] = []
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda *args, **more: walked.append(args) or walk(*args, **more))
    assert fingerprint(suite)
    assert len(walked) == 1


#: What an evaluation imports that decides no outcome: names, checks, files, and what follows from outcomes.
NO_NUMBERS = {
    *("__init__.py", "errors.py", "hashing.py", "progress.py", "plugins/registry.py"),
    *("data/public.py", "data/store.py"),
    *("evaluation/identity.py", "evaluation/scoring.py", "evaluation/suite.py", "evaluation/task_data.py"),
    *("records/scores.py", "records/files.py", "disk/whole_files.py"),
}


def imported(path: Path, package: Path) -> set[Path]:
    """Return the modules of the package that a file imports, within functions, too."""
    names = set[str]()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pgsbench"):
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.startswith("pgsbench")}
    places = [package.parent.joinpath(*name.split(".")) for name in names]
    files = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
    return {file for file in files if file.is_file()}


def test_the_key_has_the_code_of_all_that_an_evaluation_imports() -> None:
    package = Path(identity.__file__).parents[1]
    known = {path for name in CODE for path in package.glob(name)}
    exempt = {package / name for name in NO_NUMBERS}
    found = set[Path]()
    ahead = {package / "evaluation/evaluate.py", *package.glob("evaluation/protocols/*.py")}
    while ahead:
        path = ahead.pop()
        found.add(path)
        ahead |= imported(path, package) - exempt - found
    assert [path for path in found - known if path.stat().st_size > 200] == []  # packages' docstrings
    assert known - found == set()
    assert all(any(package.glob(name)) for name in CODE)
