"""Where the data of a suite's tasks lie, what of it is missing or damaged, and fetching that."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pgsbench.data import public, store
from pgsbench.data.evalset import shards_of
from pgsbench.data.store import Progress
from pgsbench.errors import DataError, EvaluationError, Interrupted, UserError
from pgsbench.evaluation.protocols import PROTOCOLS
from pgsbench.evaluation.suite import BUILTIN_DATA, Suite, Task, builtin_dataset, public_set

#: From a task's `data` to the folder of its data set.
FindData = Callable[[str], Path]

#: What to do about data that is missing.
WAY_OUT = (
    "`pgsbench data make NAME` makes generated data sets, `pgsbench data fetch {suite}` fetches public ones; "
    "paths of your own are relative to the suite's file, and docs/add-an-evaluation.md lists their files"
)


def make_builtin(suite: Suite, *, progress: store.Progress | None = None) -> None:
    """Make the built-in data sets that a suite is measured on where they do not exist yet."""
    for name in sorted({name for task in suite.tasks if (name := builtin_dataset(task.data))}):
        store.ensure(name, progress=progress)


def without_builtin(suite: Suite) -> Suite:
    """Return a suite without the tasks whose data `make_builtin` makes."""
    return replace(suite, tasks=tuple(task for task in suite.tasks if not builtin_dataset(task.data)))


def data_folder(data: str, *, root: Path | None = None) -> Path:
    """Return the folder of a task's data: of a built-in or a public data set, or the path itself.

    Args:
        data: See `Task`.
        root: Where public sets lie; default: where all data sets lie.

    Raises:
        DataError: The built-in data set has not been made, or there is none of this name.
    """
    if known := public_set(data):
        return public.folder(known.name, root=root)
    builtin = BUILTIN_DATA.fullmatch(data)
    if not builtin:
        return Path(data)
    dataset = builtin["dataset"]
    folder = store.find(dataset)
    if folder is None:
        raise DataError("this data set has not been made yet", value=dataset, way_out=store.making(dataset))
    return folder / "eval" / builtin["evaluation"]


def locate(suite: Suite, find: FindData = data_folder) -> dict[str, Path]:
    """Return the folder of each task by task name.

    Raises:
        DataError: Data is missing; the message names everything that is.
    """
    folders = {}
    problems = dict[str, None]()  # as an ordered set: many tasks may lack the same thing
    for task in suite.tasks:
        try:
            folders[task.name] = folder = find(task.data)
            with protocol_at_work(task):
                absent = lacking(folder, task.protocol.requires)
            if absent:
                what = f"{folder}: no {', '.join(absent)}" if folder.is_dir() else f"{folder}: no such folder"
                known = public_set(task.data)
                hint = f"; {known.source}" if known and not known.is_known else ""
                problems[f"{task.name} ({task.data}): {what}{hint}"] = None
        except UserError as error:
            problems[str(error)] = None
    if problems:
        raise DataError(
            "the suite lacks data\n" + "\n".join(f"- {problem}" for problem in problems),
            where=f"suite {suite.name}",
            way_out=WAY_OUT.format(suite=suite.name),
        )
    return folders


@contextmanager
def protocol_at_work(task: Task) -> Iterator[None]:
    """Turn any exception of a user's protocol into an error that names the task and the line.

    A built-in protocol that raises has a bug, and keeps its traceback.

    Raises:
        EvaluationError: The protocol raised; what it raised is the cause.
    """
    try:
        yield
    except (UserError, Interrupted):
        raise
    except Exception as error:
        if task.protocol_name in PROTOCOLS.builtin:
            raise
        file = inspect.getfile(type(task.protocol))
        frames = traceback.extract_tb(error.__traceback__)
        last = next((frame for frame in reversed(frames) if frame.filename == file), frames[-1])
        raise EvaluationError(
            f"the protocol {task.protocol_name} failed: {type(error).__name__}: {error}",
            where=task.name,
            way_out=f"see {last.filename}:{last.lineno}: {last.line}",
        ) from error


def lacking(folder: Path, requires: Sequence[str]) -> list[str]:
    """Return what a folder lacks of the files that a protocol requires, the shards of its splits included."""
    absent = [name for name in requires if not (folder / name).exists()]
    for name in requires:
        if name.endswith("/nshards.txt") and name not in absent:
            split = (folder / name).parent
            absent += [f"{split.name}/{path.name}" for path in shards_of(split) if not path.exists()]
    return absent


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
    offline = public.is_offline()
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
            offline = offline or public.NOT_FETCHED in problem  # nor will the next one come
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
        public.fetch(known, splits_of(task), root)
    except DataError as error:
        return ": ".join(part for part in (error.where, error.rule, error.way_out) if part)
    found = availability(task, root=root)
    return "" if found.state == PRESENT else f"{found.state} after fetching: {found.problem or found.count}"
