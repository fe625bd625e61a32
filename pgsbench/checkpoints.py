"""From a checkpoint, by whatever name it goes, and a suite to scores on disk."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch import nn

from pgsbench.data.store import Progress
from pgsbench.devices import devices_named, gains_by_bf16
from pgsbench.disk.whole_files import unwritable
from pgsbench.errors import ConfigError, nearest
from pgsbench.evaluation import suite as suites
from pgsbench.evaluation import task_data
from pgsbench.evaluation.evaluate import evaluate, model_description
from pgsbench.evaluation.suite import Suite
from pgsbench.models.checkpoint import clip_of
from pgsbench.models.clip import Clip
from pgsbench.models.source import Opened, open_model, state_hash
from pgsbench.records import files
from pgsbench.records.kept import resolved
from pgsbench.records.scores import Scores
from pgsbench.tracking import mlflow_store
from pgsbench.tracking.rundir import RunDir

#: Precisions of encoding by name; None: float32 all through, which agrees with published numbers.
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
#: What the folder of a part's scores begins with.
PART = "part-"


@dataclass(frozen=True)
class Evaluation:
    """One checkpoint on one suite.

    Attributes:
        name: What the checkpoint is called in tables.
        scores: Its scores.
        folder: Where they lie, with the outcome of every item.
        model: What scores depend on beside the weights, in words: activation, preprocessing.
        note: What the user should check about the model; empty: nothing.
    """

    name: str
    scores: Scores
    folder: Path
    model: str
    note: str = ""


def evaluate_checkpoint(
    source: str | os.PathLike[str] | Clip | nn.Module | tuple[Any, ...],
    suite: Suite | str | Path,
    *,
    model: str | None = None,
    root: Path | None = None,
    to: Path | None = None,
    batch_size: int = 256,
    device: str = "auto",
    precision: str = "auto",
    part: str | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure a checkpoint on a suite; what was measured before is not measured again.

    Args:
        source: A run or its directory, a checkpoint that it has kept (``DIRECTORY@0.5``, ``@best``), a
            folder in open_clip's local-dir layout, a file of weights,
            ``NAME:TAG``, ``hf-hub:OWNER/NAME``, an MLflow URI, or a model that is open already: open_clip's,
            alone or as ``(model, transform, tokenizer)``.
        suite: A suite, the name of one that ships, its file, or ``clip_benchmark:NAME``. A run is tested on
            the evaluation sets that belong to its training data (`pgsbench.evaluation.suite.following`).
        model: Architecture of a file of weights (`pgsbench.models.source.open_model`).
        root: Where public sets lie; default: where all data sets lie.
        to: Where the scores go; default: into the checkpoint's folder, beside its file, or under
            ``evaluations/``.
        batch_size: Pictures or texts encoded at a time; a CPU gets smaller batches, which are faster there.
        device: ``auto``, ``cpu``, ``cuda`` or one GPU such as ``cuda:1``.
        precision: Of encoding: ``fp32``, which agrees with published numbers to 1e-6, ``bf16``, ``fp16``, or
            ``auto`` (`encoding_precision`); part of what results are known by.
        part: ``K/N``: only the K-th of N parts of the suite; a call without it joins them.
        limit: Number of items to measure of each task, the first ones: a look, and its scores say so.
        progress: Told what is done.

    Raises:
        UserError: Something is not there, cannot be opened or written, or is none of what it should be.
    """
    source = clip_of(source) if isinstance(source, nn.Module | tuple) else source
    if isinstance(source, Clip):  # it stays on its device
        ready = Opened(source, state_hash(source.model))
        name, on = f"model-{ready.sha256[:12]}", str(next(source.model.parameters()).device)
    else:
        ready, name, on = None, str(resolved(os.fspath(source))), devices_named(device)[0]
    wanted = _wanted(suite, part, limit, "" if ready else _trained_on(Path(name)))
    target = (to or scores_folder(name, wanted.whole.name)).resolve() / wanted.folder
    if reason := unwritable(target):
        rule = f"scores cannot be written here: {reason}"
        raise ConfigError(rule, where="--to", value=str(target), way_out="name another folder")
    autocast = PRECISIONS[encoding_precision(precision, on, [name])]
    find = partial(task_data.data_folder, root=root)
    task_data.locate(task_data.without_builtin(wanted.tasks), find)  # said before any weights are fetched
    opened = ready or open_checkpoint(name, model, on)
    task_data.make_builtin(wanted.tasks, progress=progress)
    scores = evaluate(
        opened.clip,
        wanted.tasks,
        out=target,
        checkpoint_sha256=opened.sha256,
        data_folder=find,
        device=next(opened.clip.model.parameters()).device,
        batch_size=batch_size,
        autocast=autocast,
        part_of=wanted.whole,
        progress=progress,
        earlier=(Path(name), *sorted(target.glob(f"{PART}*"))),
    )
    return Evaluation(name, scores, target, model_description(opened.clip), opened.note)


def encoding_precision(precision: str, device: str, sources: Sequence[str]) -> str:
    """Return the precision that all checkpoints of a table are encoded in.

    ``auto`` is bfloat16 where the device gains by it, but float32 where a run of a study is among them: that
    is what its own scores are measured in.

    Raises:
        ConfigError: There is no such precision.
    """
    if precision in PRECISIONS:
        return precision
    if precision != "auto":
        way_out = nearest(precision, ["auto", *PRECISIONS])
        raise ConfigError("unknown precision", where="--precision", value=precision, way_out=way_out)
    is_run = any((Path(source) / files.SPEC).is_file() for source in sources)
    return "bf16" if gains_by_bf16(device) and not is_run else "fp32"


def evaluate_checkpoints(
    sources: Sequence[str],
    suite: Suite | str | Path,
    *,
    to: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    **options: Any,
) -> list[Evaluation]:
    """Measure several checkpoints on one suite, each in a folder of its own.

    Args:
        sources: As in `evaluate_checkpoint`.
        suite: Likewise.
        to: Where the scores go; of several checkpoints into a folder each, below this one.
        device: As in `evaluate_checkpoint`.
        precision: Likewise; one for all of them.
        options: The others of `evaluate_checkpoint`.

    Raises:
        ConfigError: A checkpoint is named twice.
        UserError: See `evaluate_checkpoint`.
    """
    names, found = short_names(sources), []
    common = encoding_precision(precision, devices_named(device)[0], sources)
    for source, name in zip(sources, names, strict=True):
        own = to / re.sub(r"[^\w.-]+", "-", name) if to and len(sources) > 1 else to
        one = evaluate_checkpoint(source, suite, to=own, device=device, precision=common, **options)
        found.append(replace(one, name=name))
    return found


def short_names(sources: Sequence[str]) -> list[str]:
    """Return what checkpoints are called in a table: the end of each name that tells it from the others.

    Raises:
        ConfigError: One is named twice.
    """
    if twice := next((source for source in sources if sources.count(source) > 1), None):
        raise ConfigError("a checkpoint is named twice", where="CHECKPOINT", value=twice)
    parts = {source: Path(source).parts or (source,) for source in sources}
    for length in range(1, max(map(len, parts.values())) + 1):
        names = ["/".join(parts[source][-length:]) for source in sources]
        if len(set(names)) == len(names):
            return names
    return list(sources)


def open_checkpoint(source: str, model: str | None = None, device: str = "cpu") -> Opened:
    """Open a checkpoint by any of its names, an MLflow URI among them.

    Raises:
        ModelError: It cannot be opened.
        RunError: MLflow has no such artifact.
    """
    if not mlflow_store.is_artifact(source):
        return open_model(source, model=model, device=device)
    with TemporaryDirectory() as folder:
        return open_model(str(mlflow_store.download(source, Path(folder))), model=model, device=device)


def scores_folder(source: str, suite: str) -> Path:
    """Return where the scores of a checkpoint go by default: into its folder, beside it, or here."""
    path = Path(source)
    if path.is_dir():
        return path / f"eval-{suite}"
    if path.is_file():
        return path.with_name(f"{path.stem}-eval-{suite}")
    return Path("evaluations", re.sub(r"[^\w.-]+", "-", source), suite)


class _Wanted(NamedTuple):
    """What an evaluation measures: the tasks, the suite they are a part of, and the part's folder."""

    tasks: Suite
    whole: Suite
    folder: str


def _trained_on(source: Path) -> str:
    """Return what a run was trained on that a checkpoint is of, the last or a kept one; empty: of none."""
    runs = [one for one in (source, *source.absolute().parents[1:2]) if (one / files.SPEC).is_file()]
    return RunDir(runs[0]).spec.config.data.source if runs else ""


def _wanted(suite: Suite | str | Path, part: str | None, limit: int | None, trained_on: str) -> _Wanted:
    whole = suite if isinstance(suite, Suite) else suites.load_suite(suite)
    whole = suites.following(whole, trained_on)
    if limit is not None:
        whole = suites.first_items(whole, limit)
    if part is None:
        return _Wanted(whole, whole, "")
    found = re.fullmatch(r"(\d+)/(\d+)", part)
    k, n = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= k <= n <= len(whole.tasks):
        raise ConfigError(
            "a part is K/N with 1 <= K <= N, and N at most the number of tasks",
            where="--part",
            value=part,
            way_out=f"--part 1/2 and --part 2/2, for example; the suite has {len(whole.tasks)} tasks",
        )
    # Neighbours often share pictures, so they stay together.
    first, last = (len(whole.tasks) * end // n for end in (k - 1, k))
    name = f"{PART}{k}-of-{n}"
    return _Wanted(replace(whole, name=f"{whole.name}-{name}", tasks=whole.tasks[first:last]), whole, name)
