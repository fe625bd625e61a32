"""How much seeds matter, how that is known, and whether they move all arms alike: in sentences."""

from __future__ import annotations

import math

from pgsbench.reporting.results import Results, named
from pgsbench.reporting.statistics.comparison import ALPHA, Missing
from pgsbench.reporting.statistics.paired_values import PairedValues
from pgsbench.reporting.statistics.variance import equal_spread_p, seeds_of_one_arm


def seed_sentences(results: Results) -> list[str]:
    """Return how much seeds matter on the headline and whether arms vary alike; none where no pair tells."""
    headline = next(iter(results.groups), "")
    for ours, theirs in results.pairs if headline else ():
        paired = results.pair_up([ours, theirs], headline)
        if not isinstance(paired, Missing) and len(paired.seeds) > 1:
            return [_spread(paired, headline), *_alike(paired)]
    return []


def _spread(paired: PairedValues, headline: str) -> str:
    own_df = (len(paired.arms) - 1) * (len(paired.seeds) - 1)
    square, noise, df = (float(one) for one in seeds_of_one_arm(*paired.arrays({})[:2], paired.borrowed))
    points = 100 * math.sqrt(max(0.0, square - noise))
    size = f"{points:.2f} points" if points else "not seen beside the noise of test items"
    source = "nothing is borrowed, as no other study of this recipe is known"
    if paired.borrowed:
        source = f"{df - own_df:.0f} are borrowed from {paired.borrowed.source}"
    return (
        f"Seed spread on {named(headline)}, which is what a seed does to one arm alone: {size} (one standard "
        f"deviation). {own_df} degrees of freedom of it are this study's own; {source}."
    )


def _alike(paired: PairedValues) -> list[str]:
    p = float(equal_spread_p(paired.arrays({})[0]))
    if math.isnan(p):
        return []
    if p >= ALPHA:
        return [f"No arm is seen to vary more with the seed than others (Bartlett's test, p = {p:.2f})."]
    return [
        f"Arms do not vary alike with the seed (Bartlett's test, p = {p:.3f}), but intervals take them to: "
        "those of the arm that varies most are too narrow. More seeds of it would tell."
    ]
