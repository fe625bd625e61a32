"""The strategies that there are, and what each of them is; no plugin is imported to be listed."""

from __future__ import annotations

import ast
import inspect
import re
from importlib.util import find_spec
from pathlib import Path

from pgsbench.masking import STRATEGIES
from pgsbench.masking.text import TEXT_STRATEGIES
from pgsbench.plugins.registry import Registry
from pgsbench.reporting.render import Table


def strategy_tables() -> tuple[Table, Table]:
    """Return the strategies for pictures and those for captions, with papers; no plugin is imported."""
    return (
        _table("Masking strategies", STRATEGIES),
        _table("Text strategies", TEXT_STRATEGIES),
    )


def _table(title: str, registry: Registry) -> Table:
    rows = [[name, *_card(target)] for name, target in registry.builtin.items()]
    for name, point in registry.entry_points().items():
        package = point.dist.name if point.dist else "?"
        rows.append([name, "installed plugin", f"{point.value} of {package}"])
    return Table(title, ["name", "paper", "what it does"], rows)


def _card(target: str) -> tuple[str, str]:
    """Return the paper of a class, the first that it names, and its first line; it is not imported."""
    module, _, name = target.partition(":")
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    statements = ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body
    (found,) = (one for one in statements if isinstance(one, ast.ClassDef) and one.name == name)
    text = ast.get_docstring(found) or ""
    paper = re.search(r"arXiv \d{4}\.\d{5}", text)
    return paper.group() if paper else "a control", text.partition("\n")[0]


def describe(name: str, *, is_text: bool = False) -> str:
    """Return the method of a strategy, its fields with their defaults, and what it looks at, as text.

    Args:
        name: Its name. One that pictures do not have is looked for among text strategies.
        is_text: Look among text strategies only.

    Raises:
        PluginError: There is no such strategy.
    """
    from pgsbench.masking.configure import OPTIONS, strategy_class, text_strategy_class

    is_text = is_text or (name in TEXT_STRATEGIES.names() and name not in STRATEGIES.names())
    kind = text_strategy_class(name) if is_text else strategy_class(name)
    lines = [name, "", inspect.getdoc(kind) or "no description", "", "fields and defaults:"]
    for parameter in inspect.signature(kind).parameters.values():
        default = "required" if parameter.default is parameter.empty else repr(parameter.default)
        annotation = parameter.annotation
        kind_of = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
        lines.append(f"  {parameter.name}: {kind_of} = {default}")
    lines += ["", f"looks at: {', '.join(sorted(kind.needs)) or 'nothing'}"]
    if not is_text and not any(hasattr(kind, method) for method in ("grid_for", "fuse")):
        lines += ["", "options, as of every strategy that drops patches:"]
        first_lines = {
            key: inspect.cleandoc(wrap.__doc__ or "").partition("\n")[0] for key, (wrap, _) in OPTIONS.items()
        }
        lines += [f"  {key}: {line}" for key, line in first_lines.items()]
    return "\n".join(lines)
