"""How often the interval of a correlation holds the correlation of the true scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from pgsbench.reporting.agreement import World, agreement
from pgsbench.reporting.statistics.paired_values import PairedValues

NUM_ARMS, NUM_SEEDS = 10, 3
#: How alike the true scores are: the correlation that they are drawn with.
LIKENESS = (-0.5, 0.0, 0.5, 0.9, 1.0)
#: Standard error of a difference of two arms, as a share of the spread of the true scores.
NOISE = (0.1, 0.3, 0.6)


def measured(truth: np.ndarray, noise: float, rng: np.random.Generator) -> World:  # type: ignore[type-arg]
    """Return a world whose seeds move each arm so far, and whose test items add nothing."""
    moved = rng.standard_normal((NUM_ARMS, NUM_SEEDS)) * noise * np.sqrt(NUM_SEEDS / 2)
    arms = [f"arm-{number}" for number in range(NUM_ARMS)]
    influence = dict.fromkeys(arms, pd.DataFrame(np.zeros((NUM_SEEDS, 2))))
    return World(
        "made up", "mean", arms, PairedValues(pd.DataFrame(truth[:, None] + moved, arms), influence, 0.0)
    )


def coverage(likeness: float, noise: float, *, repetitions: int = 100) -> tuple[float, float, float]:
    """Return how often Spearman's interval covers, its median width, and the mean error of the estimate."""
    rng = np.random.default_rng(0)
    covered, widths, errors = [], [], []
    for number in range(repetitions):
        ours = rng.standard_normal(NUM_ARMS)
        theirs = likeness * ours + np.sqrt(1 - likeness**2) * rng.standard_normal(NUM_ARMS)
        truth = scipy.stats.spearmanr(ours, theirs).statistic
        found = agreement(measured(ours, noise, rng), measured(theirs, noise, rng), seed=number).spearman
        covered.append(found.low - 1e-9 <= truth <= found.high + 1e-9)
        widths.append(found.high - found.low)
        errors.append(found.estimate - truth)
    return float(np.mean(covered)), float(np.median(widths)), float(np.mean(errors))


def print_coverage() -> None:
    for likeness in LIKENESS:
        for noise in NOISE:
            covered, width, error = coverage(likeness, noise)
            print(f"| {likeness:4.1f} | {noise:.1f} | {covered:.2f} | {width:.2f} | {error:+.2f} |")


@pytest.mark.slow
@pytest.mark.parametrize(("likeness", "noise"), [(0.0, 0.3), (0.9, 0.1), (0.9, 0.3)])
def test_the_interval_covers_the_true_correlation(likeness: float, noise: float) -> None:
    assert coverage(likeness, noise)[0] >= 0.88


if __name__ == "__main__":
    print_coverage()
