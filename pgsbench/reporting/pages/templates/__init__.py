"""The pages that pgsbench writes, as Jinja templates, and what they are rendered with."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from pgsbench import __version__
from pgsbench.disk.whole_files import atomic
from pgsbench.reporting import render


def environment() -> jinja2.Environment:
    """Return what renders the templates of this folder."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("pgsbench.reporting.pages", "templates"),
        autoescape=lambda name: bool(name and name.endswith(".html.j2")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["markdown_table"] = render.markdown
    found.filters["code"] = _code
    found.filters["meaning"] = render.meaning
    found.filters["breakable"] = _breakable
    found.filters["data_uri"] = data_uri
    found.globals["version"] = __version__
    return found


def write_text(path: Path, text: str) -> None:
    """Write a text file as a whole."""
    with atomic(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_page(path: Path, template: str, **content: Any) -> None:
    """Write a page of this template."""
    write_text(path, environment().get_template(template).render(content))


def data_uri(picture: bytes, kind: str = "png") -> str:
    """Return a picture as a ``data:`` address."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def _breakable(text: str) -> Markup:
    """Return text as HTML that may be broken after ``_`` and ``=``, as in ``mask_ratio=0.25``."""
    return Markup(str(escape(text)).replace("_", "_<wbr>").replace("=", "=<wbr>"))


def _code(text: str) -> Markup:
    """Return text as HTML in which what stands between backticks is code, whose words are not broken."""

    def marked(found: re.Match[str]) -> Markup:
        words = (Markup('<span class="whole">{}</span>').format(word) for word in found[1].split(" "))
        return Markup("<code>{}</code>").format(Markup(" ").join(words))

    parts = re.split(r"(`[^`]+`)", text)
    return Markup("").join(
        marked(found) if (found := re.fullmatch(r"`(.+)`", part)) else escape(part) for part in parts
    )
