"""Where an image tower keeps what a mask needs: patch embedding, patch dropout, position, heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from pgsbench.errors import ModelError

_WAY_OUT = "use an open_clip ViT such as ViT-B-16, or a timm ViT or EVA tower without convolutional stem"

#: What some towers can do with their tokens beside dropping patches -> what is wrong with those that cannot.
_ABILITIES = {
    "hide": "tokens cannot be hidden or merged in this image tower",
    "attend": "this image tower has no class token's attention to look at",
    "change": "pictures cannot be resampled for this image tower, nor tokens merged between its blocks",
}


@dataclass
class TowerLayout:
    """The parts of one image tower that masking touches.

    Attributes:
        owner: The module that holds the patch dropout, and its attribute's name `slot`.
        patch_embedding: The convolution whose input is the picture.
        grid: (rows, cols) of patches at the tower's own image size.
        patch_size: (height, width) in pixels.
        num_prefix: Tokens before the patches.
        transformer: Module that takes ``attn_mask`` for all its blocks, or None where there is none.
        blocks: The blocks.
        averages: Module whose output tokens are averaged, or None without average pooling.
        abilities: What it can do beside dropping patches, of `_ABILITIES`; nothing, where it is timm's.
        wants_indices: Whether the dropout returns the kept indices beside the tokens.
        replaced: What stood in the slot, to be put back.
    """

    owner: Any
    slot: Literal["patch_dropout", "patch_drop"]
    patch_embedding: nn.Module
    grid: tuple[int, int]
    patch_size: tuple[int, int]
    num_prefix: int
    transformer: nn.Module | None = None
    blocks: Sequence[nn.Module] = ()
    averages: nn.Module | None = None
    abilities: frozenset[str] = frozenset()
    wants_indices: bool = False
    replaced: nn.Module | None = None

    @property
    def num_blocks(self) -> int:
        """Number of blocks of the transformer."""
        return len(self.blocks)

    def install(self, dropout: nn.Module) -> None:
        """Put `dropout` in its place."""
        self.replaced = getattr(self.owner, self.slot)
        setattr(self.owner, self.slot, dropout)
        dropout.train(self.owner.training)

    def holds(self, dropout: nn.Module) -> bool:
        """Tell whether `dropout` stands in its place, and nothing has replaced it since."""
        return getattr(self.owner, self.slot) is dropout

    def restore(self) -> None:
        """Put back what was there before `install`."""
        setattr(self.owner, self.slot, self.replaced)

    def grid_of(self, images: Tensor) -> tuple[int, int]:
        """Return the (rows, cols) that pictures (b, c, h, w) are cut into."""
        return images.shape[-2] // self.patch_size[0], images.shape[-1] // self.patch_size[1]

    def size_of(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) in pixels of a picture of (rows, cols) patches."""
        return grid[0] * self.patch_size[0], grid[1] * self.patch_size[1]

    def position(self) -> Tensor | None:
        """Return the position code (n, d) that the patch tokens contain, or None."""
        name = "positional_embedding" if self.slot == "patch_dropout" else "pos_embed"
        code: Tensor | None = getattr(self.owner, name, None)
        if code is None:
            return None
        return code.detach().flatten(0, -2)[-self.grid[0] * self.grid[1] :]

    def check_can(self, ability: Literal["hide", "attend", "change"]) -> None:
        """Raise ModelError where the tower lacks an ability."""
        if ability not in self.abilities:
            raise ModelError(
                _ABILITIES[ability],
                value=type(self.owner).__name__,
                way_out="use an open_clip ViT that pools by its class token, such as ViT-B-16, or a strategy "
                "that keeps a fixed number of patches (pgs: `max_ratio: null`) and looks at no attention",
            )


def layout_of(model: nn.Module) -> TowerLayout:
    """Find the parts of a model's image tower.

    Raises:
        ModelError: The model has no image tower that can drop patches.
    """
    visual = getattr(model, "visual", None)
    if visual is None:
        raise ModelError(
            "the model has no image tower `visual`",
            value=type(model).__name__,
            way_out="mask a model before DistributedDataParallel or another module wraps it",
        )
    if hasattr(visual, "patch_dropout") and hasattr(visual, "conv1"):
        return _open_clip_vit(visual)
    trunk = getattr(visual, "trunk", None)
    if trunk is not None and hasattr(trunk, "patch_drop") and hasattr(trunk, "patch_embed"):
        return _timm_vit(trunk)
    raise ModelError(
        "this image tower cannot drop patches",
        value=type(trunk if trunk is not None else visual).__name__,
        way_out=_WAY_OUT,
    )


def _open_clip_vit(visual: Any) -> TowerLayout:
    averages = None
    if visual.attn_pool is None and visual.pool_type == "avg":
        averages = visual.transformer if visual.final_ln_after_pool else visual.ln_post
    return TowerLayout(
        owner=visual,
        slot="patch_dropout",
        patch_embedding=visual.conv1,
        grid=tuple(visual.grid_size),
        patch_size=tuple(visual.patch_size),
        num_prefix=1,
        transformer=visual.transformer,
        blocks=list(visual.transformer.resblocks),
        averages=averages,
        abilities=_abilities(visual),
    )


def _abilities(visual: Any) -> frozenset[str]:
    found = set()
    if visual.attn_pool is None and not visual.output_tokens and visual.pool_type != "none":
        found.add("hide")  # else who gets the tokens, such as CoCa's text decoder, attends to all of them
    if all(isinstance(block.attn, nn.MultiheadAttention) for block in visual.transformer.resblocks):
        found.add("change")
        if visual.attn_pool is None and visual.pool_type not in ("avg", "none"):
            found.add("attend")  # else the class token is there, but no loss ever asks what it looks at
    return frozenset(found)


def _timm_vit(trunk: Any) -> TowerLayout:
    embed = trunk.patch_embed
    # MobileCLIP-B and ViTamin make tokens by a convolutional network; SAM keeps them as a map.
    is_plain = isinstance(getattr(embed, "proj", None), nn.Conv2d) and hasattr(embed, "grid_size")
    if not is_plain or hasattr(embed, "backbone") or not hasattr(trunk, "num_prefix_tokens"):
        raise ModelError(
            "this timm tower does not cut pictures by one convolution into a row of patches to drop some of",
            value=type(trunk).__name__,
            way_out=_WAY_OUT,
        )
    return TowerLayout(
        owner=trunk,
        slot="patch_drop",
        patch_embedding=embed.proj,
        grid=tuple(embed.grid_size),
        patch_size=tuple(embed.patch_size),
        num_prefix=trunk.num_prefix_tokens,
        blocks=list(getattr(trunk, "blocks", ())),
        # EVA towers drop their rotary positions alike, and hold None instead of an identity.
        wants_indices=trunk.patch_drop is None or type(trunk.patch_drop).__name__.endswith("WithIndices"),
    )
