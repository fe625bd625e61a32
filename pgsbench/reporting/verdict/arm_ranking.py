"""Which of many arms is the best, and how sure the order is: over test items, seeds and tasks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pgsbench.reporting.render import COUNT, PERCENT, Format, Header, Table
from pgsbench.reporting.results import Results, named
from pgsbench.reporting.statistics.comparison import ALPHA, Missing, one_run_notes
from pgsbench.reporting.statistics.intervals import mean_draws
from pgsbench.reporting.statistics.paired_values import Floats

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

    The ranks of all arms hold together, in 95 % of studies. The oracle is no method and has no rank.
    """
    arm_of, oracles = results.study.arm_of, results.study.oracles
    # Sorted, so that what is drawn for an arm does not depend on its place in the study.
    labels = sorted(label for label in arm_of if arm_of[label] not in oracles and results.seeds(label)[0])
    headline = next(iter(results.groups), "")
    paired = results.pair_up(labels, headline) if headline and len(labels) >= MIN_ARMS else Missing("few")
    if isinstance(paired, Missing):
        return []
    rng = np.random.default_rng(0)
    draws = mean_draws(paired, labels, DRAWS, rng) + _other_tasks(results, headline, labels, rng)
    means, best = paired.scores(labels), draws.eq(draws.max(axis=1), axis=0).mean()
    surely = surely_better(np.array(means, np.float64), np.array(draws[labels], np.float64))
    is_better = pd.DataFrame(surely, labels, labels)
    better, worse = is_better.sum(axis=0), is_better.sum(axis=1)
    found = [
        Ranked(
            label,
            float(means[label]),
            1 + int(better[label]),
            len(labels) - int(worse[label]),
            float(best[label]),
        )
        for label in labels
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


def ranking_table(results: Results) -> Table | None:
    """Return the order with the ranks that each arm may have; None where there are too few arms."""
    order = ranking(results)
    if not order:
        return None
    headline = next(iter(results.groups))
    paired = results.pair_up([one.label for one in order], headline)
    assert not isinstance(paired, Missing)  # else there were no order
    seeds = len(paired.seeds)
    rows = [[one.label, one.ranks, one.best, one.mean, seeds] for one in order]
    drawn = "test items and tasks, never of seeds," if seeds == 1 else "test items, seeds and tasks"
    notes = [
        *one_run_notes([seeds]),
        f"By {named(headline)}. 2-4: one arm is surely better, and all but four are surely worse; all ranks "
        f"hold together (95 %). Is the best: in so many of {DRAWS:,} draws of other {drawn} (tasks within "
        "their groups, with replacement). Seeds: those that all of these arms have.",
    ]
    best = ("is the best", Format("{:.0f} %", scale=100))
    header: Header = ["arm", ("ranks", COUNT), best, ("score", PERCENT), ("seeds", COUNT)]
    return Table("Ranking", header, rows, notes)


def _other_tasks(results: Results, of: str, labels: list[str], rng: np.random.Generator) -> pd.DataFrame:
    """Draw what other tasks of the same kinds would add to each arm's mean: draw x arm."""
    weights = results.groups[of]
    tasks = list(weights)
    by_task: Floats = np.array(
        [
            [
                np.mean(
                    [run[task].values.mean() for run in results.study.values[label].values() if task in run]
                )
                for task in tasks
            ]
            for label in labels
        ]
    )
    share: Floats = np.array([weights[task] for task in tasks])
    drawn: Floats = np.zeros((DRAWS, len(tasks)))
    for group in results.study.groups.values():
        members: NDArray[np.int64] = np.array([k for k, task in enumerate(tasks) if task in group], np.int64)
        if len(members):
            counts = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=DRAWS)
            drawn[:, members] = counts
    return pd.DataFrame(((drawn - 1.0) * share) @ by_task.T, columns=labels)
