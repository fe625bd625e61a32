"""Where the data of a suite's tasks lie, what of it is missing, and what to do about that."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pgsbench.data import public, store
from pgsbench.data.evalset import shards_of
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
