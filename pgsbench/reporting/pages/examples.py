"""Test items for people: pictures that one arm gets and another loses.

The outcomes are those that runs keep; the pictures are read from the data set when the report is written.
"""

from __future__ import annotations

import io
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
from pgsbench.reporting.pages.item_leads import ItemLeads, chosen, item_leads, pair_of, tasks_table
from pgsbench.reporting.render import Table
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import PlannedRun

if TYPE_CHECKING:
    from pgsbench.evaluation.protocols.base import Shown
    from pgsbench.evaluation.suite import Task

#: Pictures of either kind: of so many tasks, so many each.
TASKS, EACH = 6, 3
#: Longer side of a picture on the page, in pixels; more would make the page heavy.
SIDE = 128


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
        tasks: On which tasks they differ most.
        said: In how many items they differ.
        won: Items that the candidate gets and the baseline loses.
        lost: The reverse.
        missing: Why there are no pictures; empty: they are there.
    """

    ours: str
    theirs: str
    tasks: Table | None
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
    always = "" if len(seeds) == 1 else f" with all {len(seeds)} seeds"
    said = (
        f"Of {sum(len(one.items) for one in leads):,} test items, the arm {ours} is right on "
        f"{sum(one.only_ours for one in leads):,}{always} where the arm {theirs} is wrong{always}; the other "
        f"way round it is {sum(one.only_theirs for one in leads):,}."
    )
    table, tasks = tasks_table(results, leads, ours, theirs), {}
    with suppress(UserError):
        tasks = _tasks(sides[0][seeds[0]])
    if not tasks:
        missing = "No pictures: their data is not here, or is other than what the runs were tested on."
        return Examples(ours, theirs, table, said, missing=missing)
    won, lost = (
        _shown(tasks, chosen(leads, sign=sign, tasks=TASKS, each=EACH), [side[seed] for seed in seeds])
        for sign, side in ((1, sides[1]), (-1, sides[0]))
    )
    return Examples(ours, theirs, table, said, won, lost)


def _tasks(run: PlannedRun) -> dict[str, tuple[Task, Path]]:
    """Return the tasks with their data; empty where it is other than the run was tested on."""
    from pgsbench.evaluation.identity import data_states, suite_fingerprint
    from pgsbench.evaluation.suite import load_suite
    from pgsbench.evaluation.task_data import locate

    if run.scores is None or not run.scores.suite_fingerprint:
        return {}
    suite = load_suite(run.spec.evaluation.suite, trained_on=run.spec.config.data.source)
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
