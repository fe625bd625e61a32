"""Which of many arms is the best, and how sure the order is: over test items, seeds and tasks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pgsbench.reporting.comparison import ALPHA, Missing
from pgsbench.reporting.paired_values import Floats
from pgsbench.reporting.render import Table, percent
from pgsbench.reporting.results import Results, named
from pgsbench.reporting.stats import mean_draws

DRAWS = 4000
#: With fewer arms the comparison says it all.
MIN_ARMS = 3


@dataclass(frozen=True)
class Ranked:
    """One arm in the order.

    Attributes:
        label: The arm or point.
        mean: Its score.
        rank: One more than the number of arms that are surely better; arms with the same are tied.
        low: Lower end of the 95 % interval of its place.
        high: Upper end.
        best: Probability that it is the best.
    """

    label: str
    mean: float
    rank: int
    low: int
    high: int
    best: float


def ranking(results: Results) -> list[Ranked]:
    """Return the arms in their order on the headline; empty where fewer than `MIN_ARMS` can be ordered.

    The oracle is no method and has no place.
    """
    arm_of = results.study.arm_of
    labels = [label for label in arm_of if arm_of[label] != "oracle" and results.seeds(label)[0]]
    headline = next(iter(results.groups), "")
    paired = results.pair_up(labels, headline) if headline and len(labels) >= MIN_ARMS else Missing("few")
    if isinstance(paired, Missing):
        return []
    rng = np.random.default_rng(0)
    draws = mean_draws(paired, labels, DRAWS, rng) + _other_tasks(results, headline, labels, rng)
    places = 1 + np.argsort(np.argsort(-draws, axis=1), axis=1)
    means = paired.means[[paired.arms.index(label) for label in labels]].mean(axis=1)
    low, high = np.quantile(places, [ALPHA / 2, 1 - ALPHA / 2], axis=0, method="nearest")
    found = [
        Ranked(
            label,
            float(means[k]),
            1 + int((np.mean(draws > draws[:, [k]], axis=0) >= 1 - ALPHA / 2).sum()),
            int(low[k]),
            int(high[k]),
            float(np.mean(places[:, k] == 1)),
        )
        for k, label in enumerate(labels)
    ]
    return sorted(found, key=lambda one: (one.rank, -one.mean))


def ranking_table(results: Results) -> Table | None:
    """Return the order with its uncertainty, ties as ties; None where there are too few arms."""
    order = ranking(results)
    if not order:
        return None
    places = [one.rank for one in order]
    rows = [
        [
            one.label,
            f"{one.rank}{'=' if places.count(one.rank) > 1 else ''}",
            f"{one.low} to {one.high}" if one.low < one.high else str(one.low),
            f"{100 * one.best:.0f} %",
            percent(one.mean),
        ]
        for one in order
    ]
    headline = named(next(iter(results.groups)))
    notes = [
        f"By {headline}. Rank: one more than the arms better in 97.5 % of {DRAWS:,} draws; = is a tie. "
        "Places: 95 % interval. Draws are of other test items, seeds and tasks (tasks within their groups, "
        "with replacement). With one seed they know nothing of other seeds.",
    ]
    return Table("Ranking", ["arm", "rank", "places", "is the best", "score"], rows, notes)


def _other_tasks(results: Results, of: str, labels: list[str], rng: np.random.Generator) -> Floats:
    """Draw (r, a) what other tasks of the same kinds would add to each arm's mean."""
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
    found: Floats = ((drawn - 1.0) * share) @ by_task.T
    return found
