"""Classes by name: built in, installed, or in a file; nothing is imported before it is asked for."""

from __future__ import annotations

import os
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from pgsbench.errors import PluginError
from pgsbench.plugins.registry import Registry

REGISTRY = Registry(
    "thing", group="pgsbench.no_such_group", builtin={"path": "pathlib:Path", "gone": "no_such_module:X"}
)


def test_a_builtin_is_imported_when_it_is_asked_for() -> None:
    assert REGISTRY.load("path") is Path
    assert REGISTRY.names() == ["path", "gone"]  # listing did not import the missing module


def test_a_class_in_a_file_is_found_relative_to_the_naming_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class A:\n    pass\n")
    found = REGISTRY.load("mine.py:A", relative_to=tmp_path)
    assert found.__name__ == "A"
    assert REGISTRY.load(f"{tmp_path}/mine.py:A") is found  # one file, one class object


def test_a_class_in_a_file_is_its_content_and_a_built_in_one_its_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "s.py").write_text("x = 1")
    first, second = (REGISTRY.content_id(f"{tmp_path}/{name}/s.py:S") for name in ("a", "b"))
    assert first == second
    assert REGISTRY.content_id(f"{tmp_path}/b/s.py:T") != first
    (tmp_path / "b" / "s.py").write_text("x = 2")
    assert REGISTRY.content_id(f"{tmp_path}/b/s.py:S") != first
    assert REGISTRY.content_id("gone") == "gone"  # nothing was imported for it
    with pytest.raises(PluginError, match="does not exist"):
        REGISTRY.content_id(f"{tmp_path}/c/s.py:S")


def test_an_installed_class_is_the_content_of_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("old", "new"):
        package = tmp_path / place / "masks_of_theirs"
        (package / "parts").mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "parts" / "__init__.py").write_text("from masks_of_theirs.parts.spiral import Spiral\n")
        (package / "parts" / "spiral.py").write_text("class Spiral:\n    pass\n")
        (package / "helper.py").write_text("turns = 3\n")
    point = EntryPoint("spiral", "masks_of_theirs.parts:Spiral", "g")
    monkeypatch.setattr("pgsbench.plugins.registry.entry_points", lambda group: [point])

    def identity(place: str) -> str:
        for name in [name for name in sys.modules if name.startswith("masks_of_theirs")]:
            monkeypatch.delitem(sys.modules, name)
        with monkeypatch.context() as patched:
            patched.syspath_prepend(str(tmp_path / place))
            return REGISTRY.content_id("spiral")

    first = identity("old")
    assert identity("new") == first  # the same code, installed elsewhere
    for changed in ("parts/spiral.py", "helper.py"):
        path = tmp_path / "new" / "masks_of_theirs" / changed
        path.write_text(path.read_text() + "# edited\n")
        assert identity("new") != first
        path.write_text(path.read_text().removesuffix("# edited\n"))
    assert identity("new") == first


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (None, "mine.py:A", "does not exist"),
        ("class B:\n    pass\n", "mine.py:A", "defines no such thing"),
        ("1 / 0\n", "mine.py:A", "cannot be imported: ZeroDivisionError"),
        ("raise SystemExit(3)\n", "mine.py:A", "cannot be imported: SystemExit"),
    ],
)
def test_a_broken_file_is_a_plugin_error(tmp_path: Path, content: str | None, name: str, said: str) -> None:
    if content is not None:
        (tmp_path / "mine.py").write_text(content)
    with pytest.raises(PluginError, match=said):
        REGISTRY.load(name, relative_to=tmp_path)


def test_a_broken_package_is_a_plugin_error_only_when_used(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = EntryPoint("theirs", "no_such_package:Thing", "g")
    monkeypatch.setattr("pgsbench.plugins.registry.entry_points", lambda group: [theirs])
    assert REGISTRY.names() == ["path", "gone", "theirs"]
    with pytest.raises(PluginError, match=r"entry point no_such_package:Thing.*No module named"):
        REGISTRY.load("theirs")


def test_an_edited_file_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    for x in (1, 2):  # as long as before and in the same second: to Python's bytecode cache the same file
        (tmp_path / "mine.py").write_text(f"class A:\n    x = {x}\n")
        os.utime(tmp_path / "mine.py", (1, 1))
        assert REGISTRY.load("mine.py:A", relative_to=tmp_path).x == x
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]
