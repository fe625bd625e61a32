"""CLIP-PGS: masking grown from a few candidate patches to what resembles them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pgsbench.masking.base import (
    Need,
    PatchView,
    Selection,
    check_range,
    check_ratio,
    keep_all,
    num_kept,
)
from pgsbench.masking.edges import EdgeOperator, edge_map
from pgsbench.masking.noise import Draws
from pgsbench.masking.ops import (
    add_cosines,
    add_inner,
    channel_means,
    colour_similarity,
    order_ascending,
    patchify,
    patterns,
    rows_of,
    shrink,
    transport_scaling,
)


@dataclass(frozen=True)
class PgsStages:
    """What `Pgs` computes on the way to a selection, for figures and diagnostics.

    Attributes:
        edge: (b, n) edge strength as ranks in [0, 1].
        candidates: (b, c) indices of the candidate patches.
        score: (b, n) mask score; the highest are masked first.
        otn_residual: (b,) largest deviation of a row sum from 1 after OTN, or None without OTN.
    """

    edge: Tensor
    candidates: Tensor
    score: Tensor
    otn_residual: Tensor | None


@dataclass(frozen=True)
class Pgs:
    """CLIP-PGS as the paper describes it: masks what resembles a few candidates, protects edges.

    "Seeing What Matters: Empowering CLIP with Patch Generation-to-Selection" (arXiv 2503.17080), section
    3. For patches i, j of an image, at the share t of the training that is done:

    1. e_j: rank of the mean edge strength (ED).
    2. Candidates C: the ``round(rho n)`` patches with the smallest ``u + lambda e``, u uniform in [0, 1).
    3. ``S = (1 - w) S_pixel + w cos(tokens)`` with ``w = token_weight * t``.
    4. ``P``: exp(S / tau) scaled to a doubly stochastic matrix (OTN).
    5. Score ``m_j = max_{i in C} log P_ij - gamma e_j``; candidates come first.
    6. ``k = floor(n (1 - mask_ratio))`` patches stay for every image: ``round(random_share k)`` of them are
       drawn at random, the others are those with the lowest scores.

    CLIP-PGS-0.5 is ``mask_ratio=0.5, random_share=0``; CLIP-PGS-0.3 is
    ``mask_ratio=0.3, max_ratio=0.5, random_share=0``.

    Deviations, and choices where the paper says nothing: luminance comes from the normalised picture, as
    ranks do not mind; P replaces S; tokens count without their position code; pixels are compared at
    `pattern_side`, half as patterns and half by mean colour (`colour_weight`), as z-scored patterns alone
    take the flat inside of an object for flat background; the edge map is spread over neighbouring patches
    (`edge_spread`), so that it protects areas and not only lines; half of the kept patches are drawn at
    random (`random_share`), without which masks vary too little from step to step and lose to random ones;
    ties are broken at random. The defaults were chosen by training; docs/results.md says how. For the dynamic
    ratio a patch counts as redundant if its score exceeds the image's own mean by `threshold` standard
    deviations, so that no image depends on another or on the past. What the published code computes instead
    is in docs/findings.md.

    Args:
        mask_ratio: Share of the patches that is dropped, r_min in the paper.
        max_ratio: r_max; redundant patches up to this share are hidden too. None keeps a fixed length.
        threshold: Standard deviations above the mean from which a patch is redundant (only `max_ratio`). A
            higher one hides less. Chosen so that ratios spread between 0.3 and 0.5: on 256 scenes they are
            0.42 on the mean at progress 0 and 0.39 at 1 (21 and 14 % of the pictures at 0.5, 14 and 27 % at
            0.3), on 17 photographs in patches of ViT-B/16 0.40 and 0.39. Scores are skewed: at 0, the mean
            itself, 96 % of the scenes would be at 0.5.
        candidate_share: rho, share of the patches that become candidates; at least one does.
        edge: Edge operator; "none" switches edge detection off.
        edge_weight: lambda, how strongly edges keep a patch from becoming a candidate.
        edge_penalty: gamma, how strongly edges lower the score of a patch.
        edge_spread: Radius in patches over which edge strength is averaged; 0 leaves lines as lines.
        pattern_side: Patches are averaged down to about this side before their pixels are compared, by a
            factor that divides theirs: from 14 pixels to 7, as 2 would leave hardly a pattern. None
            compares all pixels.
        colour_weight: Share of the mean colours in S_pixel; the rest are z-scored patterns, in which
            flat patches all look alike.
        token_weight: w at the end of the training; it grows linearly from 0.
        otn: Whether similarities are scaled to a doubly stochastic matrix.
        tau: Temperature of the similarities.
        rounds: Updates of the scaling.
        random_share: Share of the kept patches that is drawn at random before scores count; 0 in the paper.
    """

    mask_ratio: float = 0.5
    max_ratio: float | None = None
    threshold: float = 0.45
    candidate_share: float = 0.05
    edge: EdgeOperator = "sobel"
    edge_weight: float = 1.0
    edge_penalty: float = 0.0
    edge_spread: int = 1
    pattern_side: int | None = 4
    colour_weight: float = 0.5
    token_weight: float = 1.0
    otn: bool = True
    tau: float = 0.1
    rounds: int = 10
    random_share: float = 0.5
    needs: ClassVar[frozenset[Need]] = frozenset({"images", "tokens"})

    def __post_init__(self) -> None:
        check_ratio("mask_ratio", self.mask_ratio)
        if self.max_ratio is not None:
            check_ratio("max_ratio", self.max_ratio)
            if self.max_ratio < self.mask_ratio:
                raise ValueError(f"max_ratio must be at least mask_ratio, not {self.max_ratio!r}")
        for name in ("candidate_share", "colour_weight", "token_weight", "random_share"):
            check_range(name, getattr(self, name), 0.0, 1.0)
        for name in ("edge_weight", "edge_penalty"):
            check_range(name, getattr(self, name), 0.0, 1e6)
        # Far above what makes a difference: larger numbers are slips of the pen, and some never end.
        check_range("threshold", self.threshold, -1000.0, 1000.0)
        check_range("edge_spread", self.edge_spread, 0, 1000)
        check_range("tau", self.tau, 0.01, 1000.0)
        check_range("rounds", self.rounds, 0, 1000)
        if self.pattern_side is not None:
            check_range("pattern_side", self.pattern_side, 1, 4096)

    @torch.no_grad()
    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        """Keep the patches with the lowest scores."""
        if self.mask_ratio == 0 and not self.max_ratio:
            return keep_all(view)
        n = view.num_patches
        k = num_kept(n, self.mask_ratio)
        stages = self.stages(view, draws=draws)
        score = stages.score
        if self.random_share:
            score = _pass_at_random(score, round(self.random_share * k), draws)
        by_score = order_ascending(score, draws=draws)[:, :k]
        keep, order = by_score.sort(dim=1)
        diagnostics = {"edge_rank_kept": stages.edge.gather(1, keep).mean()}
        if stages.otn_residual is not None:
            diagnostics["otn_residual"] = stages.otn_residual.amax()
        visible = None
        if self.max_ratio is not None:
            visible = order < self._num_visible(stages.score, k)
        return Selection(keep, visible, diagnostics)

    def stages(self, view: PatchView, *, draws: Draws) -> PgsStages:
        """Compute edge map, candidates and scores; draws one uniform number for each patch."""
        assert view.images is not None
        n = view.num_patches
        edge = edge_map(view.images, view.patch_size, operator=self.edge, spread=self.edge_spread)
        noise = draws.uniform(n)
        num_candidates = max(1, round(self.candidate_share * n))
        candidates = (noise + self.edge_weight * edge).topk(num_candidates, largest=False).indices
        log_mass, residual = self._log_mass(view, candidates)
        score = log_mass.amax(dim=1) - self.edge_penalty * edge
        return PgsStages(edge, candidates, score.scatter(1, candidates, math.inf), residual)

    def _log_mass(self, view: PatchView, candidates: Tensor) -> tuple[Tensor, Tensor | None]:
        # (b, c, n): log P_ij of the candidates i with OTN, S_ij / tau without, up to a constant.
        if not self.otn:
            return self.similarity(view, candidates) / self.tau, None
        # S <= 1 up to round-off, so the exponent never overflows; the scaling does not mind the shift.
        log_kernel = self.similarity(view).sub_(1.0).div_(self.tau)
        rows = rows_of(log_kernel, candidates)
        u, residual = transport_scaling(log_kernel.exp_(), rounds=self.rounds)
        log_u = u.log()
        return rows + log_u.gather(1, candidates)[:, :, None] + log_u[:, None, :], residual

    def similarity(self, view: PatchView, candidates: Tensor | None = None) -> Tensor:
        """Return S (b, m, n) between m patches and all n: the candidates (b, m), or all without them."""
        assert view.images is not None
        token_share = self.token_weight * view.progress
        images, patch_size = view.images.float(), view.patch_size
        if self.pattern_side is not None:
            images, patch_size = shrink(images, patch_size, self.pattern_side)
        patches = patchify(images, patch_size)
        colours = channel_means(patches, images.shape[1])
        b, n, _ = patches.shape
        m = n if candidates is None else candidates.shape[1]
        similarity = patches.new_zeros(b, m, n)
        if token_share < 1.0 and self.colour_weight < 1.0:
            share = (1.0 - token_share) * (1.0 - self.colour_weight)
            for features in patterns(patches, colours):
                add_inner(similarity, features, candidates, share)
        if token_share < 1.0 and self.colour_weight > 0.0:
            alike = colour_similarity(colours, candidates)
            similarity.add_(alike, alpha=(1.0 - token_share) * self.colour_weight)
        if token_share > 0.0:
            add_cosines(similarity, view.content(), candidates, token_share)
        return similarity

    def _num_visible(self, score: Tensor, k: int) -> Tensor:
        # (b, 1): how many of the k kept patches have an influence.
        assert self.max_ratio is not None
        n = score.shape[1]
        candidate = score.isinf()
        known = score.masked_fill(candidate, 0.0)
        count = (~candidate).sum(dim=1, keepdim=True).clamp_min(1)  # all may be candidates
        mean = known.sum(dim=1, keepdim=True) / count
        spread = ((known - mean).square() * ~candidate).sum(dim=1, keepdim=True) / count
        redundant = (score > mean + self.threshold * spread.sqrt()).sum(dim=1, keepdim=True)
        return (n - redundant).clamp(min=min(k, num_kept(n, self.max_ratio)), max=k)


def _pass_at_random(score: Tensor, count: int, draws: Draws) -> Tensor:
    # (b, n) scores in which `count` patches of each image are sure to be kept.
    chosen = draws.uniform(score.shape[1]).topk(count).indices
    return score.scatter(1, chosen, -math.inf)
