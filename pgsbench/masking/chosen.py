"""Defaults that scores have chosen: the seeds that chose flatter them, so reports name these seeds.

How they were chosen: docs/results.md, "How `pgs` came to its defaults". Whoever chooses another default by
scores enters it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Chosen(NamedTuple):
    """A default, and what chose it.

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


DEFAULTS = (Chosen("pgs-mixed", "random_share", 0.5, frozenset({"scenes", "tiny-imagenet"}), frozenset({0})),)


def chosen_by(strategy: Mapping[str, Any], data: str, seed: int) -> Chosen | None:
    """Return the default of a training's mask that this seed chose on this data; None: there is none.

    Args:
        strategy: The strategy's name and fields.
        data: Name of the training data.
        seed: The training's seed.
    """
    for one in DEFAULTS:
        is_used = strategy.get("name") == one.strategy and strategy.get(one.field) == one.value
        if is_used and data in one.data and seed in one.seeds:
            return one
    return None
