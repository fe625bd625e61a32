"""The pages that pgsbench writes, as Jinja templates, and what they are rendered with."""

from __future__ import annotations

import jinja2

from pgsbench.reporting import render


def environment() -> jinja2.Environment:
    """Return what renders the templates of this folder."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("pgsbench.reporting", "templates"),
        autoescape=lambda name: bool(name and name.endswith(".html.j2")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["markdown_table"] = render.markdown
    return found
