"""What decides scores, as hashes: they tell whether a model, a task or a suite is still the same."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch

from pgsbench.data import store
from pgsbench.errors import DataError
from pgsbench.evaluation.suite import Suite, Task, builtin_dataset, public_set
from pgsbench.evaluation.task_data import locate
from pgsbench.hashing import digest, file_hash
from pgsbench.models.clip import Clip

#: The code of pgsbench in which all lies that decides what is measured.
CODE = ("data/*.py", "devices.py", "evaluation/**/*.py", "models/*.py")

#: A new version of these may encode or score the same picture differently.
LIBRARIES = ("open_clip_torch", "torch", "torchvision", "pillow", "numpy", "scikit-learn")

#: Two models with the same tokens for these count as having the same tokenizer.
PROBE_TEXTS = ["a photo of 3 cats.", "Zwölf Boxkämpfer, jagen Viktor!", "quick brown foxes'\njumps & more"]


def encoding_environment(device: torch.device, autocast: torch.dtype | None) -> dict[str, str]:
    """Return what decides numbers beside model, data and code: device type, precision, libraries."""
    precision = str(autocast or torch.float32).removeprefix("torch.")
    return {"device": device.type, "precision": precision, **{name: version(name) for name in LIBRARIES}}


def model_key(clip: Clip, checkpoint_sha256: str, environment: Mapping[str, str]) -> str:
    """Return a hash of a model and of how it encodes and is scored: no result outlives a change of `CODE`."""
    tokens = clip.tokenize(PROBE_TEXTS).tolist()
    model = [checkpoint_sha256, clip.model_cfg, clip.preprocess_cfg, tokens]
    return digest([*model, environment, code_hash()])[:32]


@cache
def code_hash() -> str:
    """Return a hash of the files that `CODE` names."""
    package = Path(__file__).parents[1]
    return digest([file_hash(path) for name in CODE for path in sorted(package.glob(name))])


def current_fingerprint(suite: Suite) -> str:
    """Return `suite_fingerprint` of the suite and its data as they are now; empty if data is missing."""
    try:
        return suite_fingerprint(suite, data_states(suite, locate(suite)))
    except DataError:
        return ""


def suite_fingerprint(suite: Suite, states: Mapping[str, str]) -> str:
    """Return a hash of all that scores on a suite depend on besides the model.

    That is the suite's name and version, every field of its tasks, the code of protocols that are not built
    in, and the data. The place of the suite's file makes no difference.

    Args:
        suite: The suite.
        states: What `data_states` returned.
    """
    tasks = [
        [type(task.protocol).__qualname__, {**_fields(task), "data": _place(task)}, states[task.name]]
        for task in suite.tasks
    ]
    return digest([suite.name, suite.version, tasks])


def task_key(task: Task, state: str, model_key: str, origin: str) -> str:
    """Return a hash of all that a task's result depends on: model, protocol and its code, version, data.

    Args:
        task: The task.
        state: The state of its data (`data_states`).
        model_key: Hash of the model and of how it encodes.
        origin: Name of the data set in the names of units.
    """
    content = {
        "model": model_key,
        "origin": origin,
        "protocol": [type(task.protocol).__qualname__, asdict(cast(Any, task.protocol))],
        "code": task.code,
        "version": task.version,
        "limit": task.limit,
        **({"half": task.half} if task.half else {}),
        "data": state,
    }
    return digest(content)


def _fields(task: Task) -> dict[str, Any]:
    found = asdict(task)
    if task.half is None:  # whole sets keep the identity that they had before there were halves
        del found["half"]
    return found


def data_states(suite: Suite, folders: Mapping[str, Path]) -> dict[str, str]:
    """Return the state of each task's data by task name: equal states mean equal data.

    A generated set has a hash of all its content. For any other set the files of its folder count: texts by
    content, pictures and archives by name, size and times of change, because reading a large set would take
    minutes. One of the times is the system's own, which no tool sets back. A copy has other times and counts
    as another set.

    Args:
        suite: The suite.
        folders: The folder of each task by task name (`pgsbench.evaluation.task_data.locate`).

    Raises:
        DataError: A generated data set has no readable manifest.
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
    return digest([[path.relative_to(folder).as_posix(), _state(path)] for path in sorted(_files(folder))])


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
