"""Masking strategies: which patches of an image CLIP sees during training. Depends on torch only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pgsbench.plugins.registry import Registry

#: The docstring of each class is its description: what it does in the first line, its paper further down.
STRATEGIES = Registry(
    "strategy",
    group="pgsbench.masking",
    builtin={
        "none": "pgsbench.masking.random:NoMask",
        "random": "pgsbench.masking.random:Random",
        "flip": "pgsbench.masking.random:Flip",
        "grid": "pgsbench.masking.grid:Grid",
        "block": "pgsbench.masking.random:Block",
        "oracle": "pgsbench.masking.guided:Oracle",
        "cluster": "pgsbench.masking.guided:Cluster",
        "attentive": "pgsbench.masking.guided:Attentive",
        "centred": "pgsbench.masking.random:Centred",
        "resize": "pgsbench.masking.fewer_tokens:Resize",
        "tome": "pgsbench.masking.fewer_tokens:Tome",
        "pgs": "pgsbench.masking.pgs:Pgs",
        "pgs-mixed": "pgsbench.masking.pgs_mixed:PgsMixed",
        "pgs-released": "pgsbench.masking.pgs_released:PgsReleased",
    },
)


class Chosen(NamedTuple):
    """A default that scores have chosen: the seeds that chose flatter it, so reports name these seeds.

    Whoever chooses another default by scores enters it in `CHOSEN_DEFAULTS`.

    Attributes:
        strategy: Name of the strategy.
        field: Its field.
        value: The default.
        data: Names of the data sets that it was chosen on.
        seeds: The seeds of those trainings.
    """

    strategy: str
    field: str
    value: object
    data: frozenset[str]
    seeds: frozenset[int]


CHOSEN_DEFAULTS = (
    Chosen("pgs-mixed", "random_share", 0.5, frozenset({"scenes", "tiny-imagenet"}), frozenset({0})),
)


def chosen_by(strategy: Mapping[str, Any], data: str, seed: int) -> Chosen | None:
    """Return the default of a training's mask that this seed chose on this data; None: there is none.

    Args:
        strategy: The strategy's name and fields.
        data: Name of the training data.
        seed: The training's seed.
    """
    for one in CHOSEN_DEFAULTS:
        is_used = strategy.get("name") == one.strategy and strategy.get(one.field) == one.value
        if is_used and data in one.data and seed in one.seeds:
            return one
    return None
