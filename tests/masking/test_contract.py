"""The contract can fail: each of these strategies breaks one rule, and the test of that rule says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from pgsbench.masking.base import Need, PatchView, Selection, keep_all, num_kept
from pgsbench.masking.noise import Draws
from pgsbench.masking.testing import StrategyContract, make_view


@dataclass(frozen=True)
class Sound:
    """Breaks no rule: patches that show more of an object are kept more often."""

    mask_ratio: float = 0.5
    needs: ClassVar[frozenset[Need]] = frozenset({"objects"})

    def noise(self, view: PatchView, draws: Draws) -> Tensor:
        return draws.uniform(view.num_patches)

    def score(self, view: PatchView, draws: Draws) -> Tensor:
        assert view.objects is not None
        return self.noise(view, draws) + view.objects

    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        if self.mask_ratio == 0:
            return keep_all(view)
        return self.finish(self.score(view, draws), view)

    def finish(self, score: Tensor, view: PatchView) -> Selection:
        keep = score.topk(num_kept(view.num_patches, self.mask_ratio), dim=1).indices
        return Selection(keep.sort(dim=1).values)


class LooksAtTheGlobalState(Sound):
    """Draws what the global generator would draw next, and leaves no trace."""

    def noise(self, view: PatchView, draws: Draws) -> Tensor:
        with torch.random.fork_rng():
            return torch.rand(view.batch_size, view.num_patches)


class ComparesWithTheBatch(Sound):
    def score(self, view: PatchView, draws: Draws) -> Tensor:
        score = super().score(view, draws)
        return (score - score.mean(dim=0)).abs()


class ReturnsAGradient(Sound):
    def finish(self, score: Tensor, view: PatchView) -> Selection:
        return replace(super().finish(score, view), diagnostics={"score": score.mean()})


class WritesIntoTheView(Sound):
    def score(self, view: PatchView, draws: Draws) -> Tensor:
        assert view.objects is not None
        view.objects.mul_(0.5)
        return super().score(view, draws)


class HasADiagnosticThatIsNoNumber(Sound):
    def finish(self, score: Tensor, view: PatchView) -> Selection:
        assert view.objects is not None
        share = view.objects.mean() / view.objects.sum()
        return replace(super().finish(score, view), diagnostics={"share": share})


class KeepsOneMore(Sound):
    def finish(self, score: Tensor, view: PatchView) -> Selection:
        k = num_kept(view.num_patches, self.mask_ratio) + 1
        return Selection(score.topk(k, dim=1).indices.sort(dim=1).values)


class DrawsAtRatioZero(Sound):
    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        return self.finish(self.score(view, draws), view)


class LooksAtMoreThanItSays(Sound):
    def score(self, view: PatchView, draws: Draws) -> Tensor:
        score = super().score(view, draws)
        return score if view.attention is None else score + view.attention


def _rules(contract: StrategyContract) -> dict[str, Callable[[Sound], None]]:
    # Those rules that a strategy can break by what it answers.
    def on_a_view(rule: Callable[[Sound, PatchView], None]) -> Callable[[Sound], None]:
        return lambda strategy: rule(strategy, replace(make_view((4, 6), (16, 16), 2), attention=None))

    return {
        "shapes": lambda strategy: contract.test_what_it_says_of_its_tokens_is_what_it_keeps(
            strategy, (8, 8), (8, 8), 3
        ),
        "draws": on_a_view(contract.test_the_draws_alone_decide),
        "gradient": on_a_view(contract.test_no_gradient_comes_back),
        "inputs": on_a_view(contract.test_inputs_are_left_alone),
        "others": contract.test_a_picture_has_its_mask_in_any_part_of_a_batch,
        "needs": contract.test_it_looks_only_at_what_it_needs,
        "zero": on_a_view(contract.test_ratio_zero_keeps_all_and_draws_nothing),
        "flat": lambda strategy: contract.test_pictures_of_one_colour(strategy, 0.0),
    }


RULES = _rules(StrategyContract())


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (LooksAtTheGlobalState, "draws"),
        (ComparesWithTheBatch, "others"),
        (ReturnsAGradient, "gradient"),
        (WritesIntoTheView, "inputs"),
        (HasADiagnosticThatIsNoNumber, "flat"),
        (KeepsOneMore, "shapes"),
        (DrawsAtRatioZero, "zero"),
        (LooksAtMoreThanItSays, "needs"),
    ],
)
def test_a_broken_rule_is_noticed(kind: type[Sound], rule: str) -> None:
    with pytest.raises(AssertionError):
        RULES[rule](kind())


@pytest.mark.parametrize("rule", RULES)
def test_a_strategy_that_breaks_none_passes(rule: str) -> None:
    RULES[rule](Sound())
