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
import pandas as pd
from numpy.typing import NDArray

from pgsbench.disk.whole_files import UNREADABLE
from pgsbench.errors import UserError
from pgsbench.reporting import words
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.task_values import RunValues
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
    if pair is None or (items := item_leads(results, *pair)).empty:
        return None
    ours, theirs = pair
    sides = [
        {run.seed: run for run in results.study.of(label) if run.scores is not None and not run.problem}
        for label in pair
    ]
    seeds = sorted(set(sides[0]) & set(sides[1]))
    wins, losses = (int((items["lead"] == sign).sum()) for sign in (1, -1))
    said = words.item_counts(len(items), ours, wins, theirs, losses, len(seeds))
    tasks: dict[str, tuple[Task, Path]] = {}
    with suppress(UserError):
        tasks = _tasks(sides[0][seeds[0]])
    if not tasks:
        missing = "No pictures: their data is not here, or is other than what the runs were tested on."
        return Examples(ours, theirs, said, missing=missing)
    won, lost = (
        _shown(tasks, chosen(items, sign=sign, tasks=TASKS, each=EACH), [side[seed] for seed in seeds])
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
    tasks: Mapping[str, tuple[Task, Path]], picked: pd.DataFrame, losers: Sequence[PlannedRun]
) -> list[Example]:
    """Return picked items as examples; `losers` are the runs of the arm that loses them, one a seed."""
    found = []
    for task, rows in picked.groupby("task", sort=False):
        shown = _show(*tasks[str(task)], list(rows["item"]))
        answers = [_answers(run, str(task)) for run in losers]
        for item, *shares in rows[["item", "ours", "theirs"]].itertuples(index=False):
            if item in shown:
                seeds = " : ".join(str(round(share * len(losers))) for share in shares)
                wrong = _wrong(answers, item, shown[item])
                found.append(Example(str(task), _thumbnail(shown[item]), shown[item].right, wrong, seeds))
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


def pair_of(results: Results) -> tuple[str, str] | None:
    """Return the labels whose items are shown: the headline's point and the first baseline with results."""
    best = set(results.best_of.values())
    found = [pair for pair in results.pairs if all(results.seeds(label)[0] for label in pair)]
    return next((pair for pair in found if set(pair) <= best), found[0] if found else None)


def item_leads(results: Results, ours: str, theirs: str) -> pd.DataFrame:
    """Return the test items that both arms have been asked with the same seeds.

    Columns: task, item, ours, theirs (share of the seeds in which each is right) and lead, which is 1 where
    ours alone is always right. Tasks whose items are not plainly right or wrong, such as average precisions,
    are left out.
    """
    sides = [results.study.values[label] for label in (ours, theirs)]
    seeds = sorted(seed for seed in set(sides[0]) & set(sides[1]) if sides[0][seed] and sides[1][seed])
    found = [pd.DataFrame(columns=["task", "item", "ours", "theirs"])]
    for task in results.tasks:
        one, other = (_shares([side[seed] for seed in seeds], task) for side in sides)
        if one is not None and other is not None and one.index.equals(other.index):
            both = {"ours": one.to_numpy(), "theirs": other.to_numpy()}
            found.append(pd.DataFrame({"task": task, "item": one.index, **both}))
    items = pd.concat(found[1:] or found, ignore_index=True)
    return items.assign(lead=items["ours"] - items["theirs"])


def chosen(items: pd.DataFrame, *, sign: int, tasks: int, each: int) -> pd.DataFrame:
    """Return items that one arm gets and the other loses, of the tasks that have most such items.

    Which of many equal ones are shown is decided by a hash of their names, so not by their order in the data
    set.

    Args:
        items: What `item_leads` returned.
        sign: 1: those that the candidate gets; -1: those that the baseline gets.
        tasks: At most so many tasks.
        each: At most so many items of a task.
    """
    led = items[sign * items["lead"] > 0]
    counts = led.groupby("task", sort=False).size().sort_values(ascending=False, kind="stable")
    led = led[led["task"].isin(counts.index[:tasks])]
    led = led.assign(far=-sign * led["lead"], hash=[zlib.crc32(str(item).encode()) for item in led["item"]])
    return led.sort_values(["far", "hash"], kind="stable").groupby("task", sort=False).head(each)


def _shares(runs: Sequence[RunValues], task: str) -> pd.Series[float] | None:
    """Return item -> the share of runs that get it, items sorted; None where that cannot be said."""
    found = [run[task] for run in runs if task in run]
    if not found or len(found) < len(runs):
        return None
    right = [pd.Series(one.values, index=one.items).sort_index(kind="stable") for one in found]
    # A mean over classes weights its items, so that right ones have other values than 1.
    plain = all(one.strata is not None or bool(np.isin(one.values, (0.0, 1.0)).all()) for one in found)
    if not plain or not all(one.index.equals(right[0].index) for one in right):
        return None
    return pd.DataFrame({k: one.to_numpy() > 0 for k, one in enumerate(right)}, right[0].index).mean(axis=1)
