"""What the published CLIP-PGS code computes, slips included, to compare with its checkpoints."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pgsbench.masking.base import Need, PatchView, Selection, check_range, check_ratio, keep_all, num_kept
from pgsbench.masking.noise import Draws

#: The published code divides the epoch by this number, whatever the length of the training.
EPOCHS = 32
OTN_ROUNDS = 50
OTN_EPS = 1e-3
EPS = 1e-6


@dataclass(frozen=True)
class PgsReleased:
    """CLIP-PGS as its published code computes it, which is not what its paper says.

    Kept for comparison with published checkpoints; use `Pgs` for the method of arXiv 2503.17080. Where
    the code differs from it:

    * The "edge map" is a Sobel filter over the mean of each z-scored patch. That mean is zero, so the map
      shows round-off, and flat patches get the largest values.
    * Candidates are the patches with the highest edge values, although the text protects edges.
    * OTN divides by row and column sums that are both taken before either division; it oscillates
      instead of converging, and is added to the similarity rather than replacing it.
    * What exceeds a threshold on similarity is masked, so the ratio differs from picture to picture, and
      the number of kept patches depends on the whole batch.
    * Tokens are compared together with their position code.
    * The weight of tokens is the epoch divided by 32: beyond, that of pixels is negative.

    Fidelity, on six pictures given to both: without OTN every mask bit agrees with the published code, and so
    do the kept length and the kept patches. With OTN 58 to 88 % of the bits agree (that code in float32 and
    float64, on one processor: 86 %): 50 rounds blow up the last bits of a matrix product, which every
    processor adds up in an order of its own. The range is that of two x86 processors, one of them with
    AVX-512, AVX2 and SSE4.2; the majority over 16 orders of summation agrees in 86 to 98 %. From the same
    masks follow the same lengths and patches there, too; from masks that differ, a length can (39 for 47).

    Deviations from the code: patches of any size (16 pixels are built in there); indices ascend; its
    attention bias is left out. That bias adds 1 between unmasked patches, is laid out for other samples
    and heads than it is made for, and hides nothing: docs/findings.md measures what it does.

    Args:
        mask_ratio: Least share of the patches that is dropped, 0.5 or 0.3 there; 0 keeps all.
        target: Similarity above which a patch is masked.
        candidate_share: Share of the patches that become candidates.
        edge: Whether the edge map chooses the candidates (ED).
        otn: Whether the normalised similarity is added (OTN).
    """

    mask_ratio: float = 0.5
    target: float = 0.5
    candidate_share: float = 0.05
    edge: bool = True
    otn: bool = True
    needs: ClassVar[frozenset[Need]] = frozenset({"images", "tokens"})
    ratio_is_least: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_ratio("mask_ratio", self.mask_ratio)
        check_range("target", self.target, -1.0, 1.0)
        check_range("candidate_share", self.candidate_share, 0.0, 1.0)

    @torch.no_grad()
    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        """Keep unmasked patches, then masked ones at random up to a length that depends on the batch."""
        if self.mask_ratio == 0:
            return keep_all(view)
        masked, edge = self.masked(view, draws=draws)
        return self.fill(masked, edge, draws=draws)

    def fill(self, masked: Tensor, edge: Tensor | None, *, draws: Draws) -> Selection:
        """Turn `masked` (b, n) into a selection of one length for the whole batch.

        Draws one uniform number for each patch.
        """
        n = masked.shape[1]
        noise = draws.uniform(n)
        # The length becomes a shape, so here the device has to wait, as it does in the published code.
        longest = n - int(masked.sum(dim=1).min())
        if edge is not None:
            longest += math.floor(float(edge.sum(dim=1).min()))
        k = max(1, min(num_kept(n, self.mask_ratio), longest))
        kept = (noise.exp() * masked).argsort(dim=1)[:, :k]
        diagnostics = {"masked_ratio": masked.float().mean()}
        return Selection(kept.sort(dim=1).values, diagnostics=diagnostics)

    def masked(
        self, view: PatchView, *, draws: Draws, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor | None]:
        """Return which patches (b, n) are masked, True, and the edge map (b, n) where it is used.

        Draws one uniform number for each patch. The published code computes in float32; another `dtype`
        shows how much of its answer is round-off.
        """
        n = view.num_patches
        patches = z_scored_patches(view, dtype)
        similarity = self.similarity(view, patches)
        if self.otn:
            similarity = similarity + oscillating_normalisation(similarity)
        noise = draws.uniform(n)
        edge = None
        if self.edge:
            edge = self.edge_strength(view, patches)
            noise = noise + 1e6 * self.preference(edge)
        candidates = noise.argsort(dim=1)[:, n - self.num_candidates(n) :]
        rows = similarity.gather(1, candidates[:, :, None].expand(-1, -1, n))
        return (rows > self.target).any(dim=1), edge

    def num_candidates(self, num_patches: int) -> int:
        """Return how many of `num_patches` become candidates: rounded up, as the published code does."""
        return num_patches - math.floor((1.0 - self.candidate_share) * num_patches)

    def similarity(self, view: PatchView, patches: Tensor) -> Tensor:
        """Return (b, n, n) cosines, of tokens and of z-scored patches (b, n, d), in the dtype of these."""
        assert view.tokens is not None
        token_share = math.floor(view.progress * EPOCHS) / EPOCHS
        tokens = view.tokens.to(patches.dtype)
        return token_share * _cosines(tokens) + (1.0 - token_share) * _cosines(patches)

    def edge_strength(self, view: PatchView, patches: Tensor) -> Tensor:
        """Return what passes for an edge map, (b, n) in [0, 1], of z-scored patches (b, n, d)."""
        return edge_of_roundoff(patches, view.grid)

    def preference(self, edge: Tensor) -> Tensor:
        """Return how much each patch of an edge map (b, n) is wanted as a candidate: the highest, here."""
        return edge


def z_scored_patches(view: PatchView, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return (b, n, d) patches z-scored over all values; d runs over row, column, channel.

    The order matters where it should not: the "edge map" is the round-off of summing in this order.
    """
    assert view.images is not None
    b, c = view.images.shape[:2]
    rows, cols, (height, width) = *view.grid, view.patch_size
    cells = view.images.to(dtype).reshape(b, c, rows, height, cols, width).permute(0, 2, 4, 3, 5, 1)
    patches = cells.reshape(b, rows * cols, height * width * c)
    return (patches - patches.mean(dim=2, keepdim=True)) / (patches.std(dim=2, keepdim=True) + EPS)


def edge_of_roundoff(patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the "edge map" (b, n) in [0, 1] of z-scored patches (b, n, d): Sobel over their means."""
    means = patches.mean(dim=2).view(-1, 1, *grid)
    x = means.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    slope = F.conv2d(means, torch.stack([x, x.T])[:, None], padding=1)
    size = slope.square().sum(dim=1).sqrt().flatten(1)
    low, high = size.amin(dim=1, keepdim=True), size.amax(dim=1, keepdim=True)
    return (size - low) / (high - low + EPS)


def oscillating_normalisation(similarity: Tensor) -> Tensor:
    """Return (b, n, n) after 50 rounds that divide by row and column sums at once; it does not converge."""
    matrix = similarity
    for _ in range(OTN_ROUNDS):
        row_sums, column_sums = matrix.sum(dim=2, keepdim=True), matrix.sum(dim=1, keepdim=True)
        matrix = matrix / (row_sums + OTN_EPS) / (column_sums + OTN_EPS)
    return matrix


def _cosines(features: Tensor) -> Tensor:
    unit = F.normalize(features, dim=2)
    return unit @ unit.transpose(1, 2)
