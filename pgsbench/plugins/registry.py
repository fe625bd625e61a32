"""Names of pluggable classes, resolved late: built-in table, entry point, or a class in a file.

A name is one of

* a built-in name, looked up in a ``name -> "module:Class"`` table,
* the name of an installed entry point of the registry's group,
* ``path/to/file.py:Class``, relative to the file that names it.

Nothing is imported before a class is asked for, so listing names costs nothing and a broken plugin
can only hurt whoever uses it.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from pgsbench.disk.whole_files import is_file
from pgsbench.errors import PluginError, UserError, nearest
from pgsbench.hashing import file_hash


@contextmanager
def blaming(rule: str, *, where: str = "", value: object = None, way_out: str = "") -> Iterator[None]:
    """Turn what code of a plugin raises, an exit included, into a `PluginError` with its cause.

    Args:
        rule: What went wrong, without the cause.
        where: As for `UserError`.
        value: As for `UserError`.
        way_out: As for `UserError`.
    """
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        cause = f"{type(error).__name__}: {error}".rstrip(": ")
        raise PluginError(f"{rule}: {cause}", where=where, value=value, way_out=way_out) from error


class Registry:
    """A family of pluggable classes.

    Args:
        kind: What one member is called in messages, for example ``"strategy"``.
        group: Entry-point group in which packages announce their own members.
        builtin: ``name -> "module:Class"`` for the members that ship with pgsbench.
    """

    def __init__(self, kind: str, *, group: str, builtin: Mapping[str, str]) -> None:
        self.kind, self.group, self.builtin = kind, group, dict(builtin)

    def entry_points(self) -> dict[str, EntryPoint]:
        """Return the installed entry points of this group by name; built-in names win."""
        return {p.name: p for p in entry_points(group=self.group) if p.name not in self.builtin}

    def names(self) -> list[str]:
        """Return all names that can be loaded without a path: built-ins first, in table order."""
        return [*self.builtin, *sorted(self.entry_points())]

    def load(self, name: str, *, relative_to: Path | None = None) -> type[Any]:
        """Return the class that ``name`` stands for.

        Args:
            name: A built-in name, an entry point's name, or ``file.py:Class``.
            relative_to: Folder against which a relative file is resolved (default: the working folder).

        Raises:
            PluginError: The name is unknown, or its module cannot be imported or lacks the class.
        """
        if ".py:" in name:
            return self._from_file(name, relative_to)
        if name in self.builtin:
            module, _, attribute = self.builtin[name].partition(":")
            found: type[Any] = getattr(importlib.import_module(module), attribute)
            return found
        points = self.entry_points()
        if name not in points:
            raise PluginError(f"unknown {self.kind}", value=name, way_out=nearest(name, self.names()))
        with blaming(
            f"the installed {self.kind} cannot be imported",
            where=f"entry point {points[name].value}",
            value=name,
            way_out="mend or uninstall the package that provides it",
        ):
            return points[name].load()  # type: ignore[no-any-return]

    def content_id(self, name: str, *, relative_to: Path | None = None) -> str:
        """Return what ``name`` stands for, as a text that changes when the code does.

        A built-in member is its name: its code changes with pgsbench, which has a version for that. A class
        in a file is the file's content, wherever it lies; files that it imports are not looked at. An
        installed one is the content of its package: moved or reinstalled it is the same, edited or upgraded
        it is another.

        Args:
            name: As for `load`.
            relative_to: As for `load`.

        Raises:
            PluginError: There is no such file, or the class of an installed member cannot be loaded.
        """
        if ".py:" in name:
            path, attribute = self._file(name, relative_to)
            return f"{file_hash(path)}:{attribute}"
        if name in self.builtin:
            return name
        found = self.load(name)
        with blaming(f"the code of this {self.kind} cannot be read", value=name):
            return f"{_package_hash(Path(inspect.getfile(found)))}:{found.__qualname__}"

    def _file(self, name: str, relative_to: Path | None) -> tuple[Path, str]:
        file_name, _, attribute = name.rpartition(":")
        path = (relative_to or Path()) / file_name  # an absolute path stays what it is
        if not is_file(path):
            raise PluginError(
                f"the file of this {self.kind} does not exist",
                where=str(path),
                value=name,
                way_out="give `folder/file.py:Class`, relative to the study file, on the command line to the "
                "working folder",
            )
        return path, attribute

    def _from_file(self, name: str, relative_to: Path | None) -> type[Any]:
        path, attribute = self._file(name, relative_to)
        module = _import_file(path.resolve(), self.kind)
        if not hasattr(module, attribute):
            raise PluginError(f"the file defines no such {self.kind}", where=str(path), value=attribute)
        found: type[Any] = getattr(module, attribute)
        return found


def _package_hash(source: Path) -> str:
    # All Python files of the outermost package that `source` is in: a class imports from its siblings, too.
    root = source
    while (root.parent / "__init__.py").is_file():
        root = root.parent
    if root == source:
        return file_hash(source)
    names = {path.relative_to(root).as_posix(): file_hash(path) for path in root.rglob("*.py")}
    return hashlib.sha256(repr(sorted(names.items())).encode()).hexdigest()


def _import_file(path: Path, kind: str) -> Any:
    # One module per file and content: the same path gives the same class object, an edited file a new one.
    digest = hashlib.sha256(str(path).encode() + path.read_bytes()).hexdigest()[:12]
    module_name = f"pgsbench_plugin_{path.stem}_{digest}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    module = ModuleType(module_name)
    module.__file__ = str(path)
    sys.modules[module_name] = module  # dataclasses look their module up while it is being executed
    try:
        with blaming(
            f"the file of this {kind} cannot be imported",
            where=str(path),
            way_out="run `python FILE` to see the whole traceback",
        ):
            # Not from bytecode: a cache takes an edited file of equal size and second for the old one.
            exec(compile(path.read_bytes(), path, "exec", dont_inherit=True), vars(module))
    except BaseException:
        del sys.modules[module_name]
        raise
    return module
