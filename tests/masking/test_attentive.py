"""attentive keeps what the attention that it is given is highest for."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from masking_twins import block_attention
from torch import Tensor

from pgsbench.masking.base import PatchView
from pgsbench.masking.guided import Attentive
from pgsbench.masking.testing import draws_for, make_view


def _draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _view(attention: Tensor, grid: tuple[int, int]) -> PatchView:
    return PatchView(grid, (8, 8), len(attention), attention.device, attention=attention)


@pytest.mark.parametrize("grid", [(4, 6), (5, 3), (7, 7)])
@pytest.mark.parametrize("side", [1, 2, 3])
@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.75])
def test_no_dropped_patch_has_a_higher_score_than_a_kept_one(
    grid: tuple[int, int], side: int, ratio: float
) -> None:
    n = grid[0] * grid[1]
    attention = torch.rand(5, n, generator=_draw(1)).softmax(dim=1)
    strategy = Attentive(ratio, block_side=side)
    shown = strategy.select(_view(attention, grid), draws=draws_for(_view(attention, grid))).shown(n)
    for row, kept in zip(attention.double(), shown, strict=True):
        score = torch.tensor(block_attention(row.tolist(), grid, side))
        assert score[kept].min() >= score[~kept].max() - 1e-7


def test_a_block_is_kept_or_dropped_whole_but_for_the_last() -> None:
    view = make_view((8, 8), batch_size=20)
    shown = (
        Attentive(0.55, block_side=2).select(view, draws=draws_for(view)).shown(64)
    )  # 28.8 of 64, 7 blocks
    assert shown.sum(dim=1).tolist() == [28] * 20
    per_block = shown.view(20, 4, 2, 4, 2).sum(dim=(2, 4)).flatten(1)
    assert set(per_block.flatten().tolist()) == {0, 4}
    shown = Attentive(0.5, block_side=3).select(view, draws=draws_for(view)).shown(64)
    starts = [0, 3, 6, 8]
    partial = torch.zeros(20, dtype=torch.int64)
    for top, bottom in itertools.pairwise(starts):
        for left, right in itertools.pairwise(starts):
            block = shown.view(20, 8, 8)[:, top:bottom, left:right].flatten(1)
            partial += block.any(dim=1) & ~block.all(dim=1)
    assert int(partial.max()) == 1


def test_equal_attention_is_a_random_mask() -> None:
    view = _view(torch.full((400, 16), 1 / 16), (4, 4))
    shown = Attentive(0.5).select(view, draws=draws_for(view)).shown(16)
    share = shown.float().mean(dim=0)
    assert float((share - 0.5).abs().max()) < 0.1  # four standard deviations
    assert not torch.equal(shown, Attentive(0.5).select(view, draws=draws_for(view, 1)).shown(16))


def test_the_kept_share_of_the_attention_is_reported() -> None:
    view = dataclasses.replace(
        _view(torch.tensor([[0.1, 0.4, 0.3, 0.0], [0.2, 0.2, 0.1, 0.1]]), (2, 2)), batch_size=2
    )
    found = Attentive(0.5).select(view, draws=draws_for(view)).diagnostics["attention_kept"]
    assert float(found) == pytest.approx((0.7 + 0.4) / (0.8 + 0.6))
