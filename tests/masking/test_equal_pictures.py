"""What is equal is treated alike: equal edges, and equal pictures in batches of different sizes."""

from __future__ import annotations

import pytest
import torch

from pgsbench.masking.base import view_of
from pgsbench.masking.edges import EdgeOperator, edge_map
from pgsbench.masking.pgs import Pgs
from pgsbench.masking.testing import draws_for, make_view


def _draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("operator", ["sobel", "canny"])
@pytest.mark.parametrize("spread", [0, 1])
@pytest.mark.parametrize(("side", "patch"), [(56, 8), (64, 8), (224, 16), (98, 14)])
def test_equal_patches_have_equal_edges_wherever_they_are(
    operator: EdgeOperator, spread: int, side: int, patch: int
) -> None:
    tile = torch.rand(3, patch, patch, generator=_draw())
    wide = torch.cat([tile, tile.flip(2)], dim=2)
    tall = torch.cat([wide, wide.flip(1)], dim=1)  # neighbours mirror each other
    count = -(-side // (2 * patch))
    images = tall.repeat(1, count, count)[None, :, :side, :side]
    edge = edge_map(images, (patch, patch), operator=operator, spread=spread)
    rows = side // patch
    ring = 1 + spread + (operator == "canny")  # the border of a picture is another neighbourhood
    inner = edge.view(rows, rows)[ring:-ring, ring:-ring]
    assert inner.unique().numel() == 1


def test_a_picture_of_one_colour_has_no_edges() -> None:
    images = torch.tensor([0.3, -1.7, 1.234567]).view(1, 3, 1, 1).expand(1, 3, 224, 224)
    assert edge_map(images, (16, 16), operator="sobel", spread=1).max() == 0


@pytest.mark.parametrize("ratio", [0.5, 0.3])
def test_where_every_patch_is_a_candidate_the_most_that_may_be_hidden_is(ratio: float) -> None:
    strategy, view = (
        Pgs(0.25, max_ratio=ratio, candidate_share=1.0),
        make_view((4, 6), (8, 8), 2, progress=0.0),
    )
    selection = strategy.select(view, draws=draws_for(view))
    assert float(selection.effective_ratio(24)) == pytest.approx(1 - int(24 * (1 - ratio) + 1e-9) / 24)


def test_the_view_of_pictures_alone_is_not_of_a_model() -> None:
    view = view_of(torch.zeros(1, 3, 16, 16), (8, 8))
    assert view.progress == 0.0
