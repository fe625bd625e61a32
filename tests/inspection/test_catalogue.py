"""What `masks show` says of a strategy."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgsbench.inspection.catalogue import describe


def test_text_strategies_are_shown_by_their_name_or_where_it_is_said() -> None:
    assert "CLIPF" in describe("frequency")
    assert "looks at: counts, words" in describe("frequency")
    assert "PatchDropout" in describe("random")
    assert "Tokens are kept uniformly" in describe("random", is_text=True)


STRATEGY = """{first}
from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True)
class Mine:
    mask_ratio: float = 0.5
    side: Literal["left", "right"] | None = None
    needs: ClassVar[frozenset] = frozenset()

    def select(self, view, *, draws):
        raise NotImplementedError
"""


@pytest.mark.parametrize("first", ["", "from __future__ import annotations"])
def test_fields_are_shown_as_their_author_wrote_them(tmp_path: Path, first: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(STRATEGY.format(first=first))
    lines = describe(f"{file}:Mine").splitlines()
    assert "  mask_ratio: float = 0.5" in lines
    (side,) = (line for line in lines if line.startswith("  side: "))
    assert "Literal[" in side
