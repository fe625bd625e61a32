"""pgs and pgs-mixed: equal to their slow twin, and doing what their fields promise."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from masking_twins import num_hidden, pgs_score
from torch import Tensor

from pgsbench.masking.base import PatchView
from pgsbench.masking.pgs import Pgs
from pgsbench.masking.pgs_mixed import PgsMixed
from pgsbench.masking.testing import draws_for, make_view

#: `PgsMixed` with nothing that `Pgs` does not have.
UNCHANGED = PgsMixed(random_share=0.0, edge_spread=0, colour_weight=0.0, pattern_side=None, tau=0.2)


def _tuned(strategy: Pgs) -> PgsMixed:
    """The fields that `PgsMixed` adds; those of `Pgs` itself where it is one."""
    return strategy if isinstance(strategy, PgsMixed) else UNCHANGED


#: Tests of what both share.
both = pytest.mark.parametrize("kind", [Pgs, PgsMixed])


def _select(strategy: Pgs, view: PatchView, seed: int = 0) -> Tensor:
    return strategy.select(view, draws=draws_for(view, seed)).keep


@pytest.mark.parametrize(
    "strategy",
    [
        Pgs(),
        Pgs(otn=False),
        Pgs(neighbourhood=2),
        Pgs(neighbourhood=1, otn=False, candidate_share=0.2),
        Pgs(neighbourhood=1, edge_penalty=1.5, candidate_share=0.2),
        PgsMixed(),
        PgsMixed(otn=False),
        PgsMixed(colour_weight=0.0, edge_spread=0),
        PgsMixed(token_weight=0.5, edge_penalty=1.5, rounds=3),
        PgsMixed(candidate_share=0.3, edge_weight=0.2, random_share=0.0),
        PgsMixed(neighbourhood=2),
    ],
    ids=str,
)
def test_scores_are_those_of_the_slow_twin(strategy: Pgs) -> None:
    view = make_view((3, 4), (8, 16), 2, progress=0.6)
    tuned = _tuned(strategy)
    stages = strategy.stages(view, draws=draws_for(view, 5))
    draws = draws_for(view, 5)
    noise, lots = (draws.uniform(12).double().numpy() for _ in range(2))
    for row in range(2):
        assert view.images is not None
        assert view.tokens is not None
        candidates, scores = pgs_score(
            view.images[row].double().numpy(),
            (view.tokens[row] - view.position).double().numpy(),  # type: ignore[operator]
            noise[row],
            view.patch_size,
            side=tuned.pattern_side or 16,
            colour=tuned.colour_weight,
            token_share=0.6 * strategy.token_weight,
            otn=strategy.otn,
            tau=strategy.tau,
            rounds=strategy.rounds,
            share=strategy.candidate_share,
            edge_weight=strategy.edge_weight,
            edge_penalty=strategy.edge_penalty,
            spread=tuned.edge_spread,
            neighbourhood=strategy.neighbourhood,
        )
        assert stages.candidates[row].tolist() == candidates
        others = [j for j in range(12) if math.isfinite(scores[j])]
        twin, ours = torch.tensor(scores)[others], stages.score[row, others]
        for limit in (math.inf, -math.inf):  # candidates, and what none of them reaches
            expected = [j for j in range(12) if scores[j] == limit]
            assert (stages.score[row] == limit).nonzero().flatten().tolist() == expected
        torch.testing.assert_close(ours - ours.mean(), twin - twin.mean(), atol=2e-4, rtol=1e-4)
        # and so the selection: those that are drawn stay, and of the others those with the lowest scores
        drawn = sorted(range(12), key=lambda j: -lots[row][j])[: round(6 * tuned.random_share)]
        first = [(j not in drawn, scores[j]) for j in range(12)]
        kept = _select(strategy, view, seed=5)[row].tolist()
        assert max(first[j] for j in kept) <= min(first[j] for j in range(12) if j not in kept)


@pytest.mark.parametrize("ratios", [(0.5, None), (0.3, 0.5)])
@pytest.mark.parametrize("progress", [0.0, 0.4, 1.0])
def test_pgs_mixed_without_its_changes_is_pgs(ratios: tuple[float, float | None], progress: float) -> None:
    ratio, most = ratios
    view = make_view(batch_size=16, progress=progress)
    plain, mixed = (
        strategy.select(view, draws=draws_for(view))
        for strategy in (Pgs(ratio, most), dataclasses.replace(UNCHANGED, mask_ratio=ratio, max_ratio=most))
    )
    assert torch.equal(plain.keep, mixed.keep)
    assert torch.equal(plain.shown(64), mixed.shown(64))


@pytest.mark.parametrize("strategy", [Pgs(), PgsMixed(colour_weight=0.0)])
def test_flat_patches_resemble_flat_patches_of_their_colour_only(strategy: Pgs) -> None:
    view = make_view((2, 2), (8, 8), 1, progress=0.0)
    assert view.images is not None
    images = view.images.clone()
    images[:, :, :8, :8] = 2.0
    images[:, :, :8, 8:] = 2.0
    images[:, :, 8:, :8] = torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1)
    images[:, :, 8:, :8] -= 1.0  # another colour, and a pattern across its channels
    s = strategy.similarity(dataclasses.replace(view, images=images))[0]
    assert s[0, 1] == pytest.approx(1.0)
    assert s.diagonal().tolist() == pytest.approx([1.0] * 4)
    assert s[0, 3].item() == 0.0
    assert s[0, 2].item() == 0.0


@both
def test_otn_converges_and_says_so(kind: type[Pgs]) -> None:
    view = make_view((14, 14), (16, 16), 2, progress=0.0)
    residual = {
        rounds: float(kind(rounds=rounds).select(view, draws=draws_for(view)).diagnostics["otn_residual"])
        for rounds in (0, 10, 30)
    }
    assert residual[0] > 0.1
    assert residual[10] < 1e-3
    assert residual[30] < 1e-5
    assert "otn_residual" not in kind(otn=False).select(view, draws=draws_for(view)).diagnostics


@both
@pytest.mark.parametrize("neighbourhood", [None, 3])
@pytest.mark.parametrize("threshold", [-9.0, 0.45, 9.0])
def test_what_the_dynamic_ratio_hides_is_what_its_slow_twin_counts(
    kind: type[Pgs], neighbourhood: int | None, threshold: float
) -> None:
    view = make_view(batch_size=16)
    strategy = kind(0.3, max_ratio=0.5, threshold=threshold, neighbourhood=neighbourhood)
    scores = strategy.stages(view, draws=draws_for(view)).score.double()
    selection = strategy.select(view, draws=draws_for(view))
    assert selection.visible is not None
    for row in range(16):
        hidden = num_hidden(scores[row].tolist(), num_kept=44, num_least=32, threshold=threshold)
        assert int((~selection.visible[row]).sum()) == hidden


@pytest.mark.parametrize("tau", [0.01, 0.1])
@pytest.mark.parametrize("otn", [True, False])
@both
def test_patches_without_content_leave_scores_finite(kind: type[Pgs], tau: float, otn: bool) -> None:
    view = make_view(progress=1.0)
    assert view.tokens is not None
    assert view.position is not None
    tokens = view.tokens.clone()
    tokens[0, 5] = view.position[5]
    tokens[1] = view.position
    strategy = kind(tau=tau, otn=otn)
    empty = dataclasses.replace(view, tokens=tokens)
    stages = strategy.stages(empty, draws=draws_for(empty))
    assert not stages.score.isnan().any()
    assert stages.score.isfinite().sum(dim=1).tolist() == [61] * 3  # all but the candidates
    assert torch.equal(stages.score[2], strategy.stages(view, draws=draws_for(view)).score[2])
    assert strategy.similarity(empty)[:, 5, 5].tolist() == pytest.approx([1.0] * 3)


@both
def test_ties_are_broken_at_random_and_not_by_position(kind: type[Pgs]) -> None:
    view = make_view(batch_size=400)
    assert view.images is not None
    flat = dataclasses.replace(view, images=torch.zeros_like(view.images), progress=0.0)
    kept = kind(0.5, edge="none").select(flat, draws=draws_for(flat)).shown(64).float().mean(dim=0)
    assert kept.min() > 0.35
    assert kept.max() < 0.65
