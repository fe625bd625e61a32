"""Suites: lists of tasks as data. One YAML file each; the ones that ship lie in ``suites/``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from pgsbench.config.read import check_all
from pgsbench.config.search import MEAN
from pgsbench.config.strict import Strict
from pgsbench.config.yaml_text import parse_yaml, place_in, read_text
from pgsbench.data import public, store
from pgsbench.disk.whole_files import is_file
from pgsbench.errors import ConfigError, PluginError, UserError, nearest
from pgsbench.evaluation.protocols import PROTOCOLS
from pgsbench.evaluation.protocols.base import EvaluationProtocol
from pgsbench.plugins.from_values import build, load_class
from pgsbench.records.run_spec import RunSpec

FOLDER = Path(__file__).parent / "suites"

_PUBLIC_DATA = re.compile(r"clip_benchmark:(?P<name>[\w./+-]+)")
#: An evaluation set of a built-in data set, ``scenes:shape``.
BUILTIN_DATA = re.compile(
    r"(?!clip_benchmark:)(?P<dataset>[a-z0-9_-]+(\?[\w.=&-]+)?):(?P<evaluation>\w[\w.-]*)"
)


@dataclass(frozen=True)
class Task:
    """One data set under one protocol.

    Attributes:
        name: Unique in its suite, for example ``"scenes/shape"``.
        data: ``"scenes:shape"`` (an evaluation set of a built-in data set, perhaps with knobs),
            ``"clip_benchmark:imagenet1k"`` (a public set by clip_benchmark's name) or the path of a folder.
        protocol: How it is tested.
        protocol_name: The protocol's name in the suite.
        metric: The metric that stands for the task in means and comparisons.
        group: Group whose mean it enters.
        chance: What guessing gives on `metric`; None: what the protocol works out.
        version: Raised whenever the task's meaning changes.
        size: Number of test items that the data set is known to have; None: not known.
        code: What the protocol's code is (`Registry.content_id`).
        limit: Number of items to measure, the first ones; None: all.
        half: Only one half of the units is measured, ``"dev"`` or ``"test"``
            (`pgsbench.evaluation.evaluate.half_of`); None: all.
    """

    name: str
    data: str
    protocol: EvaluationProtocol
    protocol_name: str
    metric: str
    group: str
    chance: float | None = None
    version: int = 1
    size: int | None = None
    code: str = ""
    limit: int | None = None
    half: str | None = None

    @property
    def file_name(self) -> str:
        """What the files of its results are called."""
        return self.name.replace("/", "__")


@dataclass(frozen=True)
class Suite:
    """A list of tasks.

    Attributes:
        name: For example ``"scenes"``.
        version: Raised whenever the list changes.
        question: What the suite tells about a model, in one sentence.
        tasks: In the order in which they are reported.
    """

    name: str
    version: int
    question: str
    tasks: tuple[Task, ...]


class TaskConfig(Strict):
    """One task of a suite's file; further keys are fields of its protocol."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str = Field(pattern=r"^\w[\w./+-]*$", max_length=100)
    data: str = Field(min_length=1)
    protocol: str
    group: str = Field(pattern=r"^\w[\w-]*$")
    metric: str = ""
    chance: float | None = Field(None, ge=0, lt=1)
    version: int = Field(1, ge=1)
    size: int | None = Field(None, ge=1)


class SuiteConfig(Strict):
    """A suite's file."""

    name: str = Field(pattern=r"^\w[\w.+-]*$", max_length=100)
    version: int = Field(1, ge=1)
    question: str = ""
    tasks: list[dict[str, Any]] = Field(min_length=1, description="Each a `TaskConfig`.")


def builtin_names() -> list[str]:
    """Return the names of the suites that ship with pgsbench."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_suite(name_or_path: str | Path, trained_on: str = "") -> Suite:
    """Read and check a suite: one that ships, by name, any YAML file, or a public set or collection.

    Folders in `data` may be relative to the file, start with ``~`` and hold environment variables. A set or
    collection, ``clip_benchmark:NAME``, is tested as clip_benchmark tests it.

    Args:
        name_or_path: Its name or file.
        trained_on: Training data whose evaluation sets are used (`following`); empty: the suite's own.

    Raises:
        ConfigError: There is no such suite, or every mistake that is in it.
    """
    name = str(name_or_path)
    if found := _PUBLIC_DATA.fullmatch(name):
        return _checked(_public_suite(found["name"]), Path(), lambda dotted: f"{name}: {dotted}")
    path = FOLDER / f"{name}.yaml" if name in builtin_names() else Path(name)
    if not is_file(path):
        rule, way_out = (
            "no suite of this name ships, and there is no such file",
            nearest(name, builtin_names()),
        )
        raise ConfigError(rule, where="evaluation.suite", value=name, way_out=way_out)
    data, lines = parse_yaml(read_text(path), str(path))
    if not isinstance(data, dict):
        raise ConfigError("a suite's file is a mapping of keys to values", where=str(path), value=data)
    return following(_checked(data, path.parent, partial(place_in, path, lines)), trained_on)


def first_items(suite: Suite, limit: int) -> Suite:
    """Return a suite whose tasks measure their first `limit` items only, for a quick look."""
    tasks = tuple(replace(task, limit=limit) for task in suite.tasks)
    return replace(suite, name=f"{suite.name}-first-{limit}", tasks=tasks)


def suite_of(spec: RunSpec) -> Suite:
    """Return what a run is tested on: its suite, or half, on the sets that belong to its training data."""
    suite = load_suite(spec.evaluation.suite, trained_on=spec.config.data.source)
    tasks = tuple(replace(task, half=spec.evaluation.half) for task in suite.tasks)
    return replace(suite, tasks=tasks)


def part_named(suite: Suite, names: Sequence[str]) -> Suite:
    """Return a suite with the tasks alone that some names mean: of tasks, or of groups.

    Raises:
        ConfigError: The suite has no such task or group.
    """
    known = {task.name for task in suite.tasks} | {task.group for task in suite.tasks}
    if strange := [name for name in names if name not in known]:
        rule, where = "the suite has no such group or task", "evaluation.during.tasks"
        raise ConfigError.collect(
            ConfigError(rule, where=where, value=name, way_out=nearest(name, known)) for name in strange
        )
    tasks = tuple(task for task in suite.tasks if task.name in names or task.group in names)
    return replace(suite, tasks=tasks)


def following(suite: Suite, source: str) -> Suite:
    """Return a suite whose tasks on a built-in data set use the evaluation sets that belong to training data.

    A model that was trained on ``scenes?clutter=0.9`` is tested on its evaluation sets, not on those of
    scenes with other knobs. Other tasks stay what they are.

    Args:
        suite: As it was read.
        source: The training data (`DataConfig.source`).
    """
    if not store.is_builtin(source):
        return suite
    source = store.canonical(source)
    name = source.partition("?")[0]
    tasks = [
        replace(task, data=f"{source}:{task.data.partition(':')[2]}")
        if task.data.startswith(f"{name}:")
        else task
        for task in suite.tasks
    ]
    return replace(suite, tasks=tuple(tasks))


def builtin_dataset(data: str) -> str | None:
    """Return the name of the built-in data set that a task's data is a part of; None: of none."""
    found = BUILTIN_DATA.fullmatch(data)
    return found["dataset"] if found else None


def public_set(data: str) -> public.PublicSet | None:
    """Return the public set that a task's data names; None: it names something else."""
    found = _PUBLIC_DATA.fullmatch(data)
    return public.lookup(found["name"]) if found else None


def _public_suite(name: str) -> dict[str, Any]:
    """Return what a suite's file would say of a public set or collection."""
    group = re.sub(r"[^\w-]", "-", name).lstrip("-")
    known = [public.lookup(member) for member in public.collection(name) or (name,)]
    tasks = [
        {"name": one.name, "data": f"clip_benchmark:{one.name}", "protocol": one.protocol, "group": group}
        for one in known
    ]
    question = f"{name}, as clip_benchmark tests it."
    return {"name": name.replace("/", "-"), "question": question, "tasks": tasks}


def _checked(data: dict[str, Any], folder: Path, place: Callable[[str], str]) -> Suite:
    """Return the suite of a file, or all mistakes in it.

    Args:
        data: What the file says.
        folder: Where relative paths start.
        place: Where a dotted path stands, for messages.
    """
    checked, file = check_all(SuiteConfig, data, place), place("").rstrip(": ")
    tasks: list[Task] = []
    problems = list(checked.problems)
    for index, given in enumerate(checked.model.tasks if checked.model else ()):
        where = place(f"tasks.{index}")
        entry = check_all(TaskConfig, given, partial(_below, where))
        problems += entry.problems
        if entry.model is None or entry.left_out & {"data", "protocol"}:
            continue
        try:
            task = _task(entry.model, folder, where)
        except UserError as error:
            problems += error.problems
            continue
        if task.file_name in {known.file_name for known in tasks}:
            rule = "two tasks have the same name ('/' and '__' are alike)"
            problems.append(ConfigError(rule, where=where, value=task.name))
        else:
            tasks.append(task)
    for group in dict.fromkeys(task.group for task in tasks):
        is_task = any(task.name == group for task in tasks)
        if group == MEAN or (is_task and [task.name for task in tasks if task.group == group] != [group]):
            rule = "a group is called as a task is, or as the mean of groups"
            problems.append(ConfigError(rule, where=file, value=group, way_out="rename the group"))
    if problems or checked.model is None:
        raise ConfigError.collect(problems, where=file)
    config = checked.model
    return Suite(config.name, config.version, config.question, tuple(tasks))


def _below(where: str, key: str) -> str:
    return f"{where}.{key}" if key else where


def _task(config: TaskConfig, folder: Path, where: str) -> Task:
    kind = load_class(PROTOCOLS, config.protocol, where=where, relative_to=folder)
    if not all(hasattr(kind, name) for name in ("__dataclass_fields__", "primary", "requires", "measure")):
        raise PluginError(
            "a protocol is a frozen dataclass with primary, requires and measure",
            where=where,
            value=config.protocol,
            way_out="docs/add-an-evaluation.md shows a whole one",
        )
    given: dict[str, Any] = dict(config.model_extra or {})
    known_set = public_set(config.data)
    if known_set and known_set.subset and "subset" in {field.name for field in fields(kind)}:
        given.setdefault("subset", known_set.subset)
    protocol: EvaluationProtocol = build(
        PROTOCOLS,
        config.protocol,
        kind,
        given,
        where=where,
        read=("requires",),
        other_keys=TaskConfig.model_fields,
    )
    measured = getattr(protocol, "metrics", None)
    if config.metric and measured is not None and config.metric not in measured:
        raise ConfigError(
            f"{config.protocol} does not measure this metric",
            where=f"{where}.metric",
            value=config.metric,
            way_out=nearest(config.metric, measured),
        )
    data, size = config.data, config.size
    if known_set:
        is_test = getattr(protocol, "split", "test") == "test"  # the only split whose size is known
        size = size or (known_set.size if is_test else None)
    elif not BUILTIN_DATA.fullmatch(data):
        data = str(folder / Path(os.path.expandvars(data)).expanduser())
    return Task(
        config.name,
        data,
        protocol,
        config.protocol,
        config.metric or kind.primary,
        config.group,
        config.chance,
        config.version,
        size,
        code=PROTOCOLS.content_id(config.protocol, relative_to=folder),
    )
