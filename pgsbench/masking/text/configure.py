"""From a name and fields to a text strategy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pgsbench.errors import PluginError
from pgsbench.masking.configure import what_is_missing
from pgsbench.masking.text import TEXT_STRATEGIES
from pgsbench.masking.text.base import TextNeed, TextStrategy
from pgsbench.plugins.from_values import build, load_class
from pgsbench.plugins.registry import blaming


def configure_text(
    name: str, fields: Mapping[str, Any], *, where: str = "text", relative_to: Path | None = None
) -> TextStrategy:
    """Build the text strategy `name` with `fields`; what is not given keeps its default.

    Args:
        name: A built-in name, an entry point's name, or ``file.py:Class``.
        fields: Values by field name.
        where: Dotted path of the text strategy in the study, for messages.
        relative_to: Folder against which ``file.py:Class`` is resolved.

    Raises:
        PluginError: The class cannot be found, imported or made, or is no text strategy.
        ConfigError: Unknown or missing fields, wrong types, values out of range; all of them at once.
    """
    kind = text_strategy_class(name, where=where, relative_to=relative_to)
    strategy: TextStrategy = build(TEXT_STRATEGIES, name, kind, fields, where=where, read=("keep",))
    return strategy


def text_strategy_class(name: str, *, where: str = "text", relative_to: Path | None = None) -> type[Any]:
    """Return the class that `name` stands for, once it is sure to be a text strategy.

    Raises:
        PluginError: It cannot be found or imported, or something is missing to make it a text strategy.
    """
    kind = load_class(TEXT_STRATEGIES, name, where=where, relative_to=relative_to)
    with blaming("the class of this text strategy raises when it is looked at", where=where, value=name):
        missing = what_is_missing(kind, get_args(TextNeed), {"keep"})
    if missing:
        raise PluginError(
            "this is no text strategy: " + "; ".join(missing),
            where=where,
            value=name,
            way_out="see docs/add-a-strategy.md, and test it with "
            "pgsbench.masking.text.testing.TextStrategyContract",
        )
    return kind
