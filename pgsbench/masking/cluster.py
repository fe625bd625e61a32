"""E-CLIP's clusters: whatever resembles a few random patches is masked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pgsbench.masking.base import Need, PatchView, Selection, check_range, check_ratio, keep_all, num_kept
from pgsbench.masking.noise import Draws
from pgsbench.masking.ops import add_cosines, add_inner, channel_means, order_ascending, patchify, patterns


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
