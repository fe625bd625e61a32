"""clip_benchmark's command line and ours on the same model and data: do scores agree, what do both take?

``python -m benchmarks.evaluate runs/ratio/none-s0-0123456789 --suite scenes``
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from PIL import Image

from benchmarks import reference
from benchmarks.reference import TOLERANCE, Cost, ReferenceResult, timed
from benchmarks.script import show, start
from pgsbench.data import evalset
from pgsbench.data.tar import EncodedImage
from pgsbench.errors import ConfigError, EvaluationError, ModelError
from pgsbench.evaluation import suite as suites
from pgsbench.evaluation import task_data
from pgsbench.evaluation.suite import Suite
from pgsbench.evaluation.task_results import outcomes_of
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


def compare(
    source: str, suite: str, *, batch_size: int, workers: int, out: Path, precision: str = "fp32"
) -> SideBySide:
    """Measure a model with both command lines, ours without what is kept of earlier evaluations.

    Args:
        source: A run directory, a folder in open_clip's local-dir layout, or ``NAME:TAG``.
        suite: Name or file of a suite.
        batch_size: Pictures encoded at a time, of both.
        workers: Reading processes of clip_benchmark.
        out: Folder for our scores.
        precision: ``fp32`` of both, or ``auto``: what either side does unless it is told.

    Raises:
        UserError: The model or data is not there, or a command failed.
    """
    tasks = suites.load_suite(suite)
    task_data.make_builtin(tasks)
    folders = task_data.locate(tasks)
    shared = [task for task in tasks.tasks if reference.arguments(task, folders[task.name])]
    model, pretrained = as_open_clip_names_it(source)
    # The bare model, not its run directory: there its results lie already, and would be reused.
    bare = source if pretrained else model.removeprefix("local-dir:")
    scores, ours = _ours(bare, suite, batch_size, precision, out)
    run = partial(reference.run, model=model, pretrained=pretrained, batch_size=batch_size, workers=workers)
    run = partial(run, amp=precision == "auto")
    theirs = {task.name: run(task, folders[task.name]) for task in shared}
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
    try:
        classes, templates, pictures = map(int, shape.split("x"))
    except ValueError:
        raise ConfigError(
            "a shape is CLASSESxTEMPLATESxPICTURES",
            where="--shape",
            value=shape,
            way_out="1000x80x50000 is ImageNet's",
        ) from None
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


def _ours(source: str, suite: str, batch_size: int, precision: str, out: Path) -> tuple[Scores, Cost]:
    """Return the scores of `pgsbench evaluate` in a process of its own, and what it took."""
    command = [sys.executable, "-m", "pgsbench", "evaluate", source, "--suite", suite, "--to", str(out)]
    command += ["--batch-size", str(batch_size), "--precision", precision]
    done, cost = timed(command)
    if done.returncode:
        raise EvaluationError(f"`pgsbench evaluate` failed\n{done.stderr.strip()}")
    if ", 0 reused" not in done.stdout:
        raise EvaluationError("`pgsbench evaluate` reused earlier results: no time to compare")
    return Scores.read(out), cost


def changed(before: Path, after: Path) -> tuple[int, int]:
    """Return how many outcomes of the tasks' own metrics differ between two evaluations, and of how many."""
    pairs = [
        [outcomes_of(out, Scores.read(out).primary()[task]).correct for out in (before, after)]
        for task in Scores.read(before).primary()
    ]
    return sum(int((one != other).sum()) for one, other in pairs), sum(len(one) for one, _ in pairs)


def score_table(found: SideBySide) -> pd.DataFrame:
    """Return every score that both sides measure, and whether the two agree."""
    different = set(found.different)
    rows = []
    for score, theirs in found.shared:
        verdict = "equal"
        if abs(score.value - theirs) > TOLERANCE:
            verdict = f"differs by at most its {score.num_ties} ties"
        if f"{score.task} {score.metric}" in different:
            verdict = "DIFFERENT"
        rows.append([score.task, score.metric, f"{theirs:.6f}", f"{score.value:.6f}", verdict])
    return pd.DataFrame(rows, columns=["task", "metric", "clip_benchmark", "pgsbench", "scores"])


def cost_table(found: SideBySide) -> pd.DataFrame:
    """Return what both sides took, and theirs by ours."""
    theirs, ours = found.cost, found.ours
    rows = [
        ["clip_benchmark", theirs.seconds, theirs.cpu_seconds, len(found.theirs)],
        ["pgsbench", ours.seconds, ours.cpu_seconds, 1],
        ["ratio", theirs.seconds / ours.seconds, theirs.cpu_seconds / ours.cpu_seconds, None],
    ]
    return pd.DataFrame(rows, columns=["side", "seconds", "processor seconds", "processes"]).round(1)


def main(
    checkpoint: Annotated[str, typer.Argument(help="A run directory, a local-dir folder, or NAME:TAG.")],
    suite: str = "scenes",
    shape: Annotated[
        str | None,
        typer.Option(
            metavar="CxTxP",
            help="Instead of a suite: C classes, T templates, P made-up photos; CHECKPOINT then names an "
            "architecture. ImageNet is 1000x80x50000.",
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 64,
    workers: Annotated[int, typer.Option(help="Reading processes of clip_benchmark.", min=0)] = 0,
    defaults: Annotated[
        bool, typer.Option("--defaults", help="Once more in the precisions that both take by default.")
    ] = False,
) -> None:
    """Evaluate with clip_benchmark's command line and with ours: equal scores, and both times.

    Theirs is one process a task, as its users run it; ours is one `pgsbench evaluate`. A difference larger
    than ties can make is an error.
    """
    given = made_up(checkpoint, shape) if shape else nullcontext((checkpoint, suite))
    with given as (model, tasks), TemporaryDirectory() as scratch:
        measure = partial(compare, model, tasks, batch_size=batch_size, workers=workers)
        exact, usual = Path(scratch, "fp32"), Path(scratch, "auto")
        found = measure(out=exact)
        if defaults:
            show("What both took by their defaults", cost_table(measure(out=usual, precision="auto")))
            different, total = changed(exact, usual)
            print(f"{different} of {total} of our outcomes are others than in float32")
    lacking = [task.name for task in found.suite.tasks if task.name not in found.theirs]
    notes = [f"In our time only, as clip_benchmark has no such task: {', '.join(lacking)}"] if lacking else []
    show(f"Suite {found.suite.name}", score_table(found), *notes)
    show("What both took", cost_table(found))
    if found.different:
        raise EvaluationError("scores differ by more than ties", value=found.different)


if __name__ == "__main__":
    start(main)
