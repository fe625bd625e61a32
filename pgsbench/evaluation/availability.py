"""Which data sets of a suite are there, whether they are complete, and fetching those that are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pgsbench.data import fetch, store
from pgsbench.data.store import Progress
from pgsbench.errors import DataError, UserError
from pgsbench.evaluation.suite import Suite, Task, builtin_dataset, public_set
from pgsbench.evaluation.task_data import data_folder, lacking, protocol_at_work

PRESENT, MISSING, DAMAGED, WRONG_SIZE = "present", "missing", "damaged", "wrong size"
#: States that fetching mends. A set of another size may be somebody's own and is left alone.
FETCHABLE = (MISSING, DAMAGED)


@dataclass(frozen=True)
class Availability:
    """One data set of a suite, as it lies on disk.

    Attributes:
        data: As the suite names it.
        splits: The splits that the tasks ask for; empty where the layout has none.
        state: `PRESENT`, `MISSING` (wholly or in part), `DAMAGED` or `WRONG_SIZE`.
        count: Test items found; None: it could not be counted.
        size: Test items it is known to have; None: not known.
        source: Where it comes from.
        problem: What is wrong with it.
    """

    data: str
    splits: tuple[str, ...]
    state: str
    count: int | None = None
    size: int | None = None
    source: str = ""
    problem: str = ""


def survey(
    suite: Suite, *, root: Path | None = None, progress: Progress | None = None
) -> Iterator[Availability]:
    """Yield every data set of a suite once, in the suite's order.

    Args:
        suite: The suite.
        root: Where public sets lie; default: where all data sets lie.
        progress: Told the set that is being counted.
    """
    distinct = {(task.data, task.protocol.requires): task for task in suite.tasks}
    for number, task in enumerate(distinct.values()):
        if progress:
            progress("counting", number, len(distinct))
        yield availability(task, root=root)
    if progress:
        progress("counting", len(distinct), len(distinct))


def availability(task: Task, *, root: Path | None = None) -> Availability:
    """Return how the data set of a task lies on disk; nothing is fetched, and no picture is read."""
    known, builtin = public_set(task.data), builtin_dataset(task.data)
    source = known.source if known else store.making(builtin) if builtin else ""
    answer = partial(Availability, task.data, splits_of(task), size=task.size, source=source)
    try:
        folder = data_folder(task.data, root=root)
        with protocol_at_work(task):
            absent = lacking(folder, task.protocol.requires)
        if absent:
            what = ", ".join(absent) if folder.is_dir() else f"no folder {folder}"
            return answer(MISSING, problem=what)
    except DataError as error:
        return answer(MISSING, problem=error.rule)
    count_items = getattr(task.protocol, "count_items", None)
    if count_items is None:
        return answer(PRESENT)
    try:
        with protocol_at_work(task):
            count = count_items(folder)
    except UserError as error:
        return answer(DAMAGED, problem=str(error))
    return answer(PRESENT if task.size in (None, count) else WRONG_SIZE, count=count)


def splits_of(task: Task) -> tuple[str, ...]:
    """Return the splits that a task needs, for example ``("test",)``."""
    folders = (Path(name).parent.name for name in task.protocol.requires if name.endswith("/nshards.txt"))
    return tuple(dict.fromkeys(folders))


def fetch_missing(
    suite: Suite,
    *,
    root: Path | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Fetch the public data sets that a suite lacks and return how many that were.

    Args:
        suite: The suite.
        root: Where public sets lie; default: where all data sets lie.
        progress: Told the set that is being fetched.
        say: Told each set that has come.

    Raises:
        DataError: Sets cannot be had; the message names them all. Those that came before stay.
    """
    root = root or store.root()
    offline = fetch.is_offline()
    tasks = {(task.data, task.protocol.requires): task for task in suite.tasks if public_set(task.data)}
    found = [(task, availability(task, root=root)) for task in tasks.values()]
    needed = [task for task, here in found if here.state in FETCHABLE]
    problems = [
        f"- {task.data}: {here.count:,} test items where it has {here.size:,}; move "
        f"{data_folder(task.data, root=root)} away to fetch it anew"
        for task, here in found
        if here.state == WRONG_SIZE
    ]
    untried: list[str] = []
    for number, task in enumerate(needed):
        if number and availability(task, root=root).state not in FETCHABLE:
            continue  # it came with what an earlier task needs
        if offline and is_fetchable(task):
            untried.append(task.data)
            continue
        if progress:
            progress("fetching", number, len(needed))
        if problem := _fetch(task, root):
            problems.append(f"- {task.data}: {problem}")
            offline = offline or fetch.NOT_FETCHED in problem  # nor will the next one come
        else:
            say(f"fetched: {data_folder(task.data, root=root)}")
    if untried:
        problems.append(f"- not tried without a network: {', '.join(untried)}")
    if problems:
        raise DataError(
            "data sets are missing\n" + "\n".join(problems),
            where=f"suite {suite.name}",
            way_out="fetch where there is a network (without --offline and HF_HUB_OFFLINE) or copy the "
            f"folders to {root}; the same command goes on where it was",
        )
    return len(needed)


def is_fetchable(task: Task) -> bool:
    """Whether the data set of a task is a public one that can be fetched."""
    known = public_set(task.data)
    return known is not None and known.is_fetchable


def _fetch(task: Task, root: Path) -> str:
    """Fetch one set; return what went wrong, or nothing."""
    known = public_set(task.data)
    assert known is not None
    try:
        fetch.fetch(known, splits_of(task), root)
    except DataError as error:
        return ": ".join(part for part in (error.where, error.rule, error.way_out) if part)
    found = availability(task, root=root)
    return "" if found.state == PRESENT else f"{found.state} after fetching: {found.problem or found.count}"
