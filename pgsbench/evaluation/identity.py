"""What scores were measured on, as hashes: whether a task or a whole suite is still what it was."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from pgsbench.data import store
from pgsbench.errors import DataError
from pgsbench.evaluation.suite import Suite, Task, builtin_dataset, locate, public_set
from pgsbench.hashing import canonical_json, file_hash


def current_fingerprint(suite: Suite) -> str:
    """Return `suite_fingerprint` as things lie now; empty where data is missing: no scores rest on that."""
    try:
        return suite_fingerprint(suite, data_states(suite, locate(suite)))
    except DataError:
        return ""


def suite_fingerprint(suite: Suite, states: Mapping[str, str]) -> str:
    """Return what scores on a suite rest on beside the model, as a hash.

    That is its name and version, every field of its tasks, the code of protocols that are not built in, and
    the data. Where the suite's file is named from makes no difference.

    Args:
        suite: The suite.
        states: What `data_states` returned.
    """
    tasks = [
        [type(task.protocol).__qualname__, {**asdict(task), "data": _place(task)}, states[task.name]]
        for task in suite.tasks
    ]
    return _hash([suite.name, suite.version, tasks])


def task_key(task: Task, state: str, model_key: str, origin: str) -> str:
    """Return what a task's result depends on as a hash: model, protocol and its code, version, data.

    Args:
        task: The task.
        state: The state of its data (`data_states`).
        model_key: What the model is.
        origin: What its units are named by.
    """
    content = {
        "model": model_key,
        "origin": origin,
        "protocol": [type(task.protocol).__qualname__, asdict(cast(Any, task.protocol))],
        "code": task.code,
        "version": task.version,
        "data": state,
    }
    return _hash(content)


def data_states(suite: Suite, folders: Mapping[str, Path]) -> dict[str, str]:
    """Return the state of each task's data by task name: equal states, equal data.

    A built-in set is what its data set says of itself: a hash of all content. Of any other the files of the
    folder count: texts by content, pictures and archives by name, size and times of change, as reading a
    large set only to find that it is the same would take minutes; one of the times is the system's own,
    which no tool sets back. Where the set is the same and the times are not, as in a copy, it counts as
    another, and the embedding cache knows its pictures by their content.

    Args:
        suite: The suite.
        folders: The folder of each task by task name (`pgsbench.evaluation.suite.locate`).

    Raises:
        DataError: A built-in data set says nothing of itself.
    """
    of_place: dict[Path, str] = {}  # tasks often share a set
    states = {}
    for task in suite.tasks:
        builtin, place = builtin_dataset(task.data), folders[task.name]
        if builtin:
            place = place.parents[1]  # of DATASET/eval/NAME
        if place not in of_place:
            of_place[place] = store.read_manifest(place).fingerprint if builtin else _listing(place)
        states[task.name] = f"{task.data} {of_place[place]}" if builtin else of_place[place]
    return states


def _place(task: Task) -> str:
    is_named = builtin_dataset(task.data) or public_set(task.data)
    return task.data if is_named else os.path.realpath(task.data)


def _listing(folder: Path) -> str:
    return _hash([[path.relative_to(folder).as_posix(), _state(path)] for path in sorted(_files(folder))])


def _state(path: Path) -> str | list[int]:
    if path.suffix in (".txt", ".json", ".jsonl"):
        return file_hash(path)
    state = path.stat()
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns]


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, linked folders included: rglob does not enter those."""
    for here, below, names in os.walk(folder, followlinks=True):
        real = Path(here).resolve()
        below[:] = [name for name in below if not real.is_relative_to((real / name).resolve())]  # a loop
        yield from (path for path in (Path(here, name) for name in names) if path.is_file())


def _hash(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
