"""From a name and fields to a strategy, and back: every mistake is reported at once.

Strategies are plain frozen dataclasses; their type hints and ``__post_init__`` are the rules. Types are
checked as in JSON: an integer passes for a float, ``"0.5"`` and ``1`` for a bool do not.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from pgsbench.errors import ConfigError, PluginError, UserError, nearest
from pgsbench.masking import STRATEGIES
from pgsbench.masking.base import Need, Strategy


def configure(
    name: str, fields: Mapping[str, Any], *, where: str = "strategy", relative_to: Path | None = None
) -> Strategy:
    """Build the strategy `name` with `fields`; what is not given keeps its default.

    Args:
        name: A built-in name, an entry point's name, or ``file.py:Class``.
        fields: Values by field name.
        where: Dotted path of the strategy in the study, for messages.
        relative_to: Folder against which ``file.py:Class`` is resolved.

    Raises:
        PluginError: The class cannot be found, imported, or is no strategy.
        ConfigError: Unknown or missing fields, wrong types, values out of range; all of them at once.
    """
    kind = strategy_class(name, where=where, relative_to=relative_to)
    declared = {field.name: field for field in dataclasses.fields(kind) if field.init}
    problems: list[UserError] = [
        ConfigError(
            f"unknown field of strategy {name!r}",
            where=f"{where}.{key}",
            value=value,
            way_out=nearest(key, declared),
        )
        for key, value in fields.items()
        if key not in declared
    ]
    problems += [
        ConfigError(
            f"strategy {name!r} needs this field", where=f"{where}.{key}", way_out=f"add `{key}: ...`"
        )
        for key, field in declared.items()
        if key not in fields and _is_required(field)
    ]
    values: dict[str, Any] = {}
    for key, hint in get_type_hints(kind, include_extras=True).items():
        if key in declared and key in fields:
            try:
                values[key] = _typed(fields[key], hint)
            except ValueError as error:
                problems.append(ConfigError(str(error), where=f"{where}.{key}", value=fields[key]))
    rejected = set(fields) - set(values)
    strategy, in_range = _construct(kind, values, rejected=rejected, where=where, incomplete=bool(problems))
    problems += in_range
    if problems:
        raise ConfigError.collect(problems)
    assert strategy is not None
    return strategy


def strategy_class(name: str, *, where: str = "strategy", relative_to: Path | None = None) -> type[Any]:
    """Return the class that `name` stands for, once it is sure to be a strategy.

    Raises:
        PluginError: It cannot be found or imported, or something is missing to make it a strategy.
    """
    try:
        kind = STRATEGIES.load(name, relative_to=relative_to)
    except PluginError as error:
        place = error.where or where
        raise PluginError(error.rule, where=place, value=error.value, way_out=error.way_out) from error
    missing = _what_is_missing(kind)
    if missing:
        raise PluginError(
            "this is no masking strategy: " + "; ".join(missing),
            where=where,
            value=name,
            way_out="see docs/add-a-strategy.md, and test it with pgsbench.masking.testing.StrategyContract",
        )
    return kind


def fields_of(strategy: Strategy) -> dict[str, Any]:
    """Return every field of a strategy, defaults included, as JSON-ready values."""
    fields = dataclasses.fields(strategy)  # type: ignore[arg-type]  # the protocol cannot say "dataclass"
    values = {field.name: getattr(strategy, field.name) for field in fields if field.init}
    plain: dict[str, Any] = to_jsonable_python(values)
    return plain


def _what_is_missing(kind: object) -> list[str]:
    if not isinstance(kind, type):
        return [f"it is {type(kind).__name__!r} and no class"]
    missing = []
    parameters = getattr(kind, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen:
        missing.append("decorate it with `@dataclass(frozen=True)`")
    needs, known = getattr(kind, "needs", None), get_args(Need)
    if not isinstance(needs, frozenset) or not needs <= set(known):
        missing.append(f"`needs` must be a frozenset of {', '.join(map(repr, known))}, perhaps empty")
    select = getattr(kind, "select", None)
    if not callable(select):
        missing.append("it lacks the method `select(self, view, *, generator)`")
    elif list(inspect.signature(select).parameters) != ["self", "view", "generator"]:
        missing.append("the method must be `select(self, view, *, generator)`")
    names = {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set()
    wanted = {"mask_ratio"}
    if isinstance(needs, frozenset) and "attention" in needs:
        wanted.add("ema_momentum")
    missing += [
        f"it lacks a field or property `{name}`" for name in sorted(wanted - names) if not hasattr(kind, name)
    ]
    return missing


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _typed(value: Any, hint: Any) -> Any:
    try:
        text = json.dumps(value, allow_nan=False)
    except TypeError as error:
        raise ValueError("must be a plain value: number, text, true, false, null or a list") from error
    except ValueError as error:
        raise ValueError("must be a finite number") from error
    try:
        return TypeAdapter(hint).validate_json(text, strict=True)
    except ValidationError as error:
        rules = {_lower_first(problem["msg"]) for problem in error.errors()}
        raise ValueError(" or ".join(sorted(rules))) from error


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _construct(
    kind: type[Any], values: dict[str, Any], *, rejected: set[str], where: str, incomplete: bool
) -> tuple[Strategy | None, list[UserError]]:
    # `__post_init__` stops at its first objection. The field it blames is put back to its default and the
    # rest is tried again. A rule that also speaks of a field that has been put back proves nothing, and is
    # not told: the value it compares with is not the user's.
    problems: list[UserError] = []
    values, rejected = dict(values), set(rejected)
    while True:
        try:
            strategy: Strategy = kind(**values)
            return strategy, problems
        except TypeError:
            if incomplete:  # a required field is missing, which has been said
                return None, problems
            raise
        except ValueError as error:
            words = re.findall(r"\w+", str(error))
            blamed = next((word for word in words if word in values), None)
            if not rejected & set(words):
                place = f"{where}.{blamed}" if blamed else where
                problems.append(ConfigError(str(error), where=place))
            if blamed is None:
                return None, problems
            rejected.add(blamed)
            del values[blamed]
