"""A model and a suite in, scores out: knows neither trainer nor tracker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import compress
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from pgsbench.data.store import Progress
from pgsbench.errors import DataError, EvaluationError, Interrupted
from pgsbench.evaluation import task_results
from pgsbench.evaluation.embed import Encoder, Watch
from pgsbench.evaluation.identity import (
    data_states,
    encoding_environment,
    model_key,
    suite_fingerprint,
    task_key,
)
from pgsbench.evaluation.protocols.base import Measurement
from pgsbench.evaluation.scoring import group_means, primary_of, scores_of
from pgsbench.evaluation.suite import Suite, Task, builtin_dataset
from pgsbench.evaluation.task_data import FindData, data_folder, locate, protocol_at_work
from pgsbench.evaluation.task_results import TaskResult
from pgsbench.hashing import digest, file_hash
from pgsbench.models.clip import Clip
from pgsbench.records.scores import Scores

#: Progress within a task is told once it has taken this long; most tasks are over by then.
QUIET_SECONDS = 1.0


def evaluate(
    clip: Clip,
    suite: Suite,
    *,
    out: Path,
    data_folder: FindData = data_folder,
    device: torch.device | str = "cpu",
    batch_size: int = 256,
    autocast: torch.dtype | None = None,
    progress: Progress | None = None,
    checkpoint_sha256: str = "",
    earlier: Sequence[Path] = (),
    part_of: Suite | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Scores:
    """Measure a model on every task of a suite; a task that was measured before is not measured again.

    Writes ``outcomes/`` (`pgsbench.evaluation.task_results`) as tasks finish and, last, ``scores.csv`` and
    ``scores.json`` into `out`, each file atomically.

    Args:
        clip: The model; it is put into evaluation mode and handed back as it was.
        suite: What to measure.
        out: Folder for the results.
        data_folder: From a task's `data` to a folder; the default looks among the data sets that were made.
        device: Where the model lives.
        batch_size: Pictures or texts encoded at a time; a CPU gets smaller batches, which are faster there.
        autocast: Precision to autocast to; None (float32 all through) agrees with published numbers.
        progress: Told ``"tasks"`` as tasks begin, and the pictures and texts of a task that takes long.
        checkpoint_sha256: Hash of the weights, for the record and to recognise the model; if it is empty,
            nothing is reused.
        earlier: Other folders in which results of tasks may lie, such as the model's run directory.
        part_of: The whole suite if `suite` is a part of it: both then name the same units alike.
        should_stop: Asked between batches and between tasks.

    Raises:
        Interrupted: `should_stop` said so; the same call goes on with the tasks that are left.
        DataError: Data is missing (everything that is, before anything is encoded) or damaged, or `out`
            cannot be written to.
        EvaluationError: Embeddings that are not finite, a task without its metric, or a protocol that fails.
    """
    folders = locate(suite, data_folder)
    states = data_states(suite, folders)  # as they are before anything is read
    environment = encoding_environment(torch.device(device), autocast)
    model = model_key(clip, checkpoint_sha256, environment)
    encode = Encoder(
        clip,
        device=device,
        batch_size=batch_size,
        autocast=autocast,
    )
    origins = _origins(part_of or suite, data_folder)
    found: dict[str, TaskResult] = {}
    reused: list[str] = []
    keys: dict[str, str] = {}
    for number, task in enumerate(suite.tasks):
        if should_stop():
            raise Interrupted
        if progress:
            progress("tasks", number, len(suite.tasks))
        key = task_key(task, states[task.name], model, origins[task.name])
        keys[task.name] = key
        places = (out, *earlier) if checkpoint_sha256 else ()
        known = {place: result for place in places if (result := task_results.read(place, task, key))}
        if known:
            reused.append(task.name)
            found[task.name] = next(iter(known.values()))
        else:
            encode.watch = _watch(task, folders[task.name], progress, should_stop)
            found[task.name] = _measure(task, folders[task.name], encode, origins[task.name])
        if out not in known:
            with _writing(out):
                task_results.write(out, task, key, found[task.name])
    if progress:
        progress("tasks", len(suite.tasks), len(suite.tasks))
    measured = {task.name: checked_size(task, found[task.name].measurements) for task in suite.tasks}
    report = Scores(
        suite=suite.name,
        suite_version=suite.version,
        suite_fingerprint=suite_fingerprint(suite, states),
        checkpoint_sha256=checkpoint_sha256,
        scores=tuple(
            score for task in suite.tasks for score in scores_of(task, measured[task.name], keys[task.name])
        ),
        groups=group_means(suite, measured),
        num_images=sum(result.num_images for result in found.values()),
        num_texts=sum(result.num_texts for result in found.values()),
        architecture=clip.model_cfg,
        activations=activations(clip.model),
        preprocess=clip.preprocess_cfg,
        environment=environment,
        files={task.name: _hashes(folders[task.name], task.protocol.requires) for task in suite.tasks},
        protocols={task.name: asdict(cast(Any, task.protocol)) for task in suite.tasks},
        reused=tuple(reused),
    )
    with _writing(out):
        report.write(out)
    return report


def _watch(task: Task, folder: Path, progress: Progress | None, should_stop: Callable[[], bool]) -> Watch:
    """Return what an encoder calls between the batches of a task: it tells the progress, or stops.

    Where neither the encoder nor the task knows the total, the data in `folder` is counted.
    """
    began, counted = time.monotonic(), list[int]()

    def watch(kind: str, done: int, total: int | None) -> None:
        if should_stop():
            raise Interrupted
        if progress is None or time.monotonic() - began < QUIET_SECONDS:
            return
        if total is None and not counted:
            count = getattr(task.protocol, "count_items", None)
            counted.append(task.size or (count(folder) if count else 0))
        progress(f"{task.name}: {kind}", done, max(done, counted[0] if total is None else total))

    return watch


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"results cannot be written here: {error.strerror or error}",
            where=str(out),
            way_out="make room or name another folder; the same command goes on with the tasks that are left",
        ) from error


def checked_size(task: Task, measurements: Sequence[Measurement]) -> tuple[Measurement, ...]:
    """Return a task's measurements, marked where not all items were asked for, or not all are there.

    Pictures are counted, or pairs of captions: the smallest n, as captions may be many to a picture, and of
    a mean over classes its units, as a picture may show many.
    """
    if task.limit is not None:
        note = f"a look at the first {task.limit:,} items: compares with nothing"
        return tuple(replace(m, notes=(*m.notes, note)) for m in measurements)
    counts = (len(m.correct if m.strata is None else set(m.units or m.items)) for m in measurements)
    found = min(counts, default=0)
    if task.half is not None or task.size is None or found == task.size:
        return tuple(measurements)
    note = f"{found:,} test items where the set has {task.size:,}: does not compare with published numbers"
    return tuple(replace(m, notes=(*m.notes, note)) for m in measurements)


def activations(model: nn.Module) -> tuple[str, ...]:
    """Return the names of a model's activation functions: with a wrong one scores are quietly low."""
    names = {type(module).__name__ for module in model.modules()}
    return tuple(sorted(name for name in names if name.upper().endswith(("GELU", "SILU", "RELU"))))


def model_description(clip: Clip) -> str:
    """Return what scores depend on beside the weights: activations, and how pictures are prepared."""
    prepared, (height, width) = clip.preprocess_cfg, clip.image_size
    mean, std = (" ".join(f"{value:.3g}" for value in prepared[key]) for key in ("mean", "std"))
    activation = " and ".join(activations(clip.model)) or "unknown activation"
    scaled = f"{prepared['resize_mode']}, {prepared['interpolation']}"
    return f"{activation}; pictures {height} x {width} ({scaled}), mean {mean}, std {std}"


def _hashes(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the hash of each text file that a task reads: class names, templates, captions."""
    files = [name for name in names if "/" not in name and (folder / name).is_file()]
    return {name: file_hash(folder / name)[:16] for name in files}


def _measure(task: Task, folder: Path, encode: Encoder, origin: str) -> TaskResult:
    before = encode.num_images, encode.num_texts
    encode.limit = task.limit
    with protocol_at_work(task):
        try:
            named = (_named(m, origin) for m in task.protocol.measure(folder, encode))
            measurements = tuple(half_of(m, task.half) for m in named)
        except EvaluationError as error:
            raise error.moved(lambda where: f"{task.name}, {where}") from None
    metrics = [m.metric for m in measurements]
    if len(set(metrics)) < len(metrics):
        raise EvaluationError("two measurements of one metric", where=task.name, value=", ".join(metrics))
    primary_of(task, measurements)  # said now and not when all other tasks are done
    return TaskResult(measurements, encode.num_images - before[0], encode.num_texts - before[1])


def half_of(m: Measurement, half: str | None) -> Measurement:
    """Return what was measured of one half of the units, drawn by hash of their names.

    A unit, usually a picture, is in the same half for every task, metric and model. What an item is compared
    with stays: a gallery of retrieval has the pictures of both halves.

    Args:
        m: What was measured; its units bear the name of their data set.
        half: ``"dev"`` or ``"test"``; None: all.
    """
    if half is None:
        return m
    units = list(m.items if m.units is None else m.units)
    of = {unit: ("dev", "test")[int(digest(unit)[-1], 16) % 2] for unit in set(units)}
    rows = np.array([of[unit] == half for unit in units], bool)
    return replace(
        m,
        correct=m.correct[rows],
        items=list(compress(m.items, rows)),
        units=list(compress(units, rows)),
        strata=None if m.strata is None else m.strata[rows],
        num_ties=min(m.num_ties, int(rows.sum())),
        answers={name: values[rows] for name, values in m.answers.items()},
    )


def _origins(suite: Suite, find: FindData) -> dict[str, str]:
    """Return the name of each task's data set; for a folder the shortest end of its path that is unique.

    It becomes part of the names of units, because exported sets often number their pictures alike.
    """
    folders = {
        task.name: find(task.data).absolute() for task in suite.tasks if not builtin_dataset(task.data)
    }
    distinct = set(folders.values())

    def short(folder: Path) -> str:
        parts = folder.parts
        for n in range(1, len(parts)):
            if sum(other.parts[-n:] == parts[-n:] for other in distinct) == 1:
                return "/".join(parts[-n:])
        return str(folder)

    return {task.name: builtin_dataset(task.data) or short(folders[task.name]) for task in suite.tasks}


def _named(m: object, origin: str) -> Measurement:
    """Return a measurement with the name of the data set in its units."""
    if not isinstance(m, Measurement):
        raise TypeError(f"it yields {type(m).__name__} where a Measurement is due")
    return replace(m, units=[f"{origin}:{unit}" for unit in (m.items if m.units is None else m.units)])
