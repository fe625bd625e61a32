"""docs/add-a-strategy.md works as written: its code blocks are what this file runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pgsbench.masking.base import Strategy
from pgsbench.masking.configure import configure, configure_text
from pgsbench.masking.noise import Draws
from pgsbench.masking.testing import StrategyContract, make_view
from pgsbench.masking.text.base import TextStrategy
from pgsbench.masking.text.testing import TextStrategyContract, make_text_view
from pgsbench.models.clip import build
from pgsbench.models.masked_tower import attach

PAGE = Path(__file__).parents[2] / "docs" / "add-a-strategy.md"

#: A strategy of another family, which the page describes in words: neighbouring tokens merge in the middle.
PAIRS = '''
from dataclasses import dataclass
from typing import ClassVar

import torch

from pgsbench.masking.base import BlockView, Need, PatchView, Selection, keep_all
from pgsbench.masking.noise import Draws


@dataclass(frozen=True)
class Pairs:
    """From the middle block on, a token stands for two neighbours; a ratio of 0 switches it off."""

    mask_ratio: float = 0.25
    needs: ClassVar[frozenset[Need]] = frozenset()

    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        return keep_all(view)

    def token_counts(self, num_patches: int, num_blocks: int) -> tuple[int, ...]:
        middle, left = num_blocks // 2, (num_patches + 1) // 2 if self.mask_ratio else num_patches
        return (num_patches,) * middle + (left,) * (num_blocks - middle)

    def fuse(self, view: BlockView) -> torch.Tensor | None:
        if view.depth != view.num_blocks // 2 or self.mask_ratio == 0:
            return None
        b, m = view.sizes.shape
        return (torch.arange(m, device=view.sizes.device) // 2).expand(b, m)
'''


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
    (folder / "my" / "pairs.py").write_text(PAIRS)
    return folder


class TestTheExample(StrategyContract):
    @pytest.fixture
    def strategy(self, folder: Path) -> Strategy:
        return configure("my/spiral.py:Spiral", {"turns": 3.0, "mask_ratio": 0.75}, relative_to=folder)


class TestTheExampleForCaptions(TextStrategyContract):
    @pytest.fixture
    def strategy(self, folder: Path) -> TextStrategy:
        return configure_text("my/ends.py:Ends", {"keep": 6}, relative_to=folder)


class TestTheExampleOfAnotherFamily(StrategyContract):
    exact_length = False

    @pytest.fixture
    def strategy(self, folder: Path) -> Strategy:
        return configure("my/pairs.py:Pairs", {}, relative_to=folder)


def test_neighbours_merge_in_a_tower(folder: Path) -> None:
    clip = build("tiny-vit", seed=0)
    model: Any = clip.model.train()
    masking = attach(model, configure("my/pairs.py:Pairs", {}, relative_to=folder))
    masking.begin_step(seed=0, step=0)
    model.encode_image(torch.randn(2, 3, *clip.image_size))
    patches, blocks = masking.grid[0] * masking.grid[1], len(masking.token_count.per_block)
    assert masking.token_count.per_block == (patches,) * (blocks // 2) + (patches // 2,) * (
        blocks - blocks // 2
    )


def test_both_ends_of_a_caption_stay(folder: Path) -> None:
    ends = configure_text("my/ends.py:Ends", {"keep": 6}, relative_to=folder)
    stays = ends.select(make_text_view((12,), 12), draws=Draws.of_batch(1, seed=0, of="texts"))
    assert stays[0].nonzero().flatten().tolist() == [0, 1, 2, 9, 10, 11]


def test_the_test_of_the_page_runs_and_can_fail(folder: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    # As a reader would run it: in the folder of the study, outside this checkout.
    environment = os.environ | {"PYTHONPATH": str(PAGE.parents[1])}
    run = subprocess.run(command, cwd=folder / "my", env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    code = (folder / "my" / "spiral.py").read_text()
    (folder / "my" / "spiral.py").write_text(
        code.replace("draws.uniform(1)", "torch.rand(view.batch_size, 1)")
    )
    run = subprocess.run(command, cwd=folder / "my", env=environment, capture_output=True, text=True)
    assert run.returncode == 1
    assert "test_the_draws_decide" in run.stdout
    (folder / "my" / "spiral.py").write_text(code)


def test_the_view_is_described_as_it_is() -> None:
    view = make_view()
    page = PAGE.read_text()
    for name in ("grid", "patch_size", "batch_size", "device", "progress", "position"):
        assert hasattr(view, name)
        assert f"`{name}`" in page
