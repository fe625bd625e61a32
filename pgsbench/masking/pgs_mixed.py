"""CLIP-PGS as it was tuned here: colours count, areas are protected, half of it is drawn at random."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pgsbench.masking.base import PatchView, check_range
from pgsbench.masking.edges import edge_map
from pgsbench.masking.noise import Draws
from pgsbench.masking.ops import add_inner, channel_means, colour_similarity, patchify, patterns, shrink
from pgsbench.masking.pgs import Pgs


@dataclass(frozen=True)
class PgsMixed(Pgs):
    """CLIP-PGS tuned here, no published method: half of the kept patches are drawn at random.

    `Pgs` (arXiv 2503.17080) with four changes, all chosen by training on scenes and small photos:

    1. ``round(random_share k)`` of the k kept patches are drawn at random before scores count: the paper's
       masks vary too little from step to step, and lose to random ones.
    2. The edge map is spread over neighbouring patches (`edge_spread`), so that it protects areas, not lines.
    3. S_pixel is half a correlation of patterns and half a likeness of mean colours (`colour_weight`): in
       z-scored patterns alone, the flat inside of an object looks like flat background.
    4. Patterns are compared at `pattern_side`, which costs less, and tau is 0.1.

    With ``random_share=0, edge_spread=0, colour_weight=0, pattern_side=None, tau=0.2`` it is `Pgs`.

    Args:
        tau: As in `Pgs`, with another default.
        edge_spread: Radius in patches over which edge strength is averaged; 0 leaves lines as lines.
        pattern_side: Patches are averaged down to about this side before their pixels are compared, by a
            factor that divides theirs: from 14 pixels to 7, as 2 would leave hardly a pattern. None
            compares all pixels.
        colour_weight: Share of the mean colours in S_pixel; the rest are z-scored patterns, in which
            flat patches all look alike.
        random_share: Share of the kept patches that is drawn at random before scores count.
    """

    tau: float = 0.1
    edge_spread: int = 1
    pattern_side: int | None = 4
    colour_weight: float = 0.5
    random_share: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("colour_weight", "random_share"):
            check_range(name, getattr(self, name), 0.0, 1.0)
        check_range("edge_spread", self.edge_spread, 0, 1000)
        if self.pattern_side is not None:
            check_range("pattern_side", self.pattern_side, 1, 4096)

    def final_score(self, score: Tensor, k: int, draws: Draws) -> Tensor:
        """Return the scores (b, n) in which patches that are drawn at random are sure to be kept."""
        if not self.random_share:
            return score
        chosen = draws.uniform(score.shape[1]).topk(round(self.random_share * k)).indices
        # What no candidate reaches is at -inf, too, and comes after those that are drawn.
        return score.clamp_min(torch.finfo(score.dtype).min).scatter(1, chosen, -math.inf)

    def edge_of(self, view: PatchView) -> Tensor:
        """Return the spread edge strength (b, n) of each patch as ranks in [0, 1]."""
        assert view.images is not None
        return edge_map(view.images, view.patch_size, operator=self.edge, spread=self.edge_spread)

    def add_pixels(self, total: Tensor, view: PatchView, candidates: Tensor | None, weight: float) -> None:
        """Add to (b, m, n), in place, `weight` times S_pixel: patterns and mean colours."""
        assert view.images is not None
        images, patch_size = view.images.float(), view.patch_size
        if self.pattern_side is not None:
            images, patch_size = shrink(images, patch_size, self.pattern_side)
        patches = patchify(images, patch_size)
        colours = channel_means(patches, images.shape[1])
        if self.colour_weight < 1.0:
            for features in patterns(patches, colours):
                add_inner(total, features, candidates, weight * (1.0 - self.colour_weight))
        if self.colour_weight > 0.0:
            alike = colour_similarity(colours, candidates)
            total.add_(alike, alpha=weight * self.colour_weight)
