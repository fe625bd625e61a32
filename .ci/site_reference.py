"""A hook of mkdocs: the reference of commands, of study files and of masks is written from the code.

A page says ``<!-- generated: commands -->`` where its part shall stand.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

MARK = re.compile(r"<!-- generated: (\w+) -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put each generated part in the place of its mark."""
    return MARK.sub(lambda mark: PARTS[mark[1]](), markdown)


def commands() -> str:
    """Return all commands: what each one does, its arguments and options, an example."""
    import typer

    from pgsbench.cli.app import app

    return "\n\n".join(_command(typer.main.get_command(app), "pgsbench"))


def _command(command: Any, name: str) -> Iterator[str]:
    inner: Mapping[str, Any] = getattr(command, "commands", {})
    if not inner:
        context = command.context_class(command, info_name=name)
        yield f"## {name}\n\n{' '.join(command.help.split())}\n\n    {command.get_usage(context)[7:]}"
        records = [record for param in command.params if (record := param.get_help_record(context))]
        yield _table(("argument or option", "meaning"), [(f"`{spelt}`", said) for spelt, said in records])
        examples = command.epilog.replace("\b", "").replace("Example: ", "").split("\n")
        yield "\n".join(f"    {line}" for line in examples if line)
    for child, of in inner.items():
        yield from _command(of, f"{name} {child}")


def studies() -> str:
    """Return all settings of a study file, section by section, from its JSON schema."""
    from pgsbench.config.schema import StudyConfig

    schema = StudyConfig.model_json_schema()
    definitions = schema.pop("$defs")
    return "\n\n".join(_section("", schema, definitions))


def _section(path: str, schema: dict[str, Any], definitions: dict[str, Any]) -> Iterator[str]:
    """Yield the table of a section and then those of the sections in it."""
    rows, inner = [], []
    for name, field in schema["properties"].items():
        whole = f"{path}.{name}" if path else name
        said = field.get("description", "")
        found = _definition(field)
        if found:
            inner.append((whole, definitions[found]))
            said = said or definitions[found].get("description", "")
        default = "required" if name in schema.get("required", ()) else _default(field)
        rows.append((f"`{name}`", _values(field), default, said))
    if path:
        yield f"## {path}\n\n{schema.get('description', '')}"
    yield _table(("key", "values", "default", "meaning"), rows)
    for whole, section in inner:
        yield from _section(whole, section, definitions)


def _definition(field: dict[str, Any]) -> str | None:
    """Return the name of the section that a field holds, if it is one."""
    given = [one["$ref"] for one in (field, *field.get("anyOf", ())) if "$ref" in one]
    return given[0].rpartition("/")[2] if given else None


def _default(field: dict[str, Any]) -> str:
    return f"`{json.dumps(field['default'])}`" if field.get("default") not in (None, "") else ""


def _values(field: dict[str, Any]) -> str:
    """Say in words which values a field takes."""
    if "$ref" in field:
        return "a section"
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_values(one) for one in field["anyOf"]))
    if field.get("type") == "array" and "items" in field:
        return f"list of {_values(field['items'])}"
    least = field.get("minimum", field.get("exclusiveMinimum"))
    most = field.get("maximum", field.get("exclusiveMaximum"))
    limits = [f"from {least:,}"] if least is not None else []
    limits += [f"to {most:,}"] if most is not None else []
    return " ".join([field.get("type", "any").replace("object", "mapping"), *limits])


def masks() -> str:
    """Return what `pgsbench masks show` says of each strategy, those for captions at the end."""
    from pgsbench.inspection.catalogue import describe, strategy_tables

    named = [
        (row[0], kind)
        for table, kind in zip(strategy_tables(), ("", " (captions)"), strict=True)
        for row in table.cells()
    ]
    return "\n\n".join(
        f"## {name}{kind}\n\n{_wrapped(describe(name, is_text=bool(kind)))}" for name, kind in named
    )


def _wrapped(text: str) -> str:
    """Return a text without its title; its lines fold where the page is narrow."""
    below = text.partition("\n")[2].strip()
    return f'<pre style="white-space: pre-wrap"><code>{html.escape(below)}</code></pre>'


PARTS = {"commands": commands, "studies": studies, "masks": masks}


def _table(names: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [names, ("---",) * len(names), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
