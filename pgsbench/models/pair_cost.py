"""What an image-text pair costs in a training step, known before anything runs.

Floating-point operations are those of matrix products only, a multiply-add counts as two. Everything else
(norms, softmax, activations, what choosing a mask takes) is left out; it is small or, as seconds show it,
not arithmetic. Gradient checkpointing's second forward pass is left out, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import nn

from pgsbench.config.schema import ModelConfig, StrategyConfig, TextConfig
from pgsbench.masking.configure import configure, configure_text
from pgsbench.masking.text.base import num_entering
from pgsbench.masking.token_counts import TokenCount, token_count, whole
from pgsbench.models.architectures import file_hash_of
from pgsbench.models.clip import build
from pgsbench.models.openclip import open_clip
from pgsbench.models.start import lock
from pgsbench.models.tower_layout import layout_of

#: A backward pass takes about two forward passes: one for the inputs, one for the weights.
TRAINING = 3


@dataclass(frozen=True)
class Block:
    """Sizes of one transformer block, which all blocks of a tower share, and its activation function."""

    width: int
    mlp_width: int
    num_heads: int
    quick_gelu: bool = False

    def flops(self, tokens: int) -> int:
        """Return what a row of `tokens` costs: four projections, two products of attention, the MLP."""
        d, m = self.width, self.mlp_width
        return 2 * tokens * (4 * d * d + 2 * d * m) + 4 * tokens * tokens * d


@dataclass(frozen=True)
class ModelCost:
    """What decides how much the towers of a CLIP model compute.

    Attributes:
        visual: A block of the image tower.
        num_visual_blocks: Their number.
        num_prefix: Tokens before the patches.
        patch_dim: Numbers in a patch.
        text: A block of the text tower.
        num_text_blocks: Their number.
        embed_dim: Length of the common embedding.
        locked: ``image`` or ``text``: the tower that is not trained, which has no backward pass.
    """

    visual: Block
    num_visual_blocks: int
    num_prefix: int
    patch_dim: int
    text: Block
    num_text_blocks: int
    embed_dim: int
    locked: str | None = None

    @property
    def block_weights(self) -> int:
        """Weights of the matrices of all blocks."""
        of_towers = ((self.visual, self.num_visual_blocks), (self.text, self.num_text_blocks))
        return sum(n * (4 * block.width**2 + 2 * block.width * block.mlp_width) for block, n in of_towers)

    def visual_flops(self, count: TokenCount) -> int:
        """Return the forward FLOPs of a picture."""
        rows = sum(self.visual.flops(self.num_prefix + tokens) for tokens in count.per_block)
        projection = 2 * self.visual.width * self.embed_dim
        return 2 * count.embedded * self.patch_dim * self.visual.width + count.views * (rows + projection)

    def text_flops(self, tokens: int) -> int:
        """Return the forward FLOPs of a text of `tokens` tokens, marks and padding included."""
        projection = 2 * self.text.width * self.embed_dim
        return self.num_text_blocks * self.text.flops(tokens) + projection

    def watching_flops(self, patches: int) -> int:
        """Return the FLOPs of a second tower that watches a whole picture (`pgsbench.models.tower_parts`).

        All blocks but the last run; in each one, the class token alone asks for its attention.
        """
        tokens, d = self.num_prefix + patches, self.visual.width
        asking = 2 * 2 * d * d + 2 * self.visual.num_heads * d * tokens
        blocks = (self.num_visual_blocks - 1) * self.visual.flops(tokens) + self.num_visual_blocks * asking
        return 2 * patches * self.patch_dim * d + blocks

    def forward_flops(self, count: TokenCount, text_tokens: int) -> int:
        """Return the FLOPs of one pair in a forward pass of both towers."""
        return self.visual_flops(count) + self.text_flops(text_tokens)

    def training_flops(self, count: TokenCount, text_tokens: int) -> int:
        """Return the FLOPs of one pair in a training step, those of a second tower that watches included."""
        image, text = (1 if self.locked == tower else TRAINING for tower in ("image", "text"))
        flops = image * self.visual_flops(count) + text * self.text_flops(text_tokens)
        return flops + (self.watching_flops(count.embedded) if count.watched else 0)


def model_cost(model: nn.Module) -> ModelCost | None:
    """Read the sizes off an open_clip model; None where a tower is not open_clip's own transformer."""
    if type(model) not in (open_clip.CLIP, open_clip.CustomTextCLIP):  # CoCa has a decoder, too
        return None
    layout = layout_of(model)
    text: Any = getattr(model, "text", model)
    is_plain = isinstance(text, open_clip.CLIP) or (
        type(text) is open_clip.transformer.TextTransformer and text.cls_emb is None
    )
    if layout.transformer is None or layout.owner.attn_pool is not None or not is_plain:
        return None
    h, w = layout.patch_size
    blocks = {"image": layout.blocks[0], "text": text.transformer.resblocks[0]}
    frozen = [tower for tower, block in blocks.items() if not block.mlp.c_fc.weight.requires_grad]
    projection = layout.owner.proj
    return ModelCost(
        visual=_block(layout.blocks),
        num_visual_blocks=layout.num_blocks,
        num_prefix=layout.num_prefix,
        patch_dim=layout.owner.conv1.in_channels * h * w,
        text=_block(text.transformer.resblocks),
        num_text_blocks=len(text.transformer.resblocks),
        embed_dim=projection.shape[1] if projection is not None else 0,
        locked=frozen[0] if frozen else None,
    )


def _block(blocks: Sequence[Any]) -> Block:
    mlp = blocks[0].mlp
    is_quick = isinstance(mlp.gelu, open_clip.transformer.QuickGELU)
    attn = blocks[0].attn
    return Block(attn.embed_dim, mlp.c_fc.out_features, attn.num_heads, is_quick)


@dataclass(frozen=True)
class PairCost:
    """What one pair costs, forward and backward.

    Attributes:
        patch_tokens: In the image tower, over all views, mean over its blocks.
        text_tokens: In the text tower, marks and padding included.
        flops: Of both towers (`pgsbench.models.pair_cost`); None where a tower is not open_clip's own.
        forward_flops: Of them, those of a forward pass, which may run again.
    """

    patch_tokens: float
    text_tokens: int
    flops: int | None
    forward_flops: int | None


@dataclass(frozen=True)
class Sizes:
    """What of a model decides the cost of a pair.

    Attributes:
        grid: Rows and columns of patches.
        num_blocks: Blocks of the image tower.
        context_length: Tokens of a whole caption.
        cost: The towers; None where they are not open_clip's own.
        image_parameters: Weights of the image tower.
        text_parameters: All other weights.
    """

    grid: tuple[int, int]
    num_blocks: int
    context_length: int
    cost: ModelCost | None
    image_parameters: int
    text_parameters: int

    @classmethod
    def of(cls, model: nn.Module, context_length: int) -> Sizes:
        """Read the sizes off a model."""
        layout = layout_of(model)
        of_image, of_all = (
            sum(parameter.numel() for parameter in module.parameters())
            for module in (model.get_submodule("visual"), model)
        )
        cost = model_cost(model)
        return cls(layout.grid, layout.num_blocks, context_length, cost, of_image, of_all - of_image)

    def pair(self, strategy: StrategyConfig | None, text: TextConfig | None) -> PairCost:
        """Return what a pair costs under two strategies; None: whole pictures, whole captions."""
        tokens = self.text_tokens(text)
        count = self.count(strategy)
        if self.cost is None:
            return PairCost(count.mean, tokens, None, None)
        flops = self.cost.training_flops(count, tokens)
        return PairCost(count.mean, tokens, flops, self.cost.forward_flops(count, tokens))

    def text_tokens(self, text: TextConfig | None) -> int:
        """Return the tokens of a caption under a text strategy; None: whole captions."""
        if text is None:
            return self.context_length
        return num_entering(configure_text(text.strategy, text.fields).keep, self.context_length)

    def count(self, strategy: StrategyConfig | None) -> TokenCount:
        """Return the patch tokens of a picture under a strategy; None: whole pictures."""
        if strategy is None:
            return whole(self.grid, self.num_blocks)
        return token_count(configure(strategy.name, strategy.fields), self.grid, self.num_blocks)


def sizes_of(name: str, image_size: int | None = None, locked: str | None = None) -> Sizes:
    """Return the sizes of a model, which is built for that once, without its weights."""
    return _sizes(name, image_size, locked, file_hash_of(name))


@cache
def _sizes(name: str, image_size: int | None, locked: str | None, file: str) -> Sizes:
    del file  # one that has been edited is another model
    clip = build(name, seed=0, image_size=image_size, device="meta")
    if locked:
        lock(clip, locked)
    return Sizes.of(clip.model, clip.tokenize(["-"]).shape[1])


def sizes_for(model: ModelConfig) -> Sizes:
    """Return the sizes of a model as it is trained."""
    return sizes_of(model.name, model.image_size, model.locked)


def pair_costs(model: ModelConfig, strategy: StrategyConfig, text: TextConfig) -> tuple[PairCost, PairCost]:
    """Return what a pair costs while masks are on, and in the last phase without them."""
    sizes = sizes_for(model)
    return sizes.pair(strategy, text), sizes.pair(None, None)
