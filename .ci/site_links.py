"""A hook of mkdocs: links to files outside docs/ work on the site as they do on GitHub.

The site holds such files, too: ``docs/X`` is ``X`` there, the README is the first page, and any other file
keeps its path in the repository.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
DOCS = "docs/"
OUTSIDE = (
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "benchmarks/README.md",
    "research/README.md",
    "studies/*.yaml",
    "reports/examples/**/*.*",
)
#: The target of a link or picture that is neither an address nor an anchor of the same page.
TARGET = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside docs/."""
    for pattern in OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between places in the repository into links between places on the site."""
    on_site = page.file.src_uri
    in_repository = on_site if page.file.generated_by else DOCS + on_site
    here, site = posixpath.dirname(in_repository), posixpath.dirname(on_site)

    def moved(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(here, link[1]))
        target = "index.md" if target == "README.md" else target.removeprefix(DOCS)
        return posixpath.relpath(target, site or ".")

    return TARGET.sub(moved, markdown)
