"""Test items for people: pictures that one arm gets and another loses.

The outcomes are those that runs keep; the pictures are read from the data set when the report is written.
"""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pgsbench.disk.whole_files import UNREADABLE
from pgsbench.errors import UserError
from pgsbench.records.scores import Score
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
        picture: Its picture as a ``data:`` address.
        right: The right answer.
        wrong: What the arm that loses it says instead, where that is known.
        seeds: With how many seeds each arm gets it: ``"3 : 0"``, the candidate first.
    """

    task: str
    picture: str
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
    return _Reader(results, *pair).examples(leads)


class _Reader:
    """Reads the pictures of one pair."""

    def __init__(self, results: Results, ours: str, theirs: str) -> None:
        self.results, self.names = results, (ours, theirs)
        sides = [
            {run.seed: run for run in results.study.of(label) if run.scores is not None and not run.problem}
            for label in self.names
        ]
        self.seeds = sorted(set(sides[0]) & set(sides[1]))
        self.runs = [[side[seed] for seed in self.seeds] for side in sides]

    def examples(self, leads: Sequence[ItemLeads]) -> Examples:
        ours, theirs = self.names
        table = tasks_table(self.results, leads, ours, theirs)
        counts = [sum(getattr(one, side) for one in leads) for side in ("only_ours", "only_theirs")]
        always = "" if len(self.seeds) == 1 else f" with all {len(self.seeds)} seeds"
        said = (
            f"Of {sum(len(one.items) for one in leads):,} test items, the arm {ours} is right on "
            f"{counts[0]:,}{always} where the arm {theirs} is wrong{always}; the other way round it is "
            f"{counts[1]:,}."
        )
        plain = Examples(
            ours,
            theirs,
            table,
            said,
            missing="No pictures: their data is not here, or is other than what the runs were tested on.",
        )
        try:
            tasks = self._tasks()
        except UserError:
            return plain
        if not tasks:
            return plain
        won, lost = (
            self._shown(tasks, chosen(leads, sign=sign, tasks=TASKS, each=EACH), sign) for sign in (1, -1)
        )
        return Examples(ours, theirs, table, said, won, lost)

    def _tasks(self) -> dict[str, tuple[Task, Path]]:
        """Return the tasks with their data; empty where it is other than the runs were tested on."""
        from pgsbench.evaluation.identity import data_states, suite_fingerprint
        from pgsbench.evaluation.suite import following, load_suite
        from pgsbench.evaluation.task_data import locate

        run = self.runs[0][0]
        if run.scores is None or not run.scores.suite_fingerprint:
            return {}
        suite = following(load_suite(run.spec.evaluation.suite), run.spec.config.data.source)
        folders = locate(suite)
        if suite_fingerprint(suite, data_states(suite, folders)) != run.scores.suite_fingerprint:
            return {}
        return {task.name: (task, folders[task.name]) for task in suite.tasks}

    def _shown(
        self, tasks: Mapping[str, tuple[Task, Path]], picked: Sequence[tuple[ItemLeads, int]], sign: int
    ) -> list[Example]:
        found = []
        for lead in dict.fromkeys(lead.task for lead, _ in picked):
            of_task = [(one, k) for one, k in picked if one.task == lead]
            items = [str(one.items[k]) for one, k in of_task]
            shown = _show(*tasks[lead], items)
            losers = [_answers(run, lead) for run in self.runs[1 if sign > 0 else 0]]
            for (one, k), item in zip(of_task, items, strict=True):
                if item in shown:
                    times = [round(share[k] * len(self.seeds)) for share in (one.ours, one.theirs)]
                    wrong = _wrong(losers, item, shown[item])
                    found.append(
                        Example(
                            lead,
                            _thumbnail(shown[item]),
                            shown[item].right,
                            wrong,
                            f"{times[0]} : {times[1]}",
                        )
                    )
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
        shown.choices[int(_row(answers, "predicted", item))]
        for answers in runs
        if "predicted" in answers and shown.choices
    )
    said.pop(shown.right, None)
    return said.most_common(1)[0][0] if said else ""


def _score(run: PlannedRun, task: str) -> Score:
    assert run.scores is not None
    return run.scores.primary()[task]


def _answers(run: PlannedRun, task: str) -> dict[str, NDArray[Any]]:
    with np.load(run.path / _score(run, task).per_sample) as arrays:
        return {name: arrays[name] for name in ("items", "predicted") if name in arrays}


def _row(answers: Mapping[str, NDArray[Any]], name: str, item: str) -> Any:
    return answers[name][int(np.flatnonzero(answers["items"] == item)[0])]


def _thumbnail(shown: Shown) -> str:
    from PIL import Image

    picture = Image.open(io.BytesIO(shown.picture.data)).convert("RGB")
    picture.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    picture.save(file, "jpeg", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
