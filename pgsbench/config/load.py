"""From YAML text and ``--set`` overrides to a valid study, or to all of its mistakes at once."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from pgsbench.config.schema import RunConfig, StudyConfig
from pgsbench.config.space import grid_problems, over_whole_numbers
from pgsbench.errors import ConfigError, UserError, nearest

#: ``(name, fields, inherited, where, folder of the study file) -> {"name": ..., every field}``; raises
#: UserError. What is inherited is taken over where the strategy has such a field and is not given one.
ResolveStrategy = Callable[[str, Mapping[str, Any], Mapping[str, Any], str, Path], dict[str, Any]]

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Study:
    """A study file that has been read and checked.

    Attributes:
        config: What it says.
        source: Its text, comments included.
        folder: Where it lies; its relative paths start here.
        resolve_strategy: Fills in and checks the fields of a strategy.
        place: Where a dotted path stands, for messages: file and line, or the override that set it.
    """

    config: StudyConfig
    source: str
    folder: Path
    resolve_strategy: ResolveStrategy = field(repr=False, compare=False)
    place: Callable[[str], str] = field(repr=False, compare=False)

    def run_config(self, arm: str, params: Mapping[str, Any], seed: int) -> RunConfig:
        """Return the resolved configuration of one run.

        Args:
            arm: One of the study's arms.
            params: A point of the search space, dotted path -> value.
            seed: The run's seed.

        Raises:
            ConfigError: The combination is not valid; the message names the arm or the search path.
        """
        base, overrides = self.config.base(), normalise(self.config.arms.get(arm, {}))
        for place, given in ((f"arms.{arm}", overrides), ("search.space", params)):
            if "seed" in given:
                raise ConfigError(
                    "every arm is trained with the same seeds", where=f"{place}.seed", value=given["seed"],
                    way_out="list them under `seeds:`, beside the arms",
                )  # fmt: skip
        merged = merge(base, overrides)
        for path, value in params.items():
            set_path(merged, path, value)
        merged["seed"] = seed

        def where(path: str) -> str:  # in the arm, unless the mistake is one of the base
            return f"arms.{arm}.{path}" if _is_set(overrides, path) else path

        run = check(RunConfig, merged, where)
        place = where("strategy")
        if any(path.startswith("strategy.") for path in params):
            place = f"search.space ({arm}: {', '.join(f'{k}={v}' for k, v in params.items())})"
        ratio = base["strategy"].get("mask_ratio")
        inherited = {} if ratio is None else {"mask_ratio": ratio}
        name, fields = run.strategy.name, run.strategy.fields
        strategy = self.resolve_strategy(name, fields, inherited, place, self.folder)
        return RunConfig(**{**run.model_dump(), "strategy": strategy})


def load_study(
    path: Path,
    *,
    overrides: Sequence[str] = (),
    resolve_strategy: ResolveStrategy,
    default_name: str | None = None,
) -> Study:
    """Read and check a study file.

    Args:
        path: The YAML file.
        overrides: ``a.b=value`` texts; values have YAML's meaning.
        resolve_strategy: See `ResolveStrategy`.
        default_name: The study's name where the file gives none (default: the file's name).

    Raises:
        ConfigError: Every mistake in the file and the overrides, each with place, rule and way out.
    """
    if not path.is_file():
        raise ConfigError(
            "there is no such study file",
            where=str(path),
            way_out="`pgsbench study ls` lists the ones that ship",
        )
    source = read_text(path)
    data, lines = parse_yaml(source, str(path))
    if not isinstance(data, dict):
        raise ConfigError("a study file is a mapping of keys to values", where=str(path), value=data)
    given: dict[str, str] = {}
    for override in overrides:
        dotted, value = parse_override(override)
        set_path(data, dotted, value)
        given[dotted] = override

    def place(dotted: str) -> str:
        if not dotted:
            return str(path)
        parents = [".".join(dotted.split(".")[:i]) for i in range(dotted.count(".") + 1, 0, -1)]
        override = next((given[parent] for parent in parents if parent in given), None)
        if override:  # it has taken the place of everything below it in the file
            return f"--set {override}: {dotted}"
        line = next((f":{lines[parent]}" for parent in parents if parent in lines), "")
        return f"{path}{line}: {dotted}"

    data["name"] = data.get("name") or default_name or path.stem
    config = check(StudyConfig, data, place)
    study = Study(config, source, path.parent, resolve_strategy, place)
    problems = list(_arm_problems(study))
    if not problems:
        study = over_whole_numbers(study)
        problems = list(grid_problems(study))
    if problems:
        raise ConfigError.collect(problems, where=str(path))
    return study


def _arm_problems(study: Study) -> Iterator[UserError]:
    seen = set()
    for arm in study.config.arm_names:
        try:
            study.run_config(arm, {}, study.config.seeds[0])
        except UserError as error:
            for problem in error.problems:
                located = problem.moved(study.place)
                if str(located) not in seen:  # a mistake in the base shows in every arm
                    seen.add(str(located))
                    yield located


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


def _is_set(overrides: Mapping[str, Any], path: str) -> bool:
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
