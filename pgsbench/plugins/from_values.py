"""From a class and named values to an object, for strategies and protocols.

Both are frozen dataclasses; their type hints and ``__post_init__`` are the rules. Types are checked as in
JSON: an integer passes for a float, ``"0.5"`` and ``1`` for a bool do not.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from pgsbench.errors import ConfigError, PluginError, UserError, nearest
from pgsbench.plugins.registry import Registry, blaming


def load_class(registry: Registry, name: str, *, where: str, relative_to: Path | None = None) -> type[Any]:
    """Return the class of a strategy or protocol; what is wrong with it names where it is asked for.

    Args:
        registry: The strategies or the protocols.
        name: A built-in name, an entry point's name, or ``file.py:Class``.
        where: What asks for it, for messages.
        relative_to: Folder against which ``file.py:Class`` is resolved.

    Raises:
        PluginError: It cannot be found or imported.
    """
    try:
        return registry.load(name, relative_to=relative_to)
    except PluginError as error:
        place = ", ".join(part for part in (where, error.where) if part)
        raise PluginError(error.rule, where=place, value=error.value, way_out=error.way_out) from error


def build(
    registry: Registry,
    name: str,
    kind: type[Any],
    values: Mapping[str, Any],
    *,
    where: str,
    read: Iterable[str] = (),
    other_keys: Iterable[str] = (),
) -> Any:
    """Return an object of a class; what is not given keeps its default.

    Args:
        registry: The strategies or the protocols.
        name: What the class is called in the file.
        kind: The class, a frozen dataclass.
        values: Values by field name.
        where: What asks for it, for messages.
        read: Properties that must be readable.
        other_keys: What else the file may say in this place, for the way out.

    Raises:
        ConfigError: Unknown or missing fields, wrong types, and the first value out of range, all at once.
        PluginError: Code of the class raises; a built-in class keeps its traceback.
    """
    declared = {field.name: field for field in dataclasses.fields(kind) if field.init}
    problems: list[UserError] = [
        ConfigError(
            f"unknown field of {registry.kind} {name!r}",
            where=f"{where}.{key}",
            value=value,
            way_out=nearest(key, [*declared, *other_keys]),
        )
        for key, value in values.items()
        if key not in declared
    ]
    problems += [
        ConfigError(
            f"{registry.kind} {name!r} needs this field",
            where=f"{where}.{key}",
            way_out=f"add `{key}: ...`",
        )
        for key, field in declared.items()
        if key not in values and _is_required(field)
    ]
    guard = partial(_guarded, registry, name, where)
    with guard(f"the type hints of this {registry.kind} cannot be read"):
        hints = get_type_hints(kind, include_extras=True)
        adapters = {key: TypeAdapter(hints[key]) for key in declared if key in values}
    typed: dict[str, Any] = {}
    for key, adapter in adapters.items():
        try:
            typed[key] = _typed(values[key], adapter)
        except ValueError as error:
            problems.append(ConfigError(str(error), where=f"{where}.{key}", value=values[key]))
    made = None
    with guard(f"this {registry.kind} raises when it is made"):
        try:
            made = kind(**typed)
        except ValueError as error:  # the first objection of `__post_init__`
            words = re.findall(r"\w+", str(error))
            blamed = next((word for word in words if word in typed), None)
            if not (values.keys() - typed.keys()) & set(words):  # else it compares with a default
                problems.append(ConfigError(str(error), where=f"{where}.{blamed}" if blamed else where))
        except TypeError:
            if not problems:  # else a required field is missing, which is said
                raise
    if problems:
        raise ConfigError.collect(problems)
    for key in read:
        with guard(f"`{key}` of this {registry.kind} raises"):
            getattr(made, key)
    return made


def _guarded(registry: Registry, name: str, where: str, rule: str) -> AbstractContextManager[None]:
    # What built-in code raises is a bug of ours.
    return nullcontext() if name in registry.builtin else blaming(rule, where=where, value=name)


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _typed(value: Any, adapter: TypeAdapter[Any]) -> Any:
    try:
        text = json.dumps(value, allow_nan=False)
    except TypeError as error:
        raise ValueError("must be a plain value: number, text, true, false, null or a list") from error
    except ValueError as error:
        raise ValueError("must be a finite number") from error
    try:
        return adapter.validate_json(text, strict=True)
    except ValidationError as error:
        rules = {problem["msg"][:1].lower() + problem["msg"][1:] for problem in error.errors()}
        raise ValueError(" or ".join(sorted(rules))) from error
