"""From plain data and ``--set`` overrides to a checked model, or to all of its mistakes at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pgsbench.config.schema import SHORT_FORMS
from pgsbench.config.strict import MismatchError
from pgsbench.config.yaml_text import parse_yaml
from pgsbench.errors import ConfigError, UserError, nearest

Model = TypeVar("Model", bound=BaseModel)

#: A path in plain data: keys of mappings, positions in lists, all as text.
Path = tuple[str, ...]


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
    """Write the short forms of `strategy`, `model` and `text` in full."""
    return {
        key: {SHORT_FORMS[key]: value} if key in SHORT_FORMS and isinstance(value, str) else value
        for key, value in overrides.items()
    }


def merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `overrides` laid over it, key by key.

    A strategy of another name, or another text strategy, starts from its own defaults: fields of different
    strategies that share a name need not share a meaning. Only ``mask_ratio`` and, of text strategies,
    ``keep`` are inherited, where they mean the same (`Design.run_config`).
    """
    merged = dict(base)
    for key, value in overrides.items():
        old = merged.get(key)
        if key in ("strategy", "text") and isinstance(value, Mapping) and isinstance(old, Mapping):
            name = SHORT_FORMS[key]
            if value.get(name, old.get(name)) != old.get(name):
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
        if isinstance(inner, str) and parent in SHORT_FORMS:
            inner = {SHORT_FORMS[parent]: inner}
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


@dataclass(frozen=True)
class Checked(Generic[Model]):
    """What a check of plain data found.

    Attributes:
        model: The data as a model, with defaults for what is wrong; None: nothing of it can be used.
        problems: One entry for every mistake.
        left_out: The dotted paths that defaults stand for.
    """

    model: Model | None
    problems: list[UserError]
    left_out: set[str]

    def is_left_out(self, path: str) -> bool:
        """Tell whether a default stands for something at or below a dotted path."""
        return any(f"{left}.".startswith(f"{path}.") for left in self.left_out)


def check_all(model: type[Model], data: Mapping[str, Any], place: Callable[[str], str]) -> Checked[Model]:
    """Return every mistake in `data`, and what is left without them.

    Some rules are tried only where all fields are right. So what is wrong is left out and the rest is checked
    again. A rule that speaks of what has been left out proves nothing and is not told.

    Args:
        model: The model that the data should be.
        data: Mappings, lists and plain values.
        place: From a dotted path to where it stands, for messages.
    """
    rest: dict[str, Any] = _copied(data)
    problems: list[UserError] = []
    left_out: set[Path] = set()
    while True:
        dotted = {".".join(path) for path in left_out}
        try:
            return Checked(model.model_validate(rest), problems, dotted)
        except ValidationError as error:
            details = list(_relevant(error.errors()))
        told = [detail for detail in details if not _follows(detail, left_out)]
        problems += [_problem(model, detail, place) for detail in told]
        for path in _outermost(map(_path, details)):
            gone = _leave_out(rest, path)
            if not gone:
                return Checked(None, problems, dotted)
            left_out.add(gone)


def _outermost(paths: Iterable[Path]) -> set[Path]:
    found = set(paths)
    return {path for path in found if not any(path[:i] in found for i in range(len(path)))}


def _copied(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _copied(value) for key, value in data.items()}
    return [_copied(value) for value in data] if isinstance(data, list) else data


def _follows(detail: ErrorDetails, left_out: set[Path]) -> bool:
    """Tell whether a mistake may be there only because something else has been left out."""
    path = _path(detail)
    rule = detail.get("ctx", {}).get("error")
    if isinstance(rule, MismatchError):
        return any(name in left for left in left_out for name in rule.fields)
    if detail["type"] == "missing":  # it was there before, or has been told already
        return any(left[: len(path) - 1] == path[:-1] for left in left_out)
    return any(left[: len(path)] == path for left in left_out)


def _leave_out(data: Any, path: Path) -> Path:
    """Remove what is at a path, or the nearest thing around it; return its path, empty where nothing is."""
    while path:
        around: Any = data
        for part in path[:-1]:
            around = _inside(around, part)
        if isinstance(around, dict):
            for key in [key for key in around if str(key) == path[-1]]:
                del around[key]
                return path
        path = path[:-1]  # it is missing, or one of a list, which then goes as a whole
    return ()


def _inside(data: Any, part: str) -> Any:
    if isinstance(data, dict):
        return next((value for key, value in data.items() if str(key) == part), None)
    return data[int(part)] if isinstance(data, list) and part.isdecimal() and int(part) < len(data) else None


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


def _path(detail: ErrorDetails) -> Path:
    # pydantic marks the members of a union in the path (`list[union...]`, `[Range]`): no keys of the file.
    return tuple(str(part) for part in detail["loc"] if "[" not in str(part))


def _problem(model: type[BaseModel], detail: ErrorDetails, place: Callable[[str], str]) -> UserError:
    loc = _path(detail)
    where = place(".".join(loc)) if loc else place("").rstrip(": ")
    if detail["type"] == "extra_forbidden":
        return ConfigError(
            "unknown key", where=where, value=loc[-1], way_out=nearest(loc[-1], _keys(model, detail["loc"]))
        )
    rule = detail["msg"].removeprefix("Value error, ")
    rule = rule[:1].lower() + rule[1:] if rule[:2] != rule[:2].upper() else rule
    value = detail["input"] if not isinstance(detail["input"], (Mapping, BaseModel)) else None
    return ConfigError(rule, where=where, value=value)


def _keys(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """Return the keys that are known where `loc`, with pydantic's marks, says that one is not."""
    found = [model]
    for part in map(str, loc[:-1]):
        field = next((one.model_fields[part] for one in found if part in one.model_fields), None)
        if field is not None:
            found = list(_models(field.annotation))
        elif part.startswith("["):  # the member of a union
            found = [one for one in found if part == f"[{one.__name__}]"]
    return list(found[0].model_fields) if found else []


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models of which a type is made: of `X | None`, `Annotated[X, ...]` and `dict[str, X]` X."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
