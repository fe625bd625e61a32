"""block drops rectangles; cluster drops what resembles its anchors."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from masking_twins import correlation, cut
from torch import Tensor

from pgsbench.masking.base import PatchView
from pgsbench.masking.guided import Cluster
from pgsbench.masking.random import Block
from pgsbench.masking.testing import draws_for, make_view


def _dropped(strategy: Block, grid: tuple[int, int], batch_size: int) -> Tensor:
    view = PatchView(grid=grid, patch_size=(8, 8), batch_size=batch_size, device=torch.device("cpu"))
    shown = strategy.select(view, draws=draws_for(view)).shown(grid[0] * grid[1])
    return ~shown.view(batch_size, *grid)


def test_one_block_is_a_rectangle_up_to_its_last_ring() -> None:
    for dropped in _dropped(Block(0.3), (12, 9), 50):
        rows, cols = dropped.any(dim=1).nonzero().flatten(), dropped.any(dim=0).nonzero().flatten()
        top, bottom, left, right = int(rows[0]), int(rows[-1]), int(cols[0]), int(cols[-1])
        assert dropped[top + 1 : bottom, left + 1 : right].all()
        # Each side of the ring may miss patches, but a patch dropped outside the box would move the box.
        assert int(dropped.sum()) == 108 - 75


def test_blocks_are_of_the_shape_that_is_allowed() -> None:
    def aspects(limit: float) -> Tensor:
        dropped = _dropped(Block(0.1, max_aspect=limit), (30, 30), 200)
        inside = ~(dropped[:, [0, -1]].any(dim=(1, 2)) | dropped[:, :, [0, -1]].any(dim=(1, 2)))
        heights = dropped.any(dim=2).sum(dim=1).float()
        return (heights / dropped.any(dim=1).sum(dim=1))[inside]

    square = aspects(1.0)
    assert ((square > 0.75) & (square < 1.34)).all()
    wide = aspects(4.0)
    assert wide.max() > 2.2
    assert wide.min() < 0.45
    assert wide.max() < 5.5


def test_clusters_are_what_correlates_with_an_anchor() -> None:
    view = make_view((4, 5), (8, 8), 2)
    assert view.images is not None
    strategy = Cluster(0.3, threshold=0.2, anchor_share=0.1)
    found = strategy.resemblance(view, draws_for(view).uniform(20))
    for row in range(2):
        patches = cut(view.images[row].double().numpy(), (8, 8))
        anchors = found[row].isinf().nonzero().flatten().tolist()
        assert len(anchors) == 2
        for j in range(20):
            if j not in anchors:
                twin = max(correlation(patches[i], patches[j]) for i in anchors)
                assert float(found[row, j]) == pytest.approx(twin, abs=1e-5)
    masked = found > strategy.threshold
    selection = strategy.select(view, draws=draws_for(view))
    shown = selection.shown(20)
    assert selection.keep.shape[1] == 14
    assert not (shown & masked).any()
    filled = dataclasses.replace(strategy, hide=False).select(view, draws=draws_for(view))
    assert filled.visible is None
    assert torch.equal(filled.keep, selection.keep)


def test_tokens_can_be_mixed_in() -> None:
    view = make_view(progress=1.0)
    found = Cluster(token_weight=1.0).resemblance(view, draws_for(view).uniform(64))
    anchors = found.isinf()
    unit = torch.nn.functional.normalize(view.content(), dim=2)
    s = (unit @ unit.transpose(1, 2)).masked_fill(~anchors[:, :, None], -2.0).amax(dim=1)
    torch.testing.assert_close(found[~anchors], s[~anchors])
