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
        lines = _lines_of(root, where)
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


def _lines_of(root: Node | None, where: str) -> dict[str, int]:
    """Return the line of every dotted path; an alias counts as often as it is used."""
    lines: dict[str, int] = {}
    num_values = 0

    def enter(node: Node | None, path: str, depth: int) -> None:
        nonlocal num_values
        num_values += 1
        if num_values > MAX_VALUES:
            rule, way_out = f"the text stands for more than {MAX_VALUES:,} values", "write out fewer aliases"
            raise ConfigError(rule, where=where, way_out=way_out)
        if depth > MAX_DEPTH:
            raise _too_deep(where)
        inside: list[tuple[str, Node, Node]] = []
        if isinstance(node, MappingNode):
            for key, value in node.value:
                if not isinstance(key.value, str):
                    raise ConfigError("a key must be plain text", where=f"{where}:{key.start_mark.line + 1}")
                inside.append((key.value, key, value))
        elif isinstance(node, SequenceNode):
            inside = [(str(index), value, value) for index, value in enumerate(node.value)]
        for name, start, value in inside:
            inner = f"{path}.{name}" if path else name
            lines[inner] = start.start_mark.line + 1
            enter(value, inner, depth + 1)

    enter(root, "", 0)
    return lines


def _too_deep(where: str) -> ConfigError:
    return ConfigError(
        f"values lie more than {MAX_DEPTH} levels deep, or an alias lies inside of itself", where=where
    )
