"""Text strategies: which tokens of a caption CLIP reads during training. Depends on torch only."""

from __future__ import annotations

from pgsbench.masking import Card
from pgsbench.plugins.registry import Registry

#: Built-in text strategies, as `pgsbench.masking.CARDS` lists those for images.
TEXT_CARDS: dict[str, Card] = {
    "none": Card("pgsbench.masking.text.plain:WholeText", "arXiv 2103.00020", "Whole captions: plain CLIP."),
    "truncate": Card(
        "pgsbench.masking.text.plain:Truncate",
        "arXiv 2305.07017",
        "The first tokens of a caption are kept.",
    ),
    "random": Card(
        "pgsbench.masking.text.plain:RandomTokens",
        "arXiv 2305.07017",
        "Tokens are kept uniformly at random, in their order.",
    ),
    "block": Card(
        "pgsbench.masking.text.plain:TokenBlock",
        "arXiv 2305.07017",
        "A random run of consecutive tokens is kept.",
    ),
    "frequency": Card(
        "pgsbench.masking.text.frequency:Frequency",
        "arXiv 2412.16148",
        "CLIPF: words are kept at random, the rarer the word the likelier.",
    ),
}

TEXT_STRATEGIES = Registry(
    "text strategy",
    group="pgsbench.masking.text",
    builtin={name: card.target for name, card in TEXT_CARDS.items()},
)
