"""clip_benchmark's command line and ours on the same model and data: do scores agree, what do both take?"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from pgsbench.data import evalset
from pgsbench.data.store import Progress
from pgsbench.data.tar import EncodedImage
from pgsbench.errors import ConfigError, EvaluationError, ModelError
from pgsbench.evaluation import reference, task_data
from pgsbench.evaluation import suite as suites
from pgsbench.evaluation.reference import TOLERANCE, Cost, ReferenceResult, timed
from pgsbench.evaluation.suite import Suite
from pgsbench.models import checkpoint
from pgsbench.models.architectures import config_of
from pgsbench.models.clip import build
from pgsbench.models.source import TRAINED
from pgsbench.records.scores import Score, Scores

#: A picture of this size (width, height) is what photos in the public sets have.
PHOTO_SIZE = (500, 375)


@dataclass(frozen=True)
class SideBySide:
    """Both sides on one suite.

    Attributes:
        suite: The suite.
        scores: Ours.
        ours: What one process of ours took.
        theirs: Task -> what clip_benchmark's command line said and took; tasks that it knows.
    """

    suite: Suite
    scores: Scores
    ours: Cost
    theirs: Mapping[str, ReferenceResult]

    @property
    def cost(self) -> Cost:
        """What all of their processes took."""
        return sum((result.cost for result in self.theirs.values()), Cost(0.0, 0.0))

    @property
    def shared(self) -> list[tuple[Score, float]]:
        """Our scores that clip_benchmark measures, too, each with its number."""
        known = {
            (task, metric): value
            for task, result in self.theirs.items()
            for metric, value in result.metrics.items()
        }
        pairs = ((score, known.get((score.task, score.metric))) for score in self.scores.scores)
        return [(score, value) for score, value in pairs if value is not None]

    @property
    def different(self) -> list[str]:
        """Scores that differ by more than ties can make."""
        return [
            f"{score.task} {score.metric}"
            for score, value in self.shared
            if abs(score.value - value) > TOLERANCE + score.num_ties / score.n
        ]


def compare_both(checkpoint: str, suite: str, *, shape: str | None, **options: Any) -> SideBySide:
    """Measure a model on a suite with both command lines, or an untrained one on made-up data.

    Args:
        checkpoint: As `compare` takes it; with a shape, the name of an architecture.
        suite: Name or file of a suite; not looked at with a shape.
        shape: As `made_up` takes it; None: none is made up.
        **options: As for `compare`.
    """
    if shape is None:
        return compare(checkpoint, suite, **options)
    with made_up(checkpoint, shape) as (model, tasks):
        return compare(model, tasks, **options)


def compare(
    source: str, suite: str, *, batch_size: int, workers: int = 0, progress: Progress | None = None
) -> SideBySide:
    """Measure a model with both command lines, ours without what is kept of earlier evaluations.

    Args:
        source: A run directory, a folder in open_clip's local-dir layout, or ``NAME:TAG``.
        suite: Name or file of a suite.
        batch_size: Pictures encoded at a time, of both.
        workers: Reading processes of clip_benchmark.
        progress: Told what is done.

    Raises:
        UserError: The model or data is not there, or a command failed.
    """
    tasks = suites.load_suite(suite)
    task_data.make_builtin(tasks)
    folders = task_data.locate(tasks)
    shared = [task for task in tasks.tasks if reference.arguments(task, folders[task.name])]
    model, pretrained = as_open_clip_names_it(source)
    # The bare model, not its run directory: there its results lie already, and would be reused.
    scores, ours = _ours(source if pretrained else model.removeprefix("local-dir:"), suite, batch_size)
    theirs = {}
    for number, task in enumerate(shared):
        if progress:
            progress("clip_benchmark", number, len(shared))
        theirs[task.name] = reference.run(
            task,
            folders[task.name],
            model=model,
            pretrained=pretrained,
            batch_size=batch_size,
            workers=workers,
        )
    if progress:
        progress("clip_benchmark", len(shared), len(shared))
    return SideBySide(tasks, scores, ours, theirs)


def as_open_clip_names_it(source: str) -> tuple[str, str]:
    """Return clip_benchmark's ``--model`` and ``--pretrained`` for a checkpoint.

    Raises:
        ModelError: It knows no such thing.
    """
    folder = Path(source)
    folder = folder / TRAINED if (folder / TRAINED).is_dir() else folder
    if folder.is_dir():
        return f"local-dir:{folder.absolute()}", ""
    name, _, tag = source.partition(":")
    if not tag or "/" in tag:  # a URI, or a model on the hub
        raise ModelError(
            "clip_benchmark takes a folder or a published model",
            value=source,
            way_out="name a run directory, a folder in open_clip's local-dir layout, or NAME:TAG",
        )
    return name, tag


@contextmanager
def made_up(architecture: str, shape: str) -> Iterator[tuple[str, str]]:
    """Give an untrained model and a zero-shot suite of a given shape, for what they cost and not for scores.

    Args:
        architecture: Name of the model.
        shape: ``CLASSESxTEMPLATESxPICTURES``; ImageNet is ``1000x80x50000``. Pictures have `PHOTO_SIZE`.

    Raises:
        ConfigError: This is no shape.
        ModelError: There is no such architecture.
    """
    found = re.fullmatch(r"(\d+)x(\d+)x(\d+)", shape)
    classes, templates, pictures = map(int, found.groups()) if found else (0, 0, 0)
    if classes < 2 or not templates or not pictures:
        raise ConfigError(
            "a shape is CLASSESxTEMPLATESxPICTURES, with two classes or more",
            where="--shape",
            value=shape,
            way_out="1000x80x50000 is ImageNet's",
        )
    config_of(architecture)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        checkpoint.save(build(architecture, seed=0), folder / "model")
        evalset.write_classification(
            folder / "data",
            ((f"{i:06}", _noise(i), i % classes) for i in range(pictures)),
            classnames=[f"thing {_word(i)}" for i in range(classes)],
            templates=[f"a photo {_word(i)} of the {{c}}." for i in range(templates)],
        )
        suite = folder / "suite.yaml"
        task = f"{{name: made-up, data: {folder}/data, protocol: zero_shot, group: a}}"
        suite.write_text(f"name: made-up\ntasks: [{task}]\n")
        yield str(folder / "model"), str(suite)


def _noise(seed: int) -> EncodedImage:
    """Return a picture of soft spots, as a file about as large as a photo's."""
    random = np.random.default_rng(seed)
    spots = Image.fromarray(random.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    file = io.BytesIO()
    spots.resize(PHOTO_SIZE, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return EncodedImage(file.getvalue(), "jpg")


def _word(number: int) -> str:
    """Return two or three letters for a number, another for each."""
    letters = "bcdfghjklm"
    return "".join(letters[int(digit)] + "aeiou"[int(digit) % 5] for digit in str(number))


def _ours(source: str, suite: str, batch_size: int) -> tuple[Scores, Cost]:
    """Return the scores of `pgsbench evaluate` in a process of its own, and what it took."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pgsbench", "evaluate", source, "--suite", suite]
        command += ["--to", folder, "--batch-size", str(batch_size), "--no-cache"]
        done, cost = timed(command)
        if done.returncode:
            raise EvaluationError(f"`pgsbench evaluate` failed\n{done.stderr.strip()}")
        if ", 0 reused" not in done.stdout:
            raise EvaluationError("`pgsbench evaluate` reused earlier results: no time to compare")
        return Scores.read(Path(folder)), cost
