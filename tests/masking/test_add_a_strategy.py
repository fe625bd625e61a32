"""docs/add-a-strategy.md works as written: its code blocks are what this file runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pgsbench.masking.base import Strategy
from pgsbench.masking.configure import configure, configure_text
from pgsbench.masking.noise import Draws
from pgsbench.masking.testing import StrategyContract
from pgsbench.masking.text.base import TextStrategy
from pgsbench.masking.text.testing import TextStrategyContract, make_text_view

PAGE = Path(__file__).parents[2] / "docs" / "add-a-strategy.md"


def write_code_blocks(folder: Path) -> list[Path]:
    """Write every block that starts with the comment `# path.py` to that path."""
    blocks = re.findall(r"```python\n(# (\S+\.py)\n.*?)```", PAGE.read_text(), flags=re.DOTALL)
    paths = []
    for code, name in blocks:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    names = [path.name for path in write_code_blocks(folder)]
    assert names == ["spiral.py", "test_spiral.py", "ends.py"]
    return folder


class TestTheExample(StrategyContract):
    @pytest.fixture
    def strategy(self, folder: Path) -> Strategy:
        return configure("my/spiral.py:Spiral", {"turns": 3.0, "mask_ratio": 0.75}, relative_to=folder)


class TestTheExampleForCaptions(TextStrategyContract):
    @pytest.fixture
    def strategy(self, folder: Path) -> TextStrategy:
        return configure_text("my/ends.py:Ends", {"keep": 6}, relative_to=folder)


def test_both_ends_of_a_caption_stay(folder: Path) -> None:
    ends = configure_text("my/ends.py:Ends", {"keep": 6}, relative_to=folder)
    stays = ends.select(make_text_view((12,), 12), draws=Draws.of_batch(1, seed=0, of="texts"))
    assert stays[0].nonzero().flatten().tolist() == [0, 1, 2, 9, 10, 11]
