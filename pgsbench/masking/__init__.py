"""Masking strategies: which patches of an image CLIP sees during training. Depends on torch only."""

from __future__ import annotations

from pgsbench.plugins import Registry

#: Built-in strategies. The table is plain text, so that listing the names imports nothing.
STRATEGIES = Registry(
    "strategy",
    group="pgsbench.masking",
    builtin={
        "none": "pgsbench.masking.none:NoMask",
        "random": "pgsbench.masking.random:Random",
        "flip": "pgsbench.masking.random:Flip",
        "grid": "pgsbench.masking.grid:Grid",
        "oracle": "pgsbench.masking.oracle:Oracle",
        "pgs": "pgsbench.masking.pgs:Pgs",
    },
)
