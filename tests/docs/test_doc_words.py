"""The documentation stays short, and is written in plain sentences."""

from __future__ import annotations

import re

import pytest
from documented import PAGES, ROOT

#: Words of README, CONTRIBUTING and docs/ together, as `wc -w` counts.
MOST_WORDS = 13_000
#: A single page.
MOST_WORDS_A_PAGE = 1_400
MOST_WORDS_OF_CHANGES = 1_500
#: Words that readers of English as a second language stumble over; each has a common one.
STILTED = r"lest|whence|thereof|hence|whereby|wherein|thereby|foretell|of its own accord|in words of"


def words(text: str) -> int:
    return len(text.split())


def test_all_pages_together_are_short() -> None:
    counted = {page.name: words(page.read_text(encoding="utf-8")) for page in PAGES}
    assert sum(counted.values()) <= MOST_WORDS, f"say it once, or let something else go: {counted}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_short(page) -> None:
    assert words(page.read_text(encoding="utf-8")) <= MOST_WORDS_A_PAGE


def test_the_changelog_is_short() -> None:
    assert words((ROOT / "CHANGELOG.md").read_text(encoding="utf-8")) <= MOST_WORDS_OF_CHANGES


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_words_are_common_ones(page) -> None:
    assert not re.findall(rf"\b(?:{STILTED})\b", page.read_text(encoding="utf-8"), re.IGNORECASE)
