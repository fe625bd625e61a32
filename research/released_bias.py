"""What the published code's attention bias does to an embedding, beside what hiding patches would do."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pgsbench.masking.base import PatchView
from pgsbench.models.tower_layout import TowerLayout, layout_of
from research.released_code import Finding, attention_bias, biased_masks

#: Number of pictures that go through the tower: seconds on a CPU, with ViT-B/16.
PICTURES = 16


def bias_effect(model: nn.Module, view: PatchView, *, seed: int = 0) -> list[Finding]:
    """Embed pictures with the published bias, without it, and with masked patches hidden; compare.

    Args:
        model: An untrained open_clip model of the view's patches.
        view: The pictures; at least two.
        seed: Decides what is random in a mask.

    Returns:
        Cosines, means over at most `PICTURES` pictures; none where the tower does not pool by its class
        token, or takes no bias.
    """
    layout = layout_of(model)
    if "attend" not in layout.abilities:
        return []
    num_heads = layout.blocks[0].get_submodule("attn").num_heads
    assert isinstance(num_heads, int)
    assert view.images is not None
    masked, keep = biased_masks(view, PICTURES, seed)
    images = view.images[: len(keep)]
    hiding = torch.zeros(keep.shape).masked_fill(masked.gather(1, keep), float("-inf"))
    hiding = F.pad(hiding, (1, 0))[:, None, :].expand(-1, keep.shape[1] + 1, -1)  # never the class token
    without = _embed(model, layout, images, keep, None)
    biased = _embed(model, layout, images, keep, attention_bias(masked, keep, num_heads=num_heads))
    hidden = _embed(model, layout, images, keep, hiding.repeat_interleave(num_heads, dim=0))
    others = {
        f"cosine of embeddings with and without it, untrained tower, {len(keep)} pictures": biased,
        "the same, were masked patches hidden instead": hidden,
        "cosine of the embeddings of two pictures, without it": without.roll(1, dims=0),
    }
    return [
        Finding("attention bias", what, f"{F.cosine_similarity(without, other).mean():.3f}")
        for what, other in others.items()
    ]


@torch.no_grad()
def _embed(model: Any, layout: TowerLayout, images: Tensor, keep: Tensor, bias: Tensor | None) -> Tensor:
    def add_bias(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return args, kwargs | {"attn_mask": bias}

    assert layout.transformer is not None
    hook = layout.transformer.register_forward_pre_hook(add_bias, with_kwargs=True)
    layout.install(_Keep(keep))
    try:
        embedded: Tensor = model.encode_image(images)
    finally:
        layout.restore()
        hook.remove()
    return embedded


class _Keep(nn.Module):
    # Stands where patch dropout stood: the class token and the kept patches (b, k) go on.
    def __init__(self, keep: Tensor) -> None:
        super().__init__()
        self._keep = keep

    def forward(self, x: Tensor) -> Tensor:
        kept = x[:, 1:].gather(1, self._keep[:, :, None].expand(-1, -1, x.shape[2]))
        return torch.cat([x[:, :1], kept], dim=1)
