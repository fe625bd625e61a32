"""Which of many arms is the best, and how sure the order is: over test items, seeds and tasks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.comparison import ALPHA, Missing
from pgsbench.reporting.statistics.intervals import mean_draws
from pgsbench.reporting.statistics.task_values import Floats

DRAWS = 4000
#: With fewer arms the comparison says it all.
MIN_ARMS = 3
#: Two arms with the same answers have no error; what is divided by is at least this.
_LEAST = 1e-12


@dataclass(frozen=True)
class Ranked:
    """One arm in the order.

    Attributes:
        label: The arm or point.
        mean: Its score.
        first: The best rank it may have: one more than the number of arms that are surely better.
        last: The worst: as many arms as there are, less those that are surely worse.
        best: Probability that it is the best.
    """

    label: str
    mean: float
    first: int
    last: int
    best: float

    @property
    def ranks(self) -> str:
        """The ranks it may have, as text: ``"1-3"``."""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@lru_cache(maxsize=4)  # a page asks more than once
def ranking(results: Results) -> list[Ranked]:
    """Return the arms by their score on the headline; empty where fewer than `MIN_ARMS` can be ordered.

    The ranks of all arms hold together, in 95 % of studies. The oracle is no method and has no rank. Points
    of a search over data have none: they were tested in different worlds.
    """
    arm_of, oracles = results.study.arm_of, results.study.oracles
    # Sorted, so that what is drawn for an arm does not depend on its place in the study.
    labels = sorted(label for label in arm_of if arm_of[label] not in oracles and results.seeds(label)[0])
    can_be = len(labels) >= MIN_ARMS and not results.is_over_data
    paired = results.pair_up(labels, results.headline) if can_be else Missing("few")
    if isinstance(paired, Missing):
        return []
    rng = np.random.default_rng(0)
    draws = mean_draws(paired, labels, DRAWS, rng) + _other_tasks(results, results.headline, labels, rng)
    means, best = paired.scores(labels), draws.eq(draws.max(axis=1), axis=0).mean()
    surely = surely_better(np.array(means, np.float64), np.array(draws[labels], np.float64))
    better, worse = surely.sum(axis=0).tolist(), surely.sum(axis=1).tolist()
    found = [
        Ranked(label, float(means[label]), 1 + better[k], len(labels) - worse[k], float(best[label]))
        for k, label in enumerate(labels)
    ]
    return sorted(found, key=lambda one: -one.mean)


def surely_better(means: Floats, draws: Floats) -> NDArray[np.bool_]:
    """Return (a, a) whether the arm of the row is surely better than that of the column.

    All pairs hold together in 95 % of studies: their leads are measured in standard deviations of the
    draws, and count where they are larger than the largest error of any pair in 95 % of the draws
    (Mogstad, Romano, Shaikh & Wilhelm 2024, without their stepping down).

    Args:
        means: (a,) score of each arm.
        draws: (r, a) scores as other test items, seeds and tasks would give them.
    """
    errors = draws - draws.mean(axis=0)
    deviation = np.empty((len(means), len(means)))
    largest: Floats = np.zeros(len(draws))
    for k in range(len(means)):
        of_pairs = errors[:, [k]] - errors
        deviation[k] = of_pairs.std(axis=0)
        deviation[k, k] = 1.0  # an arm leads itself by nothing
        largest = np.maximum(largest, np.abs(of_pairs / np.maximum(deviation[k], _LEAST)).max(axis=1))
    leads = means[:, None] - means
    found: NDArray[np.bool_] = leads > np.quantile(largest, 1 - ALPHA) * deviation
    return found


def _other_tasks(results: Results, of: str, labels: list[str], rng: np.random.Generator) -> pd.DataFrame:
    """Draw what other tasks of the same kinds would add to each arm's mean: draw x arm."""
    weights, scores = results.groups[of], results.study.primary
    tasks = list(weights)
    by_task = scores.pivot_table("value", index="label", columns="task").loc[labels, tasks].to_numpy()
    drawn: Floats = np.zeros((DRAWS, len(tasks)))
    for group in results.study.groups.values():
        members = [k for k, task in enumerate(tasks) if task in group]
        if members:
            chances = np.full(len(members), 1 / len(members))
            drawn[:, members] = rng.multinomial(len(members), chances, size=DRAWS)
    share = np.array([weights[task] for task in tasks])
    return pd.DataFrame(((drawn - 1.0) * share) @ by_task.T, columns=labels)
