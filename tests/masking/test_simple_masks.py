"""random, flip, grid and oracle: their distributions and patterns."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.transformer import PatchDropout
from torch import Tensor

from pgsbench.masking.base import PatchView, num_kept
from pgsbench.masking.grid import Grid, pattern_of, residues
from pgsbench.masking.guided import Oracle
from pgsbench.masking.random import Flip, Random
from pgsbench.masking.testing import draws_for

grids = st.tuples(st.integers(1, 9), st.integers(1, 9))
ratios = st.floats(0.0, 0.99)


def bare_view(grid: tuple[int, int], batch_size: int) -> PatchView:
    return PatchView(grid=grid, patch_size=(8, 8), batch_size=batch_size, device=torch.device("cpu"))


@pytest.mark.parametrize(
    ("n", "ratio", "k"), [(196, 0.3, 137), (196, 0.5, 98), (196, 0.75, 49), (10, 0.9, 1)]
)
def test_the_papers_lengths(n: int, ratio: float, k: int) -> None:
    assert num_kept(n, ratio) == k


def test_random_has_the_distribution_of_open_clips_patch_dropout() -> None:
    b, grid, ratio = 4000, (3, 4), 0.4
    ours = Random(ratio).select(bare_view(grid, b), draws=draws_for(bare_view(grid, b))).shown(12).float()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        positions = torch.arange(13.0).expand(b, 13)[..., None].contiguous()
        kept = PatchDropout(ratio)(positions)[:, 1:, 0].long() - 1
    theirs = torch.zeros(b, 12).scatter(1, kept, 1.0)
    assert kept.shape[1] == int(ours.sum(dim=1)[0])
    for moment in (lambda shown: shown.mean(dim=0), lambda shown: shown.T @ shown / b):
        torch.testing.assert_close(moment(ours), moment(theirs), atol=0.035, rtol=0)


def test_flip_is_random_at_one_half() -> None:
    assert Flip().mask_ratio == 0.5
    view = bare_view((8, 8), 2)
    flip, random = (kind(0.5).select(view, draws=draws_for(view)).keep for kind in (Flip, Random))
    assert torch.equal(flip, random)


def picture_of(grid: tuple[int, int], ratio: float) -> Tensor:
    every, start, keeps, _ = pattern_of(grid, ratio)
    rows, cols = torch.arange(grid[0])[:, None], torch.arange(grid[1])[None, :]
    return (residues(rows, cols, every) == start) == keeps


@pytest.mark.parametrize(
    ("ratio", "picture"),
    [
        (0.5, ["#.#.", ".#.#", "#.#.", ".#.#"]),
        (0.75, ["#.#.", "....", "#.#.", "...."]),
        (0.25, [".#.#", "####", ".#.#", "####"]),
        (0.6, ["#.#.", ".#.#", "#.#.", ".#.#"]),
        (0.8, ["#....#", "...#..", ".#....", "....#.", "..#..."]),
        (8 / 9, ["#..#..", "......", "......", "#..#..", "......", "......"]),
    ],
)
def test_known_patterns(ratio: float, picture: list[str]) -> None:
    pattern = picture_of((len(picture), len(picture[0])), ratio)
    assert ["".join("#" if shown else "." for shown in row) for row in pattern.tolist()] == picture


@given(grid=grids, ratio=ratios, seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_a_grid_mask_is_its_pattern_shifted_cyclically(
    grid: tuple[int, int], ratio: float, seed: int
) -> None:
    n = grid[0] * grid[1]
    pattern = picture_of(grid, ratio) if ratio else torch.ones(grid, dtype=torch.bool)
    shifts = {
        tuple(pattern.roll((dy, dx), (0, 1)).flatten().tolist())
        for dy in range(grid[0])
        for dx in range(grid[1])
    }
    view = bare_view(grid, 3)
    shown = Grid(ratio).select(view, draws=draws_for(view, seed)).shown(n)
    assert all(tuple(row) in shifts for row in shown.tolist())
    fixed = Grid(ratio, phase="fixed").select(view, draws=draws_for(view, seed)).shown(n)
    assert torch.equal(fixed, pattern.flatten().expand(3, -1))


@pytest.mark.parametrize(
    ("grid", "ratio", "kept"),
    [
        ((8, 8), 0.25, 48),
        ((14, 14), 0.75, 49),
        ((7, 7), 0.75, 12),  # of 49: 12.25 are a quarter
        ((7, 7), 0.25, 37),
        ((1, 5), 0.25, 3),
        ((8, 8), 0.99, 1),
        ((3, 3), 0.05, 8),  # at least one is dropped
        ((1, 1), 0.5, 1),
    ],
)
def test_the_ratio_of_a_grid_is_the_nearest(grid: tuple[int, int], ratio: float, kept: int) -> None:
    selection = Grid(ratio).select(bare_view(grid, 2), draws=draws_for(bare_view(grid, 2)))
    assert selection.keep.shape == (2, kept)
    assert float(selection.effective_ratio(grid[0] * grid[1])) == pytest.approx(
        1 - kept / (grid[0] * grid[1])
    )


@given(seed=st.integers(0, 99), ratio=st.floats(0.01, 0.95), share=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_oracle_drops_no_object_patch_while_it_keeps_another(seed: int, ratio: float, share: float) -> None:
    random = torch.Generator().manual_seed(seed)
    view = bare_view((5, 4), 4)
    objects = (torch.rand(4, 20, generator=random) < share) * torch.rand(4, 20, generator=random)
    view = dataclasses.replace(view, objects=objects)
    shown = Oracle(ratio).select(view, draws=draws_for(view, seed)).shown(20)
    for row in range(4):
        dropped_object = bool((~shown[row] & (objects[row] > 0)).any())
        kept_background = bool((shown[row] & (objects[row] <= 0)).any())
        assert not (dropped_object and kept_background)
