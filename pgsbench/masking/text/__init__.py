"""Text strategies: which tokens of a caption CLIP reads during training. Depends on torch only."""

from __future__ import annotations

from pgsbench.plugins.registry import Registry

#: As `pgsbench.masking.STRATEGIES` for images.
TEXT_STRATEGIES = Registry(
    "text strategy",
    group="pgsbench.masking.text",
    builtin={
        "none": "pgsbench.masking.text.strategies:WholeText",
        "truncate": "pgsbench.masking.text.strategies:Truncate",
        "random": "pgsbench.masking.text.strategies:RandomTokens",
        "block": "pgsbench.masking.text.strategies:TokenBlock",
        "frequency": "pgsbench.masking.text.strategies:Frequency",
    },
)
