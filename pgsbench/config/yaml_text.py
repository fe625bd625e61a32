"""YAML text as plain data with line numbers; a text that no study can need is refused at once."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from pgsbench.errors import ConfigError

MAX_BYTES, MAX_VALUES, MAX_DEPTH = 2**20, 100_000, 50


def read_text(path: Path) -> str:
    """Return what a configuration file says.

    Raises:
        ConfigError: It cannot be read, is not UTF-8, or is larger than any study.
    """
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise ConfigError(f"the file is larger than {MAX_BYTES:,} bytes", where=str(path), value=size)
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        rule = f"text must be UTF-8 ({error.reason} at byte {error.start})"
        raise ConfigError(rule, where=str(path), way_out="save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"the file cannot be read: {error.strerror}", where=str(path)) from None


def parse_yaml(text: str, where: str) -> tuple[Any, dict[str, int]]:
    """Return the data of a YAML 1.2 text and the line of every dotted path in it.

    Raises:
        ConfigError: It is not YAML, a key stands twice, or it stands for far more than it says.
    """
    try:
        root = YAML(typ="safe", pure=True).compose(io.StringIO(text))
        lines: dict[str, int] = {}
        _Walk(where, lines).enter(root, "", 0)
        return YAML(typ="safe", pure=True).load(text), lines
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}:{mark.line + 1}" if mark else where
        problem = str(getattr(error, "problem", None) or error)
        raise ConfigError(
            f"not readable as YAML: {problem}",
            where=place,
            way_out="check indentation, quotes and doubled keys",
        ) from None
    except RecursionError:
        raise _too_deep(where) from None
    except (ValueError, TypeError, OverflowError) as error:  # a date or a number that is none
        raise ConfigError(f"not readable as YAML: {error}", where=where) from None


def place_in(path: Path, lines: Mapping[str, int], dotted: str) -> str:
    """Return where a dotted path stands in a file: at its own line, or that of what is around it."""
    parts = dotted.partition(", ")[0].split(".")  # behind a comma: the file of a plugin
    parents = (".".join(parts[:i]) for i in range(len(parts), 0, -1))
    line = next((f":{lines[parent]}" for parent in parents if parent in lines), "")
    return f"{path}{line}: {dotted}"


class _Walk:
    """Collects line numbers; an alias counts as often as it is used.

    Args:
        where: The text, for messages.
        lines: Gets the line of every dotted path.
    """

    def __init__(self, where: str, lines: dict[str, int]) -> None:
        self._where, self._lines, self._num_values = where, lines, 0

    def enter(self, node: Node | None, path: str, depth: int) -> None:
        """Look at a value and all values in it."""
        self._num_values += 1
        if self._num_values > MAX_VALUES:
            raise ConfigError(
                f"the text stands for more than {MAX_VALUES:,} values",
                where=self._where,
                way_out="write out fewer aliases (`*name`) inside of aliases",
            )
        if depth > MAX_DEPTH:
            raise _too_deep(self._where)
        if isinstance(node, MappingNode):
            for key, value in node.value:
                if not isinstance(key.value, str):
                    rule, line = "a key must be plain text", key.start_mark.line + 1
                    raise ConfigError(rule, where=f"{self._where}:{line}")
                self._add(f"{path}.{key.value}" if path else key.value, key, value, depth)
        elif isinstance(node, SequenceNode):
            for index, value in enumerate(node.value):
                self._add(f"{path}.{index}", value, value, depth)

    def _add(self, path: str, start: Node, value: Node, depth: int) -> None:
        self._lines[path] = start.start_mark.line + 1
        self.enter(value, path, depth + 1)


def _too_deep(where: str) -> ConfigError:
    return ConfigError(
        f"values lie more than {MAX_DEPTH} levels deep, or an alias lies inside of itself", where=where
    )
