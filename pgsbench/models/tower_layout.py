"""Where an image tower keeps what a mask needs: patch embedding, patch dropout, position, heads."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

from torch import Tensor, nn

from pgsbench.errors import ModelError

#: The first timm whose ViT and EVA blocks take a mask from outside.
TIMM_MASKS = "1.0.31"

_WAY_OUT = "use an open_clip ViT such as ViT-B-16, or a timm ViT or EVA tower without convolutional stem"


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
        blocks: The blocks; where no transformer takes ``attn_mask`` for all, they take it one by one.
        num_heads: Attention heads of the transformer.
        averages: Module whose output tokens are averaged, or None without average pooling.
        cannot_hide: Why tokens cannot be hidden; empty where they can.
        cannot_attend: Why the class token's attention cannot be told; empty where it can.
        cannot_change: Why neither pictures can be resampled nor tokens merged between blocks; empty where
            they can.
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
    num_heads: int | None = None
    averages: nn.Module | None = None
    cannot_hide: str = ""
    cannot_attend: str = ""
    cannot_change: str = ""
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

    def check_can_hide(self) -> None:
        """Raise ModelError where tokens cannot be hidden."""
        reason = self.cannot_hide
        if self.transformer is None and getattr(self.owner, "grad_checkpointing", False):
            # A block that is run again would ask for the mask of the latest forward pass, not of its own.
            reason = reason or "timm's own gradient checkpointing is on (model.grad_checkpointing)"
        if reason:
            raise ModelError(
                f"tokens cannot be hidden in this image tower: {reason}",
                way_out="use a strategy that keeps a fixed number of patches (pgs: `max_ratio: null`), or an "
                "open_clip ViT that gives one vector for each picture, such as ViT-B-16",
            )

    def check_can_attend(self) -> None:
        """Raise ModelError where there is no attention of a class token to look at."""
        if self.cannot_attend:
            raise ModelError(
                f"this strategy looks at the class token's attention, and the image tower "
                f"has none to show: {self.cannot_attend}",
                way_out="use an open_clip ViT that pools by its class token, such as ViT-B-16, or a strategy "
                "that needs images, tokens or objects only",
            )

    def check_can_fuse(self) -> None:
        """Raise ModelError where tokens cannot be merged between the blocks."""
        self._check_can_change("tokens cannot be merged between the blocks of this image tower")
        self.check_can_hide()

    def check_can_resample(self) -> None:
        """Raise ModelError where the tower takes pictures of its own size only."""
        self._check_can_change("pictures cannot be resampled for this image tower")

    def _check_can_change(self, rule: str) -> None:
        if self.cannot_change:
            raise ModelError(
                f"{rule}: {self.cannot_change}",
                way_out="use an open_clip ViT such as ViT-B-16, or a strategy that drops patches",
            )


def layout_of(model: nn.Module) -> TowerLayout:
    """Find the parts of a model's image tower.

    Raises:
        ModelError: The model has no image tower that can drop patches.
    """
    visual = getattr(model, "visual", None)
    if visual is None:
        raise ModelError(
            "the model has no image tower `visual`", value=type(model).__name__, way_out=_WAY_OUT
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
        num_heads=visual.transformer.resblocks[0].attn.num_heads,
        averages=averages,
        cannot_hide=_why_hidden_tokens_would_show(visual),
        cannot_attend=_why_no_class_attention(visual),
        cannot_change=_why_blocks_are_closed(visual),
    )


def _why_hidden_tokens_would_show(visual: Any) -> str:
    if visual.attn_pool is not None:
        return "it pools by attention over all tokens"
    if visual.output_tokens:
        # CoCa's text decoder attends to all of them.
        return "it returns its tokens beside the pooled vector"
    if visual.pool_type == "none":
        return "it returns its tokens, without pooling"
    return ""


def _why_no_class_attention(visual: Any) -> str:
    if visual.attn_pool is not None:
        return "it pools by attention over all tokens"
    # Elsewhere the class token is there, too, but no loss ever asks what it has looked at.
    if visual.pool_type == "avg":
        return "it averages its patches"
    if visual.pool_type == "none":
        return "it returns its tokens, without pooling"
    if not all(isinstance(block.attn, nn.MultiheadAttention) for block in visual.transformer.resblocks):
        return "its attention is of a kind of its own"
    return ""


def _why_blocks_are_closed(visual: Any) -> str:
    if not all(isinstance(block.attn, nn.MultiheadAttention) for block in visual.transformer.resblocks):
        return "its attention is of a kind of its own"
    return ""


def _timm_vit(trunk: Any) -> TowerLayout:
    embed = trunk.patch_embed
    if hasattr(embed, "backbone"):  # MobileCLIP-B, ViTamin: only what it gives is cut into a grid
        raise ModelError(
            "this timm tower makes its tokens by a convolutional network in front of the transformer: "
            "they are no patches of the picture that a mask could drop",
            value=type(embed.backbone).__name__,
            way_out=_WAY_OUT,
        )
    if not isinstance(getattr(embed, "proj", None), nn.Conv2d) or not hasattr(embed, "grid_size"):
        raise ModelError(
            "this timm tower does not cut pictures into a fixed grid of patches by one convolution",
            value=type(embed).__name__,
            way_out=_WAY_OUT,
        )
    if not hasattr(trunk, "num_prefix_tokens"):  # SAM looks through windows of a map, which must be whole
        raise ModelError(
            "this timm tower keeps its tokens as a map and not as a row, from which a mask could drop some",
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
        averages=trunk.norm if getattr(trunk, "global_pool", "") == "avg" else None,
        cannot_hide=_why_timm_would_show(trunk),
        cannot_attend="timm towers keep their attention to themselves",
        cannot_change="timm towers keep their embedding step and their keys to themselves",
        # EVA towers drop their rotary positions alike, and hold None instead of an identity.
        wants_indices=trunk.patch_drop is None or type(trunk.patch_drop).__name__.endswith("WithIndices"),
    )


def _why_timm_would_show(trunk: Any) -> str:
    blocks, pool = list(getattr(trunk, "blocks", ())), getattr(trunk, "global_pool", "")
    if not blocks or any(
        "attn_mask" not in inspect.signature(type(one).forward).parameters for one in blocks
    ):
        here = version("timm")
        return f"its blocks take no mask; ViT and EVA take one from timm {TIMM_MASKS} on, here is {here}"
    if getattr(trunk, "attn_pool", None) is not None:
        return "it pools by attention over all tokens"
    if pool not in ("token", "avg"):
        return f"it pools by {pool or 'nothing'!r}; only 'token' and 'avg' can pass over tokens"
    if pool == "avg" and getattr(trunk, "pool_include_prefix", False):
        return "it averages its patches together with other tokens"
    return ""
