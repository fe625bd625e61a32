"""From a name and fields to a strategy, and back."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic_core import to_jsonable_python

from pgsbench.errors import ConfigError, PluginError
from pgsbench.masking import STRATEGIES
from pgsbench.masking.base import Need, Strategy
from pgsbench.masking.options import ManyViews, Merged
from pgsbench.masking.text import TEXT_STRATEGIES
from pgsbench.masking.text.base import TextNeed, TextStrategy
from pgsbench.plugins.from_values import build, load_class
from pgsbench.plugins.registry import Registry, blaming

#: What every strategy can do besides choosing patches: a key of a study's `strategy` -> the class that does
#: it, made of another strategy and the value, and the value that leaves it out. Applied in this order.
OPTIONS: dict[str, tuple[type[Any], Any]] = {"merge": (Merged, None), "views": (ManyViews, 1)}


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
        ConfigError: Unknown or missing fields, wrong types, and the first value out of range, all at once.
    """
    kind = strategy_class(name, where=where, relative_to=relative_to)
    own = {field.name for field in dataclasses.fields(kind)}
    options = {key: fields[key] for key in OPTIONS if key in fields and key not in own}
    fields = {key: value for key, value in fields.items() if key not in options}
    read = ("mask_ratio", "ema_momentum") if "attention" in kind.needs else ("mask_ratio",)
    strategy: Strategy = build(
        STRATEGIES, name, kind, fields, where=where, read=read, other_keys=OPTIONS.keys() - own
    )
    for key, value in options.items():
        wrap, off = OPTIONS[key]
        if value != off or type(value) is not type(off):
            try:
                strategy = wrap(strategy, value)
            except ValueError as error:
                raise ConfigError(str(error), where=f"{where}.{key}", value=value) from error
    return strategy


def configure_text(
    name: str, fields: Mapping[str, Any], *, where: str = "text", relative_to: Path | None = None
) -> TextStrategy:
    """Build a text strategy, as `configure` builds one for images, and raise what that raises."""
    kind = text_strategy_class(name, where=where, relative_to=relative_to)
    strategy: TextStrategy = build(TEXT_STRATEGIES, name, kind, fields, where=where, read=("keep",))
    return strategy


def strategy_class(name: str, *, where: str = "strategy", relative_to: Path | None = None) -> type[Any]:
    """Return the class that `name` stands for, once it is sure to be a strategy.

    Raises:
        PluginError: It cannot be found or imported, or something is missing to make it a strategy.
    """
    return _class(STRATEGIES, name, get_args(Need), "mask_ratio", where, relative_to)


def text_strategy_class(name: str, *, where: str = "text", relative_to: Path | None = None) -> type[Any]:
    """Return the class of a text strategy, as `strategy_class` does of one for images."""
    return _class(TEXT_STRATEGIES, name, get_args(TextNeed), "keep", where, relative_to)


def _class(
    registry: Registry, name: str, needs: Sequence[str], budget: str, where: str, relative_to: Path | None
) -> type[Any]:
    kind = load_class(registry, name, where=where, relative_to=relative_to)
    with blaming(f"the class of this {registry.kind} raises when it is looked at", where=where, value=name):
        is_one = _is_strategy(kind, needs, budget)
    if not is_one:
        raise PluginError(
            f"this is no {registry.kind}: a class with `@dataclass(frozen=True)`, `needs`, a frozenset of "
            f"{', '.join(map(repr, needs))} or of none, `select(self, view, *, draws)` and `{budget}`, a "
            "field or property; with 'attention' in `needs` also `ema_momentum`",
            where=where,
            value=name,
            way_out="see docs/add-a-strategy.md, and test it with StrategyContract or TextStrategyContract",
        )
    return kind


def _is_strategy(kind: object, needs_known: Sequence[str], budget: str) -> bool:
    if not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
        return False
    needs, select = getattr(kind, "needs", None), getattr(kind, "select", None)
    if not isinstance(needs, frozenset) or not needs <= set(needs_known) or not callable(select):
        return False
    names = {field.name for field in dataclasses.fields(kind)}
    wanted = {budget, "ema_momentum"} if "attention" in needs else {budget}
    return (
        getattr(kind, "__dataclass_params__").frozen  # noqa: B009  # mypy does not know it
        and list(inspect.signature(select).parameters) == ["self", "view", "draws"]
        and all(name in names or hasattr(kind, name) for name in wanted)
    )


def fields_of(strategy: Strategy | TextStrategy) -> dict[str, Any]:
    """Return every field of a strategy, defaults included, as JSON-ready values; options that are on, too."""
    for key, (wrap, _) in OPTIONS.items():
        if isinstance(strategy, wrap):
            return {**fields_of(strategy.strategy), key: getattr(strategy, key)}
    fields = dataclasses.fields(strategy)  # type: ignore[arg-type]  # the protocol cannot say "dataclass"
    values = {field.name: getattr(strategy, field.name) for field in fields if field.init}
    plain: dict[str, Any] = to_jsonable_python(values)
    return plain
