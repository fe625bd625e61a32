"""From a name and fields to a strategy, and back."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, get_args

from pydantic_core import to_jsonable_python

from pgsbench.configure import build, load_class
from pgsbench.errors import PluginError
from pgsbench.masking import STRATEGIES
from pgsbench.masking.base import Need, Strategy
from pgsbench.masking.text.base import TextStrategy
from pgsbench.plugins import blaming


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
        PluginError: The class cannot be found, imported or made, or is no strategy.
        ConfigError: Unknown or missing fields, wrong types, values out of range; all of them at once.
    """
    kind = strategy_class(name, where=where, relative_to=relative_to)
    read = ("mask_ratio", "ema_momentum") if "attention" in kind.needs else ("mask_ratio",)
    strategy: Strategy = build(STRATEGIES, name, kind, fields, where=where, read=read)
    return strategy


def strategy_class(name: str, *, where: str = "strategy", relative_to: Path | None = None) -> type[Any]:
    """Return the class that `name` stands for, once it is sure to be a strategy.

    Raises:
        PluginError: It cannot be found or imported, or something is missing to make it a strategy.
    """
    kind = load_class(STRATEGIES, name, where=where, relative_to=relative_to)
    with blaming("the class of this strategy raises when it is looked at", where=where, value=name):
        needs = getattr(kind, "needs", None)
        looks_at_attention = isinstance(needs, frozenset) and "attention" in needs
        wanted = {"mask_ratio", "ema_momentum"} if looks_at_attention else {"mask_ratio"}
        missing = what_is_missing(kind, get_args(Need), wanted)
    if missing:
        raise PluginError(
            "this is no masking strategy: " + "; ".join(missing),
            where=where,
            value=name,
            way_out="see docs/add-a-strategy.md, and test it with pgsbench.masking.testing.StrategyContract",
        )
    return kind


def fields_of(strategy: Strategy | TextStrategy) -> dict[str, Any]:
    """Return every field of a strategy, defaults included, as JSON-ready values."""
    fields = dataclasses.fields(strategy)  # type: ignore[arg-type]  # the protocol cannot say "dataclass"
    values = {field.name: getattr(strategy, field.name) for field in fields if field.init}
    plain: dict[str, Any] = to_jsonable_python(values)
    return plain


def what_is_missing(kind: object, needs_known: Sequence[str], wanted: Set[str]) -> list[str]:
    """Return what a class lacks to be a strategy, each as half a sentence.

    Args:
        kind: What is said to be a class.
        needs_known: What its `needs` may name.
        wanted: The fields or properties that it must have.
    """
    if not isinstance(kind, type):
        return [f"it is {type(kind).__name__!r} and no class"]
    missing = []
    parameters = getattr(kind, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen:
        missing.append("decorate it with `@dataclass(frozen=True)`")
    needs = getattr(kind, "needs", None)
    if not isinstance(needs, frozenset) or not needs <= set(needs_known):
        missing.append(f"`needs` must be a frozenset of {', '.join(map(repr, needs_known))}, perhaps empty")
    select = getattr(kind, "select", None)
    if not callable(select):
        missing.append("it lacks the method `select(self, view, *, generator)`")
    elif list(inspect.signature(select).parameters) != ["self", "view", "generator"]:
        missing.append("the method must be `select(self, view, *, generator)`")
    names = {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set()
    return missing + [
        f"it lacks a field or property `{name}`" for name in sorted(wanted - names) if not hasattr(kind, name)
    ]
