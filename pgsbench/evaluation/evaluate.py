"""A model and a suite in, scores out: knows neither trainer nor tracker."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pgsbench.data.store import Progress
from pgsbench.errors import EvaluationError
from pgsbench.evaluation.embed import Encoder
from pgsbench.evaluation.protocols.base import Measurement
from pgsbench.evaluation.report import Report, group_means, scores_of
from pgsbench.evaluation.score import Score
from pgsbench.evaluation.suite import FindData, Suite, Task, data_folder, locate


def evaluate(
    model: nn.Module,
    *,
    tokenizer: Callable[[list[str]], Tensor],
    preprocess: Mapping[str, Any],
    suite: Suite,
    out: Path,
    data_folder: FindData = data_folder,
    device: torch.device | str = "cpu",
    batch_size: int = 256,
    autocast: torch.dtype | None = None,
    progress: Progress | None = None,
    checkpoint_sha256: str = "",
) -> Report:
    """Measure a model on every task of a suite.

    Writes ``per-sample/*.npz`` and, last, ``scores.json`` into `out`, each file atomically.

    Args:
        model: An open_clip model, or anything with ``encode_image`` and ``encode_text``; it is put into
            evaluation mode and handed back as it was.
        tokenizer: Texts to token ids (`Clip.tokenize`).
        preprocess: open_clip's preprocessing configuration (`Clip.preprocess_cfg`).
        suite: What to measure.
        out: Folder for the results.
        data_folder: From a task's `data` to a folder; the default looks among the data sets that were made.
        device: Where the model lives.
        batch_size: Pictures or texts encoded at a time; a CPU gets smaller batches, which are faster there.
        autocast: Precision to autocast to; None (float32 all through) agrees with published numbers.
        progress: Told the task that begins.
        checkpoint_sha256: Hash of the weights, for the record.

    Raises:
        DataError: Data is missing (everything that is, before anything is encoded) or damaged.
        EvaluationError: Embeddings that are not finite, or a task without its metric.
    """
    folders = locate(suite, data_folder)
    encode = Encoder(
        model, tokenizer=tokenizer, preprocess=preprocess, device=device,
        batch_size=batch_size, autocast=autocast,
    )  # fmt: skip
    measured: dict[str, list[Measurement]] = {}
    scores: list[Score] = []
    for number, task in enumerate(suite.tasks):
        if progress:
            progress(f"evaluating {task.name}", number, len(suite.tasks))
        try:
            found = list(task.protocol.measure(folders[task.name], encode))
            measured[task.name] = checked_size(task, found)
        except EvaluationError as error:
            where = f"{task.name}, {error.where}"
            raise EvaluationError(error.rule, where=where, value=error.value, way_out=error.way_out) from None
        scores += scores_of(task, measured[task.name], out)
    if progress:
        progress("evaluated", len(suite.tasks), len(suite.tasks))
    report = Report(
        suite.name, suite.version, checkpoint_sha256, tuple(scores), group_means(suite, measured),
        dict(preprocess), encode.num_images, encode.num_texts, activations(model),
        {task.name: _hashes(folders[task.name], task.protocol.requires) for task in suite.tasks},
    )  # fmt: skip
    report.write(out)
    return report


def checked_size(task: Task, measurements: Sequence[Measurement]) -> list[Measurement]:
    """Return the measurements of a task, marked where its data set has not the size it is known to have.

    Pictures are counted, or pairs of captions: the smallest n, as captions may be many to a picture.
    """
    found = min((len(m.correct) for m in measurements), default=0)
    if task.size is None or found == task.size:
        return list(measurements)
    note = f"{found:,} test items where the set has {task.size:,}: does not compare with published numbers"
    return [replace(m, notes=(*m.notes, note)) for m in measurements]


def activations(model: nn.Module) -> tuple[str, ...]:
    """Return the names of a model's activation functions; weights read with another one score quietly low."""
    names = {type(module).__name__ for module in model.modules()}
    return tuple(sorted(name for name in names if name.upper().endswith(("GELU", "SILU", "RELU"))))


def _hashes(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the hash of each text file that a task reads: class names, templates, captions."""
    files = [name for name in names if "/" not in name and (folder / name).is_file()]
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest()[:16] for name in files}
