"""The tensor operations of masks, each against its definition."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from masking_twins import averaged, cut, edge_strength, ranks

from pgsbench.masking.coverage import object_shares, objects_kept, overlap, top_edges_kept
from pgsbench.masking.edges import edge_map, rank
from pgsbench.masking.noise import Draws
from pgsbench.masking.ops import (
    add_cosines,
    colour_similarity,
    order_ascending,
    patchify,
    shrink,
)
from pgsbench.masking.pgs import Pgs
from pgsbench.masking.testing import draws_for, make_view


def _draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_sobel_edges_are_those_of_the_slow_twin() -> None:
    view = make_view((3, 4), (4, 8), 2)
    assert view.images is not None
    ours = edge_map(view.images, view.patch_size, operator="sobel")
    for row in range(2):
        twin = ranks(edge_strength(view.images[row].double().numpy(), view.patch_size))
        assert ours[row].tolist() == pytest.approx(twin)


@given(st.lists(st.integers(0, 5), min_size=2, max_size=12))
def test_ranks_share_ties(values: list[int]) -> None:
    assert rank(torch.tensor([values]).float())[0].tolist() == pytest.approx(ranks(list(map(float, values))))


@given(seed=st.integers(0, 99), n=st.integers(1, 30))
@settings(deadline=None)
def test_order_sorts_and_is_a_permutation(seed: int, n: int) -> None:
    score = torch.randint(0, 4, (3, n), generator=_draw(seed)).float()
    order = order_ascending(score, draws=Draws.of_batch(3, seed=seed))
    assert (score.gather(1, order).diff(dim=1) >= 0).all()
    assert torch.equal(order.sort(dim=1).values, torch.arange(n).expand(3, -1))


@pytest.mark.parametrize(
    ("patch", "side", "small"),
    [
        ((14, 28), 8, (7, 7)),
        ((8, 8), 16, (8, 8)),
        ((32, 8), 4, (4, 4)),
        ((14, 7), 4, (7, 7)),  # not 2 and 1, in which there is no pattern
        ((10, 12), 4, (5, 4)),
        ((8, 6), 1, (1, 1)),
    ],
)
def test_shrinking_averages_within_patches(patch: tuple[int, int], side: int, small: tuple[int, int]) -> None:
    images = torch.rand(2, 3, 2 * patch[0], 3 * patch[1], generator=_draw())
    shrunk, size = shrink(images, patch, side)
    assert size == small
    patches = patchify(shrunk, size)
    for row in range(2):
        for ours, whole in zip(patches[row], cut(images[row].double().numpy(), patch), strict=True):
            twin = torch.from_numpy(averaged(whole, side)).flatten()
            torch.testing.assert_close(ours.double(), twin)


def test_colours_are_compared_relative_to_the_picture() -> None:
    colours = torch.rand(2, 5, 3, generator=_draw())
    alike = colour_similarity(colours)
    torch.testing.assert_close(colour_similarity(7 * colours + 2), alike, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(alike.diagonal(dim1=1, dim2=2), torch.ones(2, 5))
    assert torch.equal(colour_similarity(torch.full((1, 4, 3), 0.3)), torch.ones(1, 4, 4))


def test_object_shares_and_what_is_left_of_them() -> None:
    objects = torch.zeros(2, 8, 8, dtype=torch.uint8)
    objects[0, :4, :4] = 3
    objects[0, 4:6, :4] = 1
    shares = object_shares(objects, (4, 4))
    assert shares.tolist() == [[1.0, 0.0, 0.5, 0.0], [0.0] * 4]
    shown = torch.tensor([[True, False, False, True], [True, True, False, False]])
    found = {name: round(value.item(), 4) for name, value in objects_kept(shares, shown).items()}
    assert found == {
        "objects_kept": 0.6667,
        "insides_kept": 1.0,
        "outlines_kept": 0.0,
        "objects_nearly_gone": 0.0,
    }
    assert objects_kept(shares, ~shown)["objects_nearly_gone"] == 0.0
    assert objects_kept(shares, torch.zeros_like(shown))["objects_nearly_gone"] == 1.0


def test_overlap_is_intersection_over_union() -> None:
    one = torch.tensor([[True, True, False, False]])
    assert overlap(one, one.roll(1, dims=1)).tolist() == pytest.approx([1 / 3])


def test_top_edges_kept_counts_the_strongest_tenth() -> None:
    images = torch.zeros(1, 3, 16, 40)
    images[..., 9, 9] = 1.0  # in patch 6 of 2 x 5
    shown = torch.zeros(1, 10, dtype=torch.bool)
    assert top_edges_kept(images, (8, 8), shown).tolist() == [0.0]
    shown[0, 6] = True
    assert top_edges_kept(images, (8, 8), shown).tolist() == [1.0]


@pytest.mark.parametrize("n", [63, 196, 197])
@pytest.mark.parametrize("some_rows", [False, True])
def test_cosines_are_added_in_blocks_as_in_one_product(n: int, some_rows: bool) -> None:
    features = torch.randn(2, n, 24, generator=_draw(1)).double()
    features[0, 3] = 0.0
    rows = torch.tensor([[0, 3, n - 1], [2, 3, 4]]) if some_rows else None
    unit = torch.nn.functional.normalize(features, dim=2)
    cosines = unit @ unit.transpose(1, 2)
    cosines[0, 3, 3] = 1.0  # what has no direction resembles itself
    expected = 1.0 + 0.5 * cosines
    if rows is not None:
        expected = torch.stack([expected[b, rows[b]] for b in range(2)])
    total = torch.ones_like(expected)
    add_cosines(total, features, rows, 0.5)
    torch.testing.assert_close(total, expected)


@pytest.mark.parametrize("spread", [0, 1])
@pytest.mark.parametrize(("side", "patch"), [(56, 8), (64, 8), (224, 16), (98, 14)])
def test_equal_patches_have_equal_edges_wherever_they_are(spread: int, side: int, patch: int) -> None:
    tile = torch.rand(3, patch, patch, generator=_draw())
    wide = torch.cat([tile, tile.flip(2)], dim=2)
    tall = torch.cat([wide, wide.flip(1)], dim=1)  # neighbours mirror each other
    count = -(-side // (2 * patch))
    images = tall.repeat(1, count, count)[None, :, :side, :side]
    edge = edge_map(images, (patch, patch), operator="sobel", spread=spread)
    rows = side // patch
    ring = 1 + spread  # the border of a picture is another neighbourhood
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
