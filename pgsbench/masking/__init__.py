"""Masking strategies: which patches of an image CLIP sees during training. Depends on torch only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pgsbench.plugins.registry import Registry


class Card(NamedTuple):
    """What a person wants to read about a built-in strategy before anything is imported."""

    target: str
    paper: str
    summary: str


#: Built-in strategies, plain text so that listing them imports nothing. `summary` is the first line of
#: the class's docstring and `paper` is named in it; a test holds the two together.
CARDS: dict[str, Card] = {
    "none": Card("pgsbench.masking.random:NoMask", "arXiv 2103.00020", "Every patch is kept: plain CLIP."),
    "random": Card(
        "pgsbench.masking.random:Random", "arXiv 2208.07220", "Patches are kept uniformly at random."
    ),
    "flip": Card(
        "pgsbench.masking.random:Flip",
        "arXiv 2212.00794",
        "FLIP: half of the patches at random, meant to be followed by unmasked tuning.",
    ),
    "grid": Card(
        "pgsbench.masking.grid:Grid",
        "arXiv 2111.06377",
        "Patches are kept on a regular pattern: a checkerboard, one of four, every k-th.",
    ),
    "block": Card(
        "pgsbench.masking.block:Block",
        "arXiv 2106.08254",
        "Random rectangles of patches are dropped: a structured control.",
    ),
    "oracle": Card(
        "pgsbench.masking.oracle:Oracle",
        "a control",
        "Patches that show an object first, the rest at random: the ceiling of masks that keep objects.",
    ),
    "cluster": Card(
        "pgsbench.masking.cluster:Cluster",
        "arXiv 2405.08815",
        "E-CLIP: patches that resemble one of a few random anchors are masked, as clusters.",
    ),
    "attentive": Card(
        "pgsbench.masking.attentive:Attentive",
        "arXiv 2212.08653",
        "A-CLIP: patches that a moving average of the image tower attends to most are kept.",
    ),
    "centred": Card(
        "pgsbench.masking.centred:Centred",
        "arXiv 2403.15837",
        "GLIP: random patches, the more the nearer to the centre, where photographers put things.",
    ),
    "resize": Card(
        "pgsbench.masking.resize:Resize",
        "arXiv 2305.07017",
        "CLIPA: the whole picture at a smaller size, whose patches fit the budget.",
    ),
    "tome": Card(
        "pgsbench.masking.tome:Tome",
        "arXiv 2210.09461",
        "Token Merging: all patches enter, and the most alike tokens merge before every further block.",
    ),
    "pgs": Card(
        "pgsbench.masking.pgs:Pgs",
        "arXiv 2503.17080",
        "CLIP-PGS as the paper describes it: masks what resembles a few candidates, protects edges.",
    ),
    "pgs-mixed": Card(
        "pgsbench.masking.pgs_mixed:PgsMixed",
        "arXiv 2503.17080",
        "CLIP-PGS tuned here, no published method: half of the kept patches are drawn at random.",
    ),
    "pgs-released": Card(
        "pgsbench.masking.pgs_released:PgsReleased",
        "arXiv 2503.17080",
        "CLIP-PGS as its published code computes it, which is not what its paper says.",
    ),
}

STRATEGIES = Registry(
    "strategy",
    group="pgsbench.masking",
    builtin={name: card.target for name, card in CARDS.items()},
)


class Chosen(NamedTuple):
    """A default that scores have chosen: the seeds that chose flatter it, so reports name these seeds.

    How it was chosen: docs/results.md, "How `pgs` came to its defaults". Whoever chooses another default by
    scores enters it in `CHOSEN_CHOSEN_DEFAULTS`.

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
