"""Every relative link in the pages points to a file and a heading that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("reports/examples/*/report.md")]


def slugs(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    found: set[str] = set()
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for heading in re.findall(r"^#{1,6} (.+?)\s*$", text, flags=re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = next(i for i in range(len(found) + 1) if (f"{slug}-{i}" if i else slug) not in found)
        found.add(f"{slug}-{number}" if number else slug)
    return found


def broken_links(page: Path) -> list[str]:
    """Return the relative links of a page that lead nowhere."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in slugs(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One `word`\n# One word\n[a](#one-word-1) [b](#two) [c](page.md#one-word) [d](no.md)\n")
    assert broken_links(page) == ["#two", "no.md"]


def _reports_on_photos() -> list[Path]:
    pages = sorted(ROOT.glob("reports/examples/*/report.md"))
    return [page.parent for page in pages if "tiny-imagenet" in page.read_text(encoding="utf-8")]


def test_reports_on_photos_are_recognised() -> None:
    assert "photos" in [folder.name for folder in _reports_on_photos()]


@pytest.mark.parametrize("folder", _reports_on_photos(), ids=lambda folder: folder.name)
def test_a_report_on_photos_ships_no_photo(folder: Path) -> None:
    assert not list(folder.glob("figures/masks.*"))  # training pictures under each mask
