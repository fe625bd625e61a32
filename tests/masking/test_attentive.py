"""attentive keeps what the attention that it is given is highest for."""

from __future__ import annotations

import pytest
import torch
from masking_twins import block_attention
from torch import Tensor

from pgsbench.masking.base import PatchView
from pgsbench.masking.guided import Attentive
from pgsbench.masking.testing import draws_for


def _view(attention: Tensor, grid: tuple[int, int]) -> PatchView:
    return PatchView(grid, (8, 8), len(attention), attention.device, attention=attention)


@pytest.mark.parametrize("grid", [(4, 6), (5, 3), (7, 7)])
@pytest.mark.parametrize("side", [1, 2, 3])
@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.75])
def test_no_dropped_patch_has_a_higher_score_than_a_kept_one(
    grid: tuple[int, int], side: int, ratio: float
) -> None:
    n = grid[0] * grid[1]
    attention = torch.rand(5, n, generator=torch.Generator().manual_seed(1)).softmax(dim=1)
    strategy = Attentive(ratio, block_side=side)
    shown = strategy.select(_view(attention, grid), draws=draws_for(_view(attention, grid))).shown(n)
    for row, kept in zip(attention.double(), shown, strict=True):
        score = torch.tensor(block_attention(row.tolist(), grid, side))
        assert score[kept].min() >= score[~kept].max() - 1e-7


def test_equal_attention_is_a_random_mask() -> None:
    view = _view(torch.full((400, 16), 1 / 16), (4, 4))
    shown = Attentive(0.5).select(view, draws=draws_for(view)).shown(16)
    share = shown.float().mean(dim=0)
    assert float((share - 0.5).abs().max()) < 0.1  # four standard deviations
    assert not torch.equal(shown, Attentive(0.5).select(view, draws=draws_for(view, 1)).shown(16))
