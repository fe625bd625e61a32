"""Test items for people: pictures that one arm gets and another loses.

The outcomes are those that runs keep; the pictures are read from the data set when the report is written.
"""

from __future__ import annotations

import io
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pgsbench.disk.whole_files import UNREADABLE
from pgsbench.errors import UserError
from pgsbench.reporting import words
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.task_values import Floats, RunValues
from pgsbench.reporting.study_frames import PlannedRun

if TYPE_CHECKING:
    from pgsbench.evaluation.protocols.base import Shown
    from pgsbench.evaluation.suite import Task

#: Pictures of either kind: of so many tasks, so many each.
TASKS, EACH = 4, 2
#: Longer side of a picture on the page, in pixels; more would make the page heavy.
SIDE = 112


@dataclass(frozen=True)
class Example:
    """A test item that one arm gets and the other loses.

    Attributes:
        task: Its task.
        picture: Its picture as a JPEG.
        right: The right answer.
        wrong: What the arm that loses it says instead, where that is known.
        seeds: With how many seeds each arm gets it: ``"3 : 0"``, the candidate first.
    """

    task: str
    picture: bytes
    right: str
    wrong: str
    seeds: str


@dataclass(frozen=True)
class Examples:
    """What the report shows of single test items.

    Attributes:
        ours: The candidate.
        theirs: The baseline.
        said: In how many items they differ.
        won: Items that the candidate gets and the baseline loses.
        lost: The reverse.
        missing: Why there are no pictures; empty: they are there.
    """

    ours: str
    theirs: str
    said: str
    won: Sequence[Example] = ()
    lost: Sequence[Example] = ()
    missing: str = ""


def examples(results: Results) -> Examples | None:
    """Return what single test items say of the headline's pair; None where no two arms can be compared."""
    pair = pair_of(results)
    leads = item_leads(results, *pair) if pair else []
    if pair is None or not leads:
        return None
    ours, theirs = pair
    sides = [
        {run.seed: run for run in results.study.of(label) if run.scores is not None and not run.problem}
        for label in pair
    ]
    seeds = sorted(set(sides[0]) & set(sides[1]))
    counts = [sum(getattr(one, f"only_{side}") for one in leads) for side in ("ours", "theirs")]
    total = sum(len(one.items) for one in leads)
    said = words.item_counts(total, ours, counts[0], theirs, counts[1], len(seeds))
    tasks: dict[str, tuple[Task, Path]] = {}
    with suppress(UserError):
        tasks = _tasks(sides[0][seeds[0]])
    if not tasks:
        missing = "No pictures: their data is not here, or is other than what the runs were tested on."
        return Examples(ours, theirs, said, missing=missing)
    won, lost = (
        _shown(tasks, chosen(leads, sign=sign, tasks=TASKS, each=EACH), [side[seed] for seed in seeds])
        for sign, side in ((1, sides[1]), (-1, sides[0]))
    )
    return Examples(ours, theirs, said, won, lost)


def _tasks(run: PlannedRun) -> dict[str, tuple[Task, Path]]:
    """Return the tasks with their data; empty where it is other than the run was tested on."""
    from pgsbench.evaluation.identity import data_states, suite_fingerprint
    from pgsbench.evaluation.suite import suite_of
    from pgsbench.evaluation.task_data import locate

    if run.scores is None or not run.scores.suite_fingerprint:
        return {}
    suite = suite_of(run.spec)
    folders = locate(suite)
    if suite_fingerprint(suite, data_states(suite, folders)) != run.scores.suite_fingerprint:
        return {}
    return {task.name: (task, folders[task.name]) for task in suite.tasks}


def _shown(
    tasks: Mapping[str, tuple[Task, Path]],
    picked: Sequence[tuple[ItemLeads, int]],
    losers: Sequence[PlannedRun],
) -> list[Example]:
    """Return picked items as examples; `losers` are the runs of the arm that loses them, one a seed."""
    found = []
    for task in dict.fromkeys(lead.task for lead, _ in picked):
        of_task = {str(one.items[k]): (one.ours[k], one.theirs[k]) for one, k in picked if one.task == task}
        shown = _show(*tasks[task], list(of_task))
        answers = [_answers(run, task) for run in losers]
        for item, shares in of_task.items():
            if item in shown:
                seeds = " : ".join(str(round(share * len(losers))) for share in shares)
                wrong = _wrong(answers, item, shown[item])
                found.append(Example(task, _thumbnail(shown[item]), shown[item].right, wrong, seeds))
    return found


def _show(task: Task, folder: Path, items: Sequence[str]) -> dict[str, Shown]:
    """Return items for people; empty where the protocol does not say how, or cannot read them."""
    show = getattr(task.protocol, "show", None)
    try:
        found: dict[str, Shown] = show(folder, items) if show else {}
        return found
    except (UserError, *UNREADABLE):
        return {}


def _wrong(runs: Iterable[Mapping[str, NDArray[Any]]], item: str, shown: Shown) -> str:
    """Return the wrong answer that most of some runs give, or the only one that there is."""
    if len(shown.choices) == 2:
        return next(choice for choice in shown.choices if choice != shown.right)
    said = Counter(
        shown.choices[int(answers["predicted"][answers["items"] == item][0])]
        for answers in runs
        if "predicted" in answers and shown.choices
    )
    said.pop(shown.right, None)
    return said.most_common(1)[0][0] if said else ""


def _answers(run: PlannedRun, task: str) -> dict[str, NDArray[Any]]:
    assert run.scores is not None
    with np.load(run.path / run.scores.primary()[task].per_sample) as arrays:
        return {name: arrays[name] for name in ("items", "predicted") if name in arrays}


def _thumbnail(shown: Shown) -> bytes:
    from PIL import Image

    picture = Image.open(io.BytesIO(shown.picture.data)).convert("RGB")
    picture.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    picture.save(file, "jpeg", quality=85)
    return file.getvalue()


# ------------------------------------------------------------------------------- which items those are


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
    best = set(results.best_of.values())
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
