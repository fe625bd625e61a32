"""The strategies that there are, and what each of them is; no plugin is imported to be listed."""

from __future__ import annotations

import inspect

from pgsbench.masking import CARDS, STRATEGIES
from pgsbench.reporting.render import Table


def strategy_table() -> Table:
    """Return every strategy with its paper; installed plugins are named, not imported."""
    rows = [[name, card.paper, card.summary] for name, card in CARDS.items()]
    for name, point in STRATEGIES.entry_points().items():
        package = point.dist.name if point.dist else "?"
        rows.append([name, "installed plugin", f"{point.value} of {package}"])
    return Table("Masking strategies", ["name", "paper", "what it does"], rows, text_columns=(1, 2))


def describe(name: str) -> str:
    """Return the method of a strategy, its fields with their defaults, and what it looks at, as text.

    Raises:
        PluginError: There is no such strategy.
    """
    from pgsbench.masking.configure import strategy_class

    kind = strategy_class(name)
    lines = [name, "", inspect.getdoc(kind) or "no description", "", "fields and defaults:"]
    for parameter in inspect.signature(kind).parameters.values():
        default = "required" if parameter.default is parameter.empty else repr(parameter.default)
        annotation = parameter.annotation
        kind_of = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
        lines.append(f"  {parameter.name}: {kind_of} = {default}")
    return "\n".join([*lines, "", f"looks at: {', '.join(sorted(kind.needs)) or 'nothing'}"])
