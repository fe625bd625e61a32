"""Masks that look at pictures: at what resembles what, what a tower attends to, where the objects are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pgsbench.masking.base import Need, PatchView, Selection, check_range, check_ratio, keep_all, num_kept
from pgsbench.masking.noise import Draws
from pgsbench.masking.ops import (
    add_cosines,
    add_inner,
    channel_means,
    keep_lowest,
    order_ascending,
    patchify,
    patterns,
)


@dataclass(frozen=True)
class Cluster:
    """E-CLIP: patches that resemble one of a few random anchors are masked, as clusters.

    "Efficient Vision-Language Pre-training by Cluster Masking" (arXiv 2405.08815), section 3. Anchors are
    drawn at random; every patch whose pixels correlate with an anchor's by more than `threshold` is
    masked, the anchors too. How many that are differs from picture to picture, so every picture carries
    ``floor(n (1 - mask_ratio))`` patches, unmasked ones first, and the masked ones among them are hidden;
    the effective ratio is therefore above `mask_ratio`. At least one patch stays visible.

    Deviations: the threshold is a setting and not adapted while training runs, so that no picture
    depends on another; `pgsbench masks diagnose` tells the effective ratio that it gives. Above the default
    lies one half of the patches of photographs, which `mask_ratio` then raises to more; the published code
    has 0.68.

    Args:
        mask_ratio: Least share of the patches that is dropped.
        threshold: Similarity to an anchor above which a patch is masked.
        anchor_share: Share of the patches that become anchors; at least one does.
        token_weight: Share of the tokens' cosine in the similarity at the end of the training; it grows
            linearly from 0. Tokens count without their position code.
        hide: Whether masked patches that are carried along are hidden; if not, they fill up the picture.
    """

    mask_ratio: float = 0.3
    threshold: float = 0.662
    anchor_share: float = 0.03
    token_weight: float = 0.0
    hide: bool = True
    needs: ClassVar[frozenset[Need]] = frozenset({"images", "tokens"})
    ratio_is_least: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_ratio("mask_ratio", self.mask_ratio)
        check_range("threshold", self.threshold, -1.0, 1.0)
        check_range("anchor_share", self.anchor_share, 0.0, 1.0)
        check_range("token_weight", self.token_weight, 0.0, 1.0)

    @torch.no_grad()
    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        """Keep unmasked patches first, at random among equals."""
        if self.mask_ratio == 0:
            return keep_all(view)
        masked = self.resemblance(view, draws.uniform(view.num_patches)) > self.threshold
        k = num_kept(view.num_patches, self.mask_ratio)
        keep, order = order_ascending(masked.float(), draws=draws)[:, :k].sort(dim=1)
        diagnostics = {"masked_ratio": masked.float().mean()}
        visible = (~masked.gather(1, keep)) | (order == 0) if self.hide else None
        return Selection(keep, visible, diagnostics)

    def resemblance(self, view: PatchView, noise: Tensor) -> Tensor:
        """Return (b, n) similarity of each patch to its nearest anchor; infinite for the anchors.

        The patches with the lowest `noise` (b, n) are the anchors.
        """
        assert view.images is not None
        b, n = view.batch_size, view.num_patches
        anchors = noise.topk(max(1, round(self.anchor_share * n)), largest=False).indices
        token_share = self.token_weight * view.progress
        similarity = torch.zeros(b, anchors.shape[1], n, device=view.device)
        patches = patchify(view.images.float(), view.patch_size)
        for features in patterns(patches, channel_means(patches, view.images.shape[1])):
            add_inner(similarity, features, anchors, 1.0 - token_share)
        if token_share > 0.0:
            add_cosines(similarity, view.content(), anchors, token_share)
        return similarity.amax(dim=1).scatter(1, anchors, float("inf"))


@dataclass(frozen=True)
class Attentive:
    """A-CLIP: patches that a moving average of the image tower attends to most are kept.

    "Attentive Mask CLIP" (arXiv 2212.08653), section 3. A slow copy of the image tower sees the whole
    picture. The score of a patch is the attention that the copy's class token pays to it, averaged over
    layers l and heads h: ``s_j = mean_lh softmax_j(q_lh(class) . k_lh(j) / sqrt(d_h))``, d_h the width of
    a head. The ``floor(n (1 - mask_ratio))`` patches with the highest scores stay. After every step
    ``copy <- m copy + (1 - m) tower``; m rises from `ema_momentum` to 1 along half a cosine over the
    training, as in the published code. The copy is no part of the strategy (`pgsbench.models.tower_parts`
    keeps it), but what it costs counts as time spent choosing the mask.

    Deviations: this is the mask alone. The paper's two masked views of a picture, its SimCLR and BYOL
    losses and its efficient variant are left out: one view, and the copy sees the very picture that the
    tower sees, at full resolution. The published code ranks blocks of 2 x 2 patches, which
    ``block_side = 2`` does, and keeps one more than half of them (25 of 49); here the number of patches is
    exact, so that of the last block a random part may stay.

    Args:
        mask_ratio: Share of the patches that is dropped.
        block_side: Rows and columns of the blocks that patches are ranked in, by their mean attention;
            blocks at the right and the lower border may be incomplete.
        ema_momentum: Weight m of the copy's past at the start of the training, in [0, 1]; 0.996 is the
            published code's.
    """

    mask_ratio: float = 0.5
    block_side: int = 1
    ema_momentum: float = 0.996
    needs: ClassVar[frozenset[Need]] = frozenset({"attention"})

    def __post_init__(self) -> None:
        check_ratio("mask_ratio", self.mask_ratio)
        check_range("block_side", self.block_side, 1, 256)
        check_range("ema_momentum", self.ema_momentum, 0.0, 1.0)

    @torch.no_grad()
    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        """Keep the patches with the highest attention, at random among equals."""
        if self.mask_ratio == 0:
            return keep_all(view)
        assert view.attention is not None
        score = self._block_means(view.attention, view.grid)
        keep = keep_lowest(-score, self.mask_ratio, draws=draws).keep
        # Where nothing is paid attention to, none of it is kept.
        share = view.attention.gather(1, keep).sum() / view.attention.sum().clamp_min(1e-12)
        return Selection(keep, diagnostics={"attention_kept": share})

    def _block_means(self, attention: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return (b, n): each patch gets the mean attention of its block."""
        if self.block_side == 1:
            return attention
        rows, cols = grid
        maps = attention.view(-1, 1, rows, cols)
        # In ceil mode a block that reaches over the border is averaged over what lies inside.
        means = F.avg_pool2d(maps, self.block_side, ceil_mode=True)
        spread = means.repeat_interleave(self.block_side, 2).repeat_interleave(self.block_side, 3)
        return spread[:, 0, :rows, :cols].flatten(1)


@dataclass(frozen=True)
class Oracle:
    """Patches that show an object first, the rest at random: the ceiling of masks that keep objects.

    Not a method but a control: it reads the object masks that generated data carries, which no mask in
    the field can. How much of the way from `Random` to it a mask goes is the figure to look at. Where
    more patches show an object than may stay, a random subset of them stays.

    Args:
        mask_ratio: Share of the patches that is dropped; ``floor(n (1 - mask_ratio))`` stay.
    """

    mask_ratio: float = 0.5
    needs: ClassVar[frozenset[Need]] = frozenset({"objects"})

    def __post_init__(self) -> None:
        check_ratio("mask_ratio", self.mask_ratio)

    @torch.no_grad()
    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        """Keep object patches before others, at random among equals."""
        if self.mask_ratio == 0:
            return keep_all(view)
        assert view.objects is not None
        return keep_lowest((view.objects <= 0).float(), self.mask_ratio, draws=draws)
