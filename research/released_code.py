"""What the published CLIP-PGS code does differently from its paper, measured on anybody's pictures.

Every figure is computed from the pictures it is given, by `PgsReleased` and the pieces it is made of.
Shape letters: b pictures, n patches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from pgsbench.masking.base import PatchView
from pgsbench.masking.edges import edge_map, rank
from pgsbench.masking.noise import Draws
from pgsbench.masking.pgs import Pgs
from pgsbench.masking.pgs_released import (
    OTN_EPS,
    OTN_ROUNDS,
    PgsReleased,
    edge_of_roundoff,
    oscillating_normalisation,
    z_scored_patches,
)

#: Row sums that differ from 1 by less than this count as normalised.
CONVERGED = 1e-3
#: Largest number of rounds of the published normalisation that are followed, on the first picture.
MAX_ROUNDS = 20_000
#: Number of pictures that are masked each in a batch of its own.
MAX_ALONE = 64
#: Number of pictures, and of heads as in ViT-B, that the attention bias is laid out for.
BIAS_PICTURES, BIAS_HEADS = 64, 12


@dataclass(frozen=True)
class Finding:
    """One figure.

    Attributes:
        part: Part of the method it is about.
        what: What was measured.
        value: The figure, as a person reads it.
    """

    part: str
    what: str
    value: str


def measure(view: PatchView, *, seed: int = 0) -> list[Finding]:
    """Measure the published code on a batch of pictures, before tokens count (progress 0).

    Args:
        view: The pictures; at least two.
        seed: Decides what is random in a mask.
    """
    start = replace(view, progress=0.0)
    parts: tuple[Callable[[PatchView, int], list[Finding]], ...] = (
        _edges,
        _candidates,
        _otn,
        _lengths,
        _bias,
    )
    return [finding for part in parts for finding in part(start, seed)]


def _edges(view: PatchView, seed: int) -> list[Finding]:
    assert view.images is not None
    patches = z_scored_patches(view)
    claimed = rank(edge_of_roundoff(patches, view.grid))
    true = edge_map(view.images, view.patch_size, operator="sobel")
    correlation = _spearman(claimed, true)
    weakest = claimed[true <= 0.1].mean()
    found = {
        "largest mean of a z-scored patch (the map shows these)": f"{patches.mean(dim=2).abs().max():.0e}",
        "Spearman correlation with the patches' Sobel edges, mean": f"{correlation.mean():+.2f}",
        "pictures where that correlation is negative": _percent((correlation < 0).float().mean()),
        "mean rank of the tenth with the weakest edges (0 low, 1 high)": f"{weakest:.2f}",
    }
    return _under("edge map", found)


def _candidates(view: PatchView, seed: int) -> list[Finding]:
    assert view.images is not None
    true = edge_map(view.images, view.patch_size, operator="sobel")
    claimed = edge_of_roundoff(z_scored_patches(view), view.grid)
    count = PgsReleased().num_candidates(view.num_patches)
    candidates = {
        "pgs-released": claimed.topk(count).indices,
        "pgs-released if its edge map were true": true.topk(count).indices,
        "pgs": Pgs().stages(view, draws=_draws(view, seed)).candidates,
    }
    found = {
        f"mean percentile of their edges, {name}": _percent(true.gather(1, chosen).mean())
        for name, chosen in candidates.items()
    }
    return _under("candidates", found)


def _otn(view: PatchView, seed: int) -> list[Finding]:
    unit = F.normalize(z_scored_patches(view), dim=2)
    similarity = unit @ unit.transpose(1, 2)
    theirs = oscillating_normalisation(similarity)
    normalised = ((theirs.sum(dim=2) - 1).abs() < CONVERGED).float().mean()
    residual = Pgs().stages(view, draws=_draws(view, seed)).otn_residual
    assert residual is not None
    found = {
        f"rows that sum to 1 after {OTN_ROUNDS} rounds, pgs-released": _percent(normalised),
        "largest entry, which should be below 1, pgs-released": f"{theirs.abs().max():.0e}",
        "rounds until its row sums rest, were all similarities positive": _rounds_to_rest(similarity),
        f"largest error of a row sum after {Pgs().rounds} rounds, pgs": f"{residual.max():.0e}",
        "mask bits that change in float64, pgs-released": _percent(_roundoff(view, seed)),
        "the same with ED and OTN off": _percent(_roundoff(view, seed, edge=False, otn=False)),
    }
    return _under("OTN", found)


def _lengths(view: PatchView, seed: int) -> list[Finding]:
    released = PgsReleased()
    masked, _ = released.masked(view, draws=_draws(view, seed))
    share = masked.float().mean(dim=1)
    low, high = torch.quantile(share, torch.tensor([0.05, 0.95], device=share.device))
    alone = [
        released.select(_row(view, row), draws=_draws(_row(view, row), seed)).keep.shape[1]
        for row in range(min(MAX_ALONE, view.batch_size))
    ]
    together = released.select(view, draws=_draws(view, seed)).keep.shape[1]
    found = {
        "patches above the threshold, mean (5th to 95th percentile)": f"{_percent(share.mean())} "
        f"({_percent(low)} to {_percent(high)})",
        f"kept patches of {view.num_patches}, all pictures in one batch": str(together),
        f"kept patches of {view.num_patches}, every picture alone": f"{min(alone)} to {max(alone)}",
    }
    return _under("ratio", found)


def _bias(view: PatchView, seed: int) -> list[Finding]:
    masked, keep = biased_masks(view, BIAS_PICTURES, seed)
    given = attention_bias(masked, keep, num_heads=BIAS_HEADS)
    meant = attention_bias(masked, keep, num_heads=1).repeat_interleave(BIAS_HEADS, dim=0)
    logits = meant[:, 0]  # the class token's query, where all keys fit it alike
    weight, is_masked = logits.softmax(dim=1), logits == 0
    found = {
        "kept patches that are masked": _percent(masked.gather(1, keep).float().mean()),
        f"pictures x {BIAS_HEADS} heads that get the bias of another picture": _percent(
            (given != meant).flatten(1).any(dim=1).float().mean()
        ),
    }
    if is_masked.any():
        beside = weight.amin(dim=1) / weight[:, 0]  # the class token itself counts as unmasked
        share = beside[is_masked.any(dim=1)].mean()
        found["weight of a masked patch beside an unmasked one"] = _percent(share)
    return _under("attention bias", found)


def biased_masks(view: PatchView, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return what the bias is made of, for the first `count` pictures of a batch at progress 0.

    Returns:
        Which patches (c, n) are masked, True, and the indices (c, k) of the kept ones.
    """
    released, draws = PgsReleased(), _draws(view, seed)
    masked, edge = released.masked(replace(view, progress=0.0), draws=draws)
    return masked[:count], released.fill(masked, edge, draws=draws).keep[:count]


def _under(part: str, found: Mapping[str, str]) -> list[Finding]:
    return [Finding(part, what, value) for what, value in found.items()]


def _rounds_to_rest(similarity: Tensor) -> str:
    # Of exp(S) of the first picture: until no row sum changes by as much as `CONVERGED` in a round.
    matrix = similarity[0].double().exp()
    before = torch.full_like(matrix[0], math.inf)
    for done in range(MAX_ROUNDS):
        row_sums, column_sums = matrix.sum(dim=1), matrix.sum(dim=0)
        if (row_sums - before).abs().max() < CONVERGED:
            return str(done)
        matrix = matrix / (row_sums + OTN_EPS)[:, None] / (column_sums + OTN_EPS)
        before = row_sums
    return f"over {MAX_ROUNDS}"


def _roundoff(view: PatchView, seed: int, *, edge: bool = True, otn: bool = True) -> Tensor:
    # Share of mask bits that differ between float32 and float64 arithmetic on the same pictures.
    released = PgsReleased(edge=edge, otn=otn)
    single, _ = released.masked(view, draws=_draws(view, seed))
    double, _ = released.masked(view, draws=_draws(view, seed), dtype=torch.float64)
    return (single != double).float().mean()


def _spearman(ranks: Tensor, others: Tensor) -> Tensor:
    # (b,): correlation of ranks (b, n) within each picture.
    one, two = (values - values.mean(dim=1, keepdim=True) for values in (ranks, others))
    return F.cosine_similarity(one, two, dim=1)


def _row(view: PatchView, row: int) -> PatchView:
    assert view.images is not None
    assert view.tokens is not None
    return replace(view, batch_size=1, images=view.images[row : row + 1], tokens=view.tokens[row : row + 1])


def _draws(view: PatchView, seed: int) -> Draws:
    return Draws.of_batch(view.batch_size, seed=seed, device=view.device)


def _percent(share: Tensor) -> str:
    return f"{100 * float(share):.0f} %"


def attention_bias(masked: Tensor, keep: Tensor, *, num_heads: int) -> Tensor:
    """Return the bias (b * heads, k + 1, k + 1) that the published code adds to the attention logits.

    It is 1 where query and key are both unmasked, else 0, and laid out head by head although attention
    reads it picture by picture. The class token counts as unmasked here.

    Args:
        masked: (b, n) bool, True where a patch is masked.
        keep: (b, k) indices of the kept patches.
        num_heads: Attention heads of the tower.
    """
    unmasked = F.pad((~masked).gather(1, keep).float(), (1, 0), value=1.0)
    return (unmasked[:, :, None] * unmasked[:, None, :]).repeat(num_heads, 1, 1)
