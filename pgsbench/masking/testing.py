"""Rules that every masking strategy obeys, as tests to inherit (needs ``pip install '.[test]'``).

A strategy of your own is tested by one class::

    from pgsbench.masking.testing import StrategyContract

    class TestSpiral(StrategyContract):
        @pytest.fixture
        def strategy(self):
            return Spiral(mask_ratio=0.5)
"""

# ruff: noqa: D102  # the name of a test is its documentation

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import random
from typing import Any, ClassVar, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from pgsbench.masking.base import BlockView, Fuser, Need, PatchView, Resampler, Selection, Strategy, num_kept
from pgsbench.masking.configure import fields_of
from pgsbench.masking.noise import Draws
from pgsbench.masking.options import Wrapped
from pgsbench.masking.selection_check import broken_rule
from pgsbench.masking.token_counts import token_count

#: (grid, patch size, batch size): square, wide, tall, odd and single-image batches.
SHAPES: tuple[tuple[tuple[int, int], tuple[int, int], int], ...] = (
    ((8, 8), (8, 8), 3),
    ((7, 7), (16, 16), 2),
    ((14, 14), (14, 14), 1),
    ((4, 6), (16, 16), 2),
    ((5, 3), (32, 32), 1),
    ((3, 5), (4, 8), 3),
)


def make_view(
    grid: tuple[int, int] = (8, 8),
    patch_size: tuple[int, int] = (8, 8),
    batch_size: int = 3,
    *,
    progress: float = 0.5,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    width: int = 12,
) -> PatchView:
    """Return a batch of made-up pictures, each a bright box on a textured ground, with everything given."""
    random = torch.Generator().manual_seed(seed)
    h, w = grid[0] * patch_size[0], grid[1] * patch_size[1]
    n = grid[0] * grid[1]
    images = 0.3 * torch.randn(batch_size, 3, h, w, generator=random)
    shown = torch.zeros(batch_size, h, w)
    for picture, mask in zip(images, shown, strict=True):
        top, left = (int(torch.randint(0, side // 2, (), generator=random)) for side in (h, w))
        picture[:, top : top + h // 2, left : left + w // 2] += torch.randn(3, 1, 1, generator=random) + 1
        mask[top : top + h // 2, left : left + w // 2] = 1.0
    shares = torch.nn.functional.avg_pool2d(shown[:, None], patch_size).flatten(1)
    position = torch.randn(n, width, generator=random)
    tokens = torch.randn(batch_size, n, width, generator=random) + position
    return PatchView(
        grid=grid,
        patch_size=patch_size,
        batch_size=batch_size,
        device=torch.device("cpu"),
        progress=progress,
        images=images.to(dtype),
        tokens=tokens.to(dtype),
        position=position,
        attention=torch.rand(batch_size, n, generator=random),
        objects=shares,
    )


def draws_for(view: PatchView, seed: int = 0) -> Draws:
    """Return what a strategy draws from for a view, as at the first step of a training."""
    return Draws.of_batch(view.batch_size, seed=seed, device=view.device)


def global_states() -> list[bytes]:
    """Return the states of the generators that a process has: Python's, numpy's and torch's."""
    states = (random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state().tolist())
    return [pickle.dumps(state) for state in states]


class PureContract:
    """What strategies for pictures and for captions have in common. The view is a fixture, ``view``."""

    protocol: ClassVar[Any]
    all_needs: ClassVar[frozenset[str]]

    def draws(self, view: Any, seed: int = 0) -> Draws:
        """Return what a strategy draws from for a view, as at the first step of a training."""
        raise NotImplementedError

    def select(self, strategy: Any, view: Any, seed: int = 0) -> Any:
        """Return the strategy's answer to what it needs of a batch."""
        return strategy.select(view.limited_to(strategy.needs), draws=self.draws(view, seed))

    def same(self, first: Any, second: Any) -> bool:
        """Tell whether two answers are equal."""
        return torch.equal(first, second)

    def test_it_is_a_plain_frozen_dataclass(self, strategy: Any) -> None:
        assert isinstance(strategy, self.protocol)
        assert strategy.needs <= self.all_needs
        with pytest.raises(dataclasses.FrozenInstanceError):
            strategy.needs = frozenset()
        assert copy.deepcopy(strategy) == strategy
        assert hash(strategy) == hash(copy.deepcopy(strategy))
        assert pickle.loads(pickle.dumps(strategy)) == strategy

    def test_its_fields_survive_json(self, strategy: Any) -> None:
        fields = fields_of(strategy)
        assert json.loads(json.dumps(fields, allow_nan=False)) == fields

    def test_the_draws_alone_decide(self, strategy: Any, view: Any) -> None:
        before = global_states()
        first = self.select(strategy, view, 7)
        assert global_states() == before, "a global generator has been used"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)  # which may not have a say
            assert self.same(first, self.select(strategy, view, 7))

    def test_inputs_are_left_alone(self, strategy: Any, view: Any) -> None:
        before = copy.deepcopy(view)
        self.select(strategy, view)
        for field in dataclasses.fields(view):
            value, old = getattr(view, field.name), getattr(before, field.name)
            is_left = torch.equal(value, old) if isinstance(value, Tensor) else value == old
            assert is_left, f"{field.name} has been changed"


#: What a view holds of every image, each optional.
PER_IMAGE = ("images", "tokens", "attention", "objects")


class StrategyContract(PureContract):
    """The rules. Subclass it and give one fixture, ``strategy``.

    Attributes:
        exact_length: Every image keeps ``num_kept(n, mask_ratio)`` patches. Switch it off only for a
            strategy that rounds its ratio to what it can do, and say so in its docstring.
        images_are_independent: What one image gets does not depend on the others of its batch. Switched
            off only for a published method that does otherwise.
    """

    protocol = Strategy
    all_needs = frozenset(get_args(Need))
    exact_length: ClassVar[bool] = True
    images_are_independent: ClassVar[bool] = True

    @pytest.fixture
    def view(self, strategy: Strategy) -> PatchView:
        """A batch on a wide grid that holds only what the strategy says that it needs."""
        return make_view((4, 6), (16, 16), 2).limited_to(strategy.needs)

    def draws(self, view: PatchView, seed: int = 0) -> Draws:
        """Return what a strategy draws from for a view, as at the first step of a training."""
        return draws_for(view, seed)

    def same(self, first: Selection, second: Selection) -> bool:
        """Tell whether two selections are equal."""
        return _same(first, second)

    def at_ratio_zero(self, strategy: Strategy) -> Strategy:
        """Return the strategy set to mask nothing; override it if one field is not enough."""
        if strategy.mask_ratio == 0:
            return strategy
        if isinstance(strategy, Wrapped):
            return dataclasses.replace(strategy, strategy=self.at_ratio_zero(strategy.strategy))
        return dataclasses.replace(strategy, mask_ratio=0.0)  # type: ignore[type-var]  # a dataclass, by contract

    def check(self, selection: Selection, view: PatchView) -> None:
        """Raise AssertionError unless a selection is well formed."""
        assert broken_rule(selection, view) == ""
        for name, value in selection.diagnostics.items():
            assert value.ndim == 0, f"diagnostic {name} is one number"
            assert bool(value.isfinite()), f"diagnostic {name} is finite"

    @pytest.mark.parametrize(("grid", "patch_size", "batch_size"), SHAPES)
    def test_what_it_says_of_its_tokens_is_what_it_keeps(
        self, strategy: Strategy, grid: tuple[int, int], patch_size: tuple[int, int], batch_size: int
    ) -> None:
        told = token_count(strategy, grid, num_blocks=3)
        grid = strategy.grid_for(grid) if isinstance(strategy, Resampler) else grid
        view = make_view(grid, patch_size, batch_size)
        selection = self.select(strategy, view)
        self.check(selection, view)
        entered = selection.keep.shape[-1]
        assert told.views == selection.num_views
        if self.images_are_independent:
            assert told.per_block[0] == entered
        else:
            assert told.per_block[0] >= entered, "the most that it can be"
        assert isinstance(strategy, Fuser) or len(set(told.per_block)) == 1
        if self.exact_length:
            assert entered == num_kept(view.num_patches, strategy.mask_ratio)

    def test_merging_between_blocks_keeps_what_it_says(self, strategy: Strategy) -> None:
        if not isinstance(strategy, Fuser):
            pytest.skip("it merges nothing between blocks")
        counts = strategy.token_counts(24, 4)
        for depth in range(4):
            before = counts[max(0, depth - 1)]
            keys = torch.randn(2, before, 6, generator=torch.Generator().manual_seed(0))
            block = BlockView(depth, 4, 24, keys, torch.ones(2, before))
            into = strategy.fuse(block)
            if into is None:
                assert counts[depth] == before, "nothing merges, so no token is saved"
                continue
            for row in into:
                assert row.unique().tolist() == list(range(counts[depth])), "each token left absorbs some"
            again = strategy.fuse(block)
            assert again is not None
            assert torch.equal(into, again), "it draws no random number"

    def test_the_effective_ratio_counts_hidden_patches(self, strategy: Strategy, view: PatchView) -> None:
        selection = self.select(strategy, view)
        views = [selection.view(number) for number in range(selection.num_views)]
        influential = sum(int(one.shown(view.num_patches).sum()) for one in views)
        expected = 1 - influential / (len(views) * view.batch_size * view.num_patches)
        assert float(selection.effective_ratio(view.num_patches)) == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
    def test_it_works_all_along_the_training(self, strategy: Strategy, progress: float) -> None:
        view = make_view(progress=progress)
        self.check(self.select(strategy, view), view)

    def test_no_gradient_comes_back(self, strategy: Strategy, view: PatchView) -> None:
        given = {name: getattr(view, name) for name in (*PER_IMAGE, "position")}
        leaves = {name: v.clone().requires_grad_() for name, v in given.items() if v is not None}
        selection = strategy.select(dataclasses.replace(view, **leaves), draws=draws_for(view))
        returned: dict[str, Tensor | None] = {
            "keep": selection.keep,
            "visible": selection.visible,
            "into": selection.into,
            **selection.diagnostics,
        }
        for name, value in returned.items():
            assert value is None or not value.requires_grad, f"{name}: put `@torch.no_grad()` on select"

    def test_a_picture_has_its_mask_in_any_part_of_a_batch(self, strategy: Strategy) -> None:
        if not self.images_are_independent:
            pytest.skip("its batches are coupled, as published")
        view = make_view(batch_size=5).limited_to(strategy.needs)
        whole = strategy.select(view, draws=draws_for(view))
        for rows in (torch.tensor([3, 4]), torch.tensor([2])):
            given = {name: getattr(view, name) for name in PER_IMAGE}
            part: dict[str, Any] = {name: v[rows] for name, v in given.items() if v is not None}
            few = dataclasses.replace(view, batch_size=len(rows), **part)
            assert _same(strategy.select(few, draws=Draws(rows, seed=0)), _pick(whole, rows))

    def test_it_looks_only_at_what_it_needs(self, strategy: Strategy) -> None:
        view = make_view()
        assert _same(strategy.select(view, draws=draws_for(view)), self.select(strategy, view))

    def test_ratio_zero_keeps_all_and_draws_nothing(self, strategy: Strategy, view: PatchView) -> None:
        draws = draws_for(view)
        selection = self.at_ratio_zero(strategy).select(view, draws=draws)
        everything = torch.arange(view.num_patches).repeat(view.batch_size, 1)
        assert all(torch.equal(selection.view(v).keep, everything) for v in range(selection.num_views))
        assert selection.visible is None
        assert selection.into is None
        assert draws.count == 0

    def test_bfloat16_pictures(self, strategy: Strategy) -> None:
        view = make_view(dtype=torch.bfloat16)
        self.check(self.select(strategy, view), view)

    @pytest.mark.parametrize("value", [0.0, 1.0])
    def test_pictures_of_one_colour(self, strategy: Strategy, value: float) -> None:
        view = make_view()
        same: dict[str, Any] = {name: torch.full_like(getattr(view, name), value) for name in PER_IMAGE}
        flat = dataclasses.replace(view, **same, position=None)
        self.check(self.select(strategy, flat), flat)


def _pick(selection: Selection, rows: Tensor) -> Selection:
    visible, into = (
        None if value is None else value[..., rows, :] for value in (selection.visible, selection.into)
    )
    return Selection(selection.keep[..., rows, :], visible, into=into)


def _same(first: Selection, second: Selection) -> bool:
    pairs = ((getattr(first, name), getattr(second, name)) for name in ("keep", "visible", "into"))
    return all(
        one is other if one is None or other is None else torch.equal(one, other) for one, other in pairs
    )
