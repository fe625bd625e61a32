"""Which test items one arm gets and another loses, over seeds; and on which tasks they differ most."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pgsbench.reporting.decision.comparisons import task_comparisons
from pgsbench.reporting.render import COUNT, PERCENT, POINTS, Header, Table
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.reporting.statistics.paired_values import Floats, RunValues

#: Rows of the table of tasks, half of them for either arm.
MAX_TASKS = 8


@dataclass(frozen=True)
class ItemLeads:
    """How often two arms get each item of a task right.

    Attributes:
        task: The task.
        items: (n,) its items.
        ours: (n,) share of the seeds in which the candidate is right.
        theirs: (n,) likewise for the baseline.
    """

    task: str
    items: NDArray[np.str_]
    ours: Floats
    theirs: Floats

    @property
    def lead(self) -> Floats:
        """(n,) candidate minus baseline: 1 where it alone is always right, -1 where it never is."""
        return self.ours - self.theirs

    @property
    def only_ours(self) -> int:
        """How many items the candidate gets with every seed and the baseline with none."""
        return int((self.lead == 1).sum())

    @property
    def only_theirs(self) -> int:
        """The reverse of `only_ours`."""
        return int((self.lead == -1).sum())


def pair_of(results: Results) -> tuple[str, str] | None:
    """Return the labels whose items are shown: the headline's point and the first baseline with results."""
    best = set(results.headline.values())
    found = [pair for pair in results.pairs if all(results.seeds(label)[0] for label in pair)]
    return next((pair for pair in found if set(pair) <= best), found[0] if found else None)


def item_leads(results: Results, ours: str, theirs: str) -> list[ItemLeads]:
    """Return the items of each task that both arms have been asked with the same seeds.

    Tasks whose items are not plainly right or wrong, such as average precisions, are left out.
    """
    sides = [results.study.values[label] for label in (ours, theirs)]
    seeds = sorted(seed for seed in set(sides[0]) & set(sides[1]) if sides[0][seed] and sides[1][seed])
    found = []
    for task in results.tasks:
        one, other = (_shares([side[seed] for seed in seeds], task) for side in sides)
        if one is not None and other is not None and np.array_equal(one[0], other[0]):
            found.append(ItemLeads(task, one[0], one[1], other[1]))
    return found


def chosen(leads: Sequence[ItemLeads], *, sign: int, tasks: int, each: int) -> list[tuple[ItemLeads, int]]:
    """Return items that one arm gets and the other loses, as (task, number of the item in it).

    They are of the tasks that have most such items, in the order of the suite. Which of many equal ones are
    shown is decided by a hash of their names, so not by their order in the data set.

    Args:
        leads: What `item_leads` returned.
        sign: 1: those that the candidate gets; -1: those that the baseline gets.
        tasks: At most so many tasks.
        each: At most so many items of a task.
    """
    counts = {one.task: int((sign * one.lead > 0).sum()) for one in leads}
    most = sorted(leads, key=lambda one: -counts[one.task])[:tasks]
    found = []
    for one in (lead for lead in leads if any(lead is other for other in most)):
        led = np.flatnonzero(sign * one.lead > 0)
        ranked = sorted(led, key=lambda k: (-sign * one.lead[k], zlib.crc32(str(one.items[k]).encode())))
        found += [(one, int(k)) for k in ranked[:each]]
    return found


def tasks_table(results: Results, leads: Sequence[ItemLeads], ours: str, theirs: str) -> Table | None:
    """Return the tasks on which two arms differ most, most in favour of the candidate first."""
    by_task = {one.task: one for one in leads}
    found = {
        one.of: one.interval
        for one in task_comparisons(results)
        if (one.candidate, one.baseline) == (ours, theirs) and isinstance(one.interval, Interval)
    }
    ranked = sorted(found, key=lambda task: -found[task].estimate)
    shown = ranked if len(ranked) <= MAX_TASKS else ranked[: MAX_TASKS // 2] + ranked[-(MAX_TASKS // 2) :]
    rows: list[list[object]] = [
        [
            task,
            *(results.mean(label, task) for label in (ours, theirs)),
            found[task],
            *([of.only_ours, of.only_theirs] if (of := by_task.get(task)) else ["", ""]),
        ]
        for task in shown
    ]
    if not rows:
        return None
    only = [(f"only {label}", COUNT) for label in (ours, theirs)]
    header: Header = ["task", (ours, PERCENT), (theirs, PERCENT), ("difference", POINTS), *only]
    notes = [
        "Scores in percent, differences in points with 95 % intervals, not corrected for having picked the "
        "largest: hints, no verdicts. Only: items that one arm gets with every seed and the other with none."
    ]
    return Table("Tasks on which they differ most", header, rows, notes)


def _shares(runs: Sequence[RunValues], task: str) -> tuple[NDArray[np.str_], Floats] | None:
    """Return (n,) sorted items and (n,) the share of runs that get them; None where that cannot be said."""
    found = [run[task] for run in runs if task in run]
    if not found or len(found) < len(runs):
        return None
    order = np.argsort(found[0].items, kind="stable")
    names = found[0].items[order]
    right = []
    for one in found:
        order = np.argsort(one.items, kind="stable")
        # A mean over classes weights its items, so that right ones have other values than 1.
        plain = one.strata is not None or bool(np.isin(one.values, (0.0, 1.0)).all())
        if not plain or not np.array_equal(one.items[order], names):
            return None
        right.append(one.values[order] > 0)
    return names, np.mean(right, axis=0)
