"""What is computed in place, to save passes over memory, gives the very bits of the plain formula."""

from __future__ import annotations

import dataclasses
import math
from functools import reduce

import numpy as np
import pytest
import torch
from torch import Tensor

from pgsbench.masking import pgs, pgs_mixed
from pgsbench.masking.base import PatchView, num_kept, view_of
from pgsbench.masking.ops import SHORT_ROW, order_ascending, patchify, shrink, transport_scaling
from pgsbench.masking.pgs import Pgs
from pgsbench.masking.pgs_mixed import PgsMixed
from pgsbench.masking.testing import draws_for, make_view
from pgsbench.worlds.scenes import Knobs, scene
from pgsbench.worlds.scenes.paint import paint


def _plain_shrink(images: Tensor, patch: tuple[int, int], side: int) -> tuple[Tensor, tuple[int, int]]:
    """`shrink` with a new tensor for each sum."""
    small = shrink(images, patch, side)[1]
    down, across = patch[0] // small[0], patch[1] // small[1]
    rows = reduce(torch.add, images.unflatten(2, (-1, down)).unbind(3))
    return reduce(torch.add, rows.unflatten(3, (-1, across)).unbind(4)) / (down * across), small


def _plain_patchify(images: Tensor, patch: tuple[int, int]) -> Tensor:
    """`patchify` as one copy of a permuted view."""
    cells = images.unflatten(3, (-1, patch[1])).unflatten(2, (-1, patch[0])).permute(0, 2, 4, 1, 3, 5)
    return cells.flatten(3).flatten(1, 2)


def _plain_scores(strategy: Pgs, view: PatchView, candidates: Tensor, edge: Tensor) -> Tensor:
    """The scores from the kernel of all pairs, with a new tensor for each step."""
    log_kernel = (strategy.similarity(view) - 1.0) / strategy.tau
    log_u = transport_scaling(log_kernel.exp(), rounds=strategy.rounds)[0].log()
    log_mass = log_kernel + log_u[:, :, None] + log_u[:, None, :]
    rows = log_mass.gather(1, candidates[:, :, None].expand(-1, -1, view.num_patches))
    return (rows.amax(dim=1) - strategy.edge_penalty * edge).scatter(1, candidates, math.inf)


def _random() -> PatchView:
    return make_view((5, 7), (16, 16), 3)


def _scenes() -> PatchView:
    drawn = scene.draw_mixed(np.random.default_rng(1), 6, Knobs())
    pictures, _ = paint(np.random.SeedSequence(2), drawn, 64, Knobs())
    view = view_of((torch.from_numpy(pictures) - 0.45) / 0.27, (8, 8))
    tokens = torch.randn(6, 64, 24, generator=torch.Generator().manual_seed(0))
    return dataclasses.replace(view, tokens=tokens)


@pytest.mark.parametrize("view", [_random(), _scenes()], ids=["random", "scenes"])
@pytest.mark.parametrize("progress", [0.0, 0.4, 1.0])
def test_masks_are_those_of_the_plain_formula(
    view: PatchView, progress: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = dataclasses.replace(view, progress=progress)
    for strategy in (
        Pgs(0.5),
        Pgs(0.3, tau=0.1, edge_penalty=0.5),
        PgsMixed(0.5, random_share=0.0),
        PgsMixed(0.3, random_share=0.0, tau=0.2, edge_penalty=0.5),
        PgsMixed(0.75, random_share=0.0, pattern_side=2, colour_weight=0.0),
    ):
        stages = strategy.stages(view, draws=draws_for(view))
        keep = strategy.select(view, draws=draws_for(view)).keep
        with monkeypatch.context() as patched:
            patched.setattr(pgs, "patchify", _plain_patchify)
            patched.setattr(pgs_mixed, "patchify", _plain_patchify)
            patched.setattr(pgs_mixed, "shrink", _plain_shrink)
            plain = _plain_scores(strategy, view, stages.candidates, stages.edge)
        assert torch.equal(stages.score, plain)
        draws = draws_for(view)
        draws.uniform(view.num_patches)  # the candidates'
        order = order_ascending(plain, draws=draws)[:, : num_kept(view.num_patches, strategy.mask_ratio)]
        assert torch.equal(keep, order.sort(dim=1).values)


@pytest.mark.parametrize("patch", [(16, 16), (8, 8), (14, 7), (10, 12), (4, 8)])
def test_shrinking_adds_one_slice_after_the_other(patch: tuple[int, int]) -> None:
    images = torch.randn(2, 3, 3 * patch[0], 2 * patch[1], generator=torch.Generator().manual_seed(1))
    before = images.clone()
    assert torch.equal(shrink(images, patch, 4)[0], _plain_shrink(images, patch, 4)[0])
    assert torch.equal(images, before)


@pytest.mark.parametrize("patch", [(4, 4), (3, SHORT_ROW), (2, SHORT_ROW + 1), (16, 16)])
@pytest.mark.parametrize("channels", [1, 3])
def test_patches_are_cut_alike_however_short_their_rows(patch: tuple[int, int], channels: int) -> None:
    images = torch.randn(2, channels, 3 * patch[0], 2 * patch[1], generator=torch.Generator().manual_seed(1))
    assert torch.equal(patchify(images, patch), _plain_patchify(images, patch))
    mirrored = images.flip(0).transpose(2, 3).contiguous().transpose(2, 3)  # not contiguous
    assert torch.equal(patchify(mirrored, patch), _plain_patchify(mirrored, patch))
