"""From YAML text and ``--set`` overrides to a checked model, or to all of its mistakes at once."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from pgsbench.errors import ConfigError, UserError, nearest

Model = TypeVar("Model", bound=BaseModel)


def read_text(path: Path) -> str:
    """Return what a configuration file says.

    Raises:
        ConfigError: It cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        rule = f"text must be UTF-8 ({error.reason} at byte {error.start})"
        raise ConfigError(rule, where=str(path), way_out="save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"the file cannot be read: {error.strerror}", where=str(path)) from None


def parse_yaml(text: str, where: str) -> tuple[Any, dict[str, int]]:
    """Return the data of a YAML 1.2 text and the line of every dotted path in it.

    Raises:
        ConfigError: It is not YAML, or a key stands twice.
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        data = yaml.load(text)
        root = YAML(typ="safe", pure=True).compose(io.StringIO(text))
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}:{mark.line + 1}" if mark else where
        problem = str(getattr(error, "problem", None) or error)
        raise ConfigError(
            f"not readable as YAML: {problem}",
            where=place,
            way_out="check indentation, quotes and doubled keys",
        ) from None
    return data, dict(_line_numbers(root, ""))


def _line_numbers(node: Node | None, prefix: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            path = f"{prefix}.{key.value}" if prefix else str(key.value)
            yield path, key.start_mark.line + 1
            yield from _line_numbers(value, path)
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            path = f"{prefix}.{index}"
            yield path, value.start_mark.line + 1
            yield from _line_numbers(value, path)


def parse_override(text: str) -> tuple[str, Any]:
    """Split ``a.b=value``; the value has YAML's meaning.

    Raises:
        ConfigError: There is no ``=`` or no path before it.
    """
    dotted, equals, value = text.partition("=")
    if not equals or not dotted.strip():
        raise ConfigError(
            "an override is path=value", where="--set", value=text, way_out="--set training.samples=8192"
        )
    return dotted.strip(), parse_yaml(value, f"--set {text}")[0]


def normalise(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Write the short forms of `strategy` and `model` in full."""
    return {
        key: {"name": value} if key in ("strategy", "model") and isinstance(value, str) else value
        for key, value in overrides.items()
    }


def merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `overrides` laid over it, key by key.

    A strategy of another name starts from its own defaults: fields of different strategies that share a
    name need not share a meaning. Only ``mask_ratio`` means the same to all, and is inherited where a
    strategy has this field (`Study.run_config`).
    """
    merged = dict(base)
    for key, value in overrides.items():
        old = merged.get(key)
        if key == "strategy" and isinstance(value, Mapping) and isinstance(old, Mapping):
            if value.get("name", old.get("name")) != old.get("name"):
                old = {}
            merged[key] = {**old, **value}
        elif isinstance(value, Mapping) and isinstance(old, Mapping):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def set_path(data: dict[str, Any], dotted: str, value: Any) -> None:
    """Set a value by dotted path, making the mappings on the way; short forms are written in full."""
    *parents, last = dotted.split(".")
    for parent in parents:
        inner = data.get(parent)
        if isinstance(inner, str) and parent in ("strategy", "model"):
            inner = {"name": inner}
        data[parent] = inner = dict(inner) if isinstance(inner, Mapping) else {}
        data = inner
    data[last] = value


def is_set(overrides: Mapping[str, Any], path: str) -> bool:
    """Tell whether nested overrides name a dotted path."""
    inner: Any = overrides
    for part in path.split("."):
        if not isinstance(inner, Mapping) or part not in inner:
            return False
        inner = inner[part]
    return True


def check(model: type[Model], data: Mapping[str, Any], place: Callable[[str], str]) -> Model:
    """Return `data` as a model.

    Raises:
        ConfigError: With one entry for every mistake.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        details = list(_relevant(error.errors()))
        problems = [_problem(model, detail, place) for detail in details]
        raise ConfigError.collect(problems, where=place("").rstrip(": ")) from None


def _relevant(details: Sequence[ErrorDetails]) -> Iterator[ErrorDetails]:
    # A union objects once for each of its members: of `list or Range`, what the value is not does not count.
    paths = [_path(detail) for detail in details]
    said = set()
    for index, (detail, path) in enumerate(zip(details, paths, strict=True)):
        has_other = any(other[: len(path)] == path for i, other in enumerate(paths) if i != index)
        is_other_kind = detail["type"] in ("list_type", "model_type", "dict_type")
        if path not in said and not (has_other and is_other_kind):
            said.add(path)
            yield detail


def _path(detail: ErrorDetails) -> tuple[str, ...]:
    # pydantic marks the members of a union in the path (`list[union...]`, `Range`): no keys of the file.
    return tuple(str(part) for part in detail["loc"] if part != "Range" and "[" not in str(part))


def _problem(model: type[BaseModel], detail: ErrorDetails, place: Callable[[str], str]) -> UserError:
    loc = _path(detail)
    where = place(".".join(loc)) if loc else place("").rstrip(": ")
    if detail["type"] == "extra_forbidden":
        return ConfigError(
            "unknown key", where=where, value=loc[-1], way_out=nearest(loc[-1], _keys(model, loc[:-1]))
        )
    rule = detail["msg"].removeprefix("Value error, ")
    rule = rule[:1].lower() + rule[1:] if rule[:2] != rule[:2].upper() else rule
    value = detail["input"] if not isinstance(detail["input"], (Mapping, BaseModel)) else None
    return ConfigError(rule, where=where, value=value)


def _keys(model: type[BaseModel], loc: Sequence[str]) -> list[str]:
    for part in loc:
        info = model.model_fields.get(part)
        annotation = info.annotation if info else None
        members = (annotation, *getattr(annotation, "__args__", ()))  # X | None, Annotated[X, ...]
        models = [t for t in members if isinstance(t, type) and issubclass(t, BaseModel)]
        if not models:
            return []
        model = models[0]
    return list(model.model_fields)
