"""What an image-text pair costs in a training step, known before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from torch import nn

from pgsbench.config.schema import ModelConfig, StrategyConfig, TextConfig
from pgsbench.masking.configure import configure, configure_text
from pgsbench.masking.text.base import num_entering
from pgsbench.masking.token_counts import TokenCount, token_count, whole
from pgsbench.models.architectures import file_hash_of
from pgsbench.models.clip import build
from pgsbench.models.flops import ModelCost, model_cost
from pgsbench.models.start import lock
from pgsbench.models.tower_layout import layout_of


@dataclass(frozen=True)
class PairCost:
    """What one pair costs, forward and backward.

    Attributes:
        patch_tokens: In the image tower, over all views, mean over its blocks.
        text_tokens: In the text tower, marks and padding included.
        flops: Of both towers (`pgsbench.models.flops`); None where a tower is not open_clip's own.
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
