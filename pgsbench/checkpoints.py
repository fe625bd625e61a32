"""From a checkpoint, by whatever name it goes, and a suite to scores on disk."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from torch import nn

from pgsbench.data import store
from pgsbench.data.store import Progress
from pgsbench.devices import devices_named
from pgsbench.disk.whole_files import unwritable
from pgsbench.errors import ConfigError, RunError
from pgsbench.evaluation import suite as suites
from pgsbench.evaluation import task_data
from pgsbench.evaluation.embed import dtype_of
from pgsbench.evaluation.evaluate import evaluate, model_description
from pgsbench.evaluation.suite import Suite
from pgsbench.masking import STRATEGIES
from pgsbench.masking.base import Strategy
from pgsbench.masking.configure import configure
from pgsbench.models.checkpoint import clip_of
from pgsbench.models.clip import Clip
from pgsbench.models.masked_tower import attach
from pgsbench.models.source import Opened, open_model, state_hash
from pgsbench.records import files
from pgsbench.records.kept import resolved
from pgsbench.records.scores import Scores
from pgsbench.tracking import mlflow_artifacts
from pgsbench.tracking.rundir import RunDir

#: What the folder of a part's scores begins with.
PART = "part-"
#: Stands for the MLflow run that mirrors the run directory in question.
MIRROR = "mirror"


@dataclass(frozen=True)
class Evaluation:
    """One checkpoint on one suite.

    Attributes:
        name: What the checkpoint is called in tables.
        scores: Its scores.
        folder: Where they lie, with the outcome of every item.
        model: What scores depend on beside the weights, in words: activation, preprocessing.
        note: What the user should check about the model; empty: nothing.
        masked: The scores under the mask of its training; None: not asked for.
    """

    name: str
    scores: Scores
    folder: Path
    model: str
    note: str = ""
    masked: Scores | None = None

    @property
    def masked_folder(self) -> Path:
        """Where the scores under the mask lie."""
        return self.folder.with_name(f"{self.folder.name}-masked")


def evaluate_checkpoint(
    source: str | os.PathLike[str] | Clip | nn.Module | tuple[Any, ...],
    suite: Suite | str | Path,
    *,
    model: str | None = None,
    root: Path | None = None,
    to: Path | None = None,
    batch_size: int = 256,
    device: str = "auto",
    precision: str = "fp32",
    cache: bool = True,
    part: str | None = None,
    with_mask: bool = False,
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
        precision: ``fp32``, which agrees with published numbers, ``bf16`` or ``fp16``; part of what results
            are known by.
        cache: Whether to keep embeddings under the data folder, and to use those that are there.
        part: ``K/N``: only the K-th of N parts of the suite; a call without it joins them.
        with_mask: Measure a run once more under the mask it was trained with.
        limit: Number of items to measure of each task, the first ones: a look, and its scores say so.
        progress: Told what is done.

    Raises:
        UserError: Something is not there, cannot be opened or written, or is none of what it should be.
    """
    if isinstance(source, nn.Module | tuple):
        source = clip_of(source)
    elif isinstance(source, os.PathLike):
        source = Path(source)
    source = resolved(str(source)) if isinstance(source, str | Path) else source
    wanted = _wanted(suite, part, limit, "" if isinstance(source, Clip) else _trained_on(Path(source)))
    name = f"model-{state_hash(source.model)[:12]}" if isinstance(source, Clip) else str(source)
    target = (to or scores_folder(name, wanted.whole.name)).resolve() / wanted.folder
    mask = _mask_of(name) if with_mask else None
    masked_target = target.with_name(f"{target.name}-masked")
    check_writable(target, *([masked_target] if mask else []))
    on, autocast = devices_named(device)[0], dtype_of(precision)
    find = partial(task_data.data_folder, root=root)
    task_data.locate(task_data.without_builtin(wanted.tasks), find)  # said before any weights are fetched
    opened = _opened(source, model, on)
    task_data.make_builtin(wanted.tasks, progress=progress)
    measure = partial(
        evaluate,
        opened.clip,
        wanted.tasks,
        checkpoint_sha256=opened.sha256,
        data_folder=find,
        device=next(opened.clip.model.parameters()).device,
        batch_size=batch_size,
        autocast=autocast,
        part_of=wanted.whole,
        progress=progress,
    )
    scores = measure(
        out=target,
        cache=store.root() / "embeddings" if cache else None,
        earlier=(Path(name), *sorted(target.glob(f"{PART}*"))),
    )
    masked = None
    if mask:
        with attach(opened.clip.model, mask.strategy).at_eval(seed=mask.seed):
            masked = measure(out=masked_target, mask=mask.record)
    return Evaluation(name, scores, target, model_description(opened.clip), opened.note, masked)


def evaluate_checkpoints(
    sources: Sequence[str], suite: Suite | str | Path, *, to: Path | None = None, **options: Any
) -> list[Evaluation]:
    """Measure several checkpoints on one suite, each in a folder of its own.

    Args:
        sources: As in `evaluate_checkpoint`.
        suite: Likewise.
        to: Where the scores go; of several checkpoints into a folder each, below this one.
        options: The others of `evaluate_checkpoint`.

    Raises:
        ConfigError: A checkpoint is named twice.
        UserError: See `evaluate_checkpoint`.
    """
    names = short_names(sources)
    found = []
    for source, name in zip(sources, names, strict=True):
        own = to / re.sub(r"[^\w.-]+", "-", name) if to and len(sources) > 1 else to
        found.append(replace(evaluate_checkpoint(source, suite, to=own, **options), name=name))
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
    if not mlflow_artifacts.is_artifact(source):
        return open_model(source, model=model, device=device)
    with TemporaryDirectory() as folder:
        return open_model(str(mlflow_artifacts.download(source, Path(folder))), model=model, device=device)


def _opened(source: str | Path | Clip, model: str | None, device: str) -> Opened:
    if isinstance(source, Clip):  # it stays on its device
        return Opened(source, state_hash(source.model))
    return open_checkpoint(str(source), model, device)


def scores_folder(source: str, suite: str) -> Path:
    """Return where the scores of a checkpoint go by default: into its folder, beside it, or here."""
    path = Path(source)
    if path.is_dir():
        return path / f"eval-{suite}"
    if path.is_file():
        return path.with_name(f"{path.stem}-eval-{suite}")
    return Path("evaluations", re.sub(r"[^\w.-]+", "-", source), suite)


def check_writable(*targets: Path) -> None:
    """Raise where scores cannot be written, before anything is measured; nothing is made yet.

    Raises:
        ConfigError: A folder is a file, or nobody may write there.
    """
    for target in targets:
        if reason := unwritable(target):
            rule = f"scores cannot be written here: {reason}"
            raise ConfigError(rule, where="--to", value=str(target), way_out="name another folder")


def mlflow_run(source: str, name: str) -> str:
    """Return the MLflow run that gets a checkpoint's scores.

    Args:
        source: The checkpoint.
        name: The run's id, or `MIRROR`: the run that mirrors the run directory `source`.

    Raises:
        RunError: There is no such run.
    """
    if name == MIRROR:
        return mlflow_artifacts.mirrored_run(_run_of(source, "--mlflow"))
    mlflow_artifacts.check_run(name)
    return name


def log_scores(evaluation: Evaluation, run_id: str) -> None:
    """Log scores and group means to a run of MLflow.

    Raises:
        RunError: The store does not take them.
    """
    values = {task: score.value for task, score in evaluation.scores.primary().items()}
    values |= {f"group/{group}": mean.value for group, mean in evaluation.scores.groups.items()}
    mlflow_artifacts.log_scores(run_id, evaluation.scores.suite, values, evaluation.folder)


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


class _Mask(NamedTuple):
    strategy: Strategy
    seed: int
    record: Mapping[str, object]


def _mask_of(source: str) -> _Mask:
    """Return the mask that a run was trained with.

    Raises:
        RunError: It must know the objects, or its code is not what it was.
    """
    spec = _run_of(source, "--with-mask").spec
    config = spec.config.strategy
    strategy = configure(config.name, config.fields)
    if "objects" in strategy.needs:
        raise RunError(
            "this mask must know the objects, and evaluation sets do not say them",
            where="--with-mask",
            value=config.name,
            way_out="evaluate the run without --with-mask",
        )
    if STRATEGIES.content_id(config.name) != spec.strategy_code:
        raise RunError(
            "the code of this mask is not what the run was trained with",
            where="--with-mask",
            value=config.name,
            way_out="bring back the code as it was, or evaluate without --with-mask",
        )
    return _Mask(strategy, spec.seed, {**config.model_dump(), "seed": spec.seed})


def _run_of(source: str, option: str) -> RunDir:
    run = RunDir(Path(source))
    if not run.exists:
        raise RunError(
            "only a run directory knows its training and its MLflow run",
            where=option,
            value=source,
            way_out="name a directory under runs/",
        )
    return run
