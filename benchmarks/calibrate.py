"""Whether this installation gives the numbers that clip_benchmark's authors published.

``python -m benchmarks.calibrate ViT-B-32:openai --data vtab/cifar100``
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from benchmarks.script import start
from pgsbench.config.yaml_text import parse_yaml
from pgsbench.data import public
from pgsbench.devices import devices_named
from pgsbench.errors import ConfigError, nearest
from pgsbench.evaluation.evaluate import evaluate, model_description
from pgsbench.evaluation.protocols.zero_shot import ZeroShot
from pgsbench.evaluation.suite import Suite, Task
from pgsbench.evaluation.task_data import data_folder, locate
from pgsbench.models.source import open_model

PUBLISHED = Path(__file__).with_name("published.yaml")


@dataclass(frozen=True)
class Calibration:
    """A score beside the one it should be.

    Attributes:
        expected: Published top-1 accuracy, a share in [0, 1].
        found: Measured here.
        tolerance: Largest difference that passes.
        notes: Notes of the score; a score with notes does not compare.
        num_pictures: Pictures behind what was found.
        model: What the score depends on beside the weights, in words.
        note: What the user should check about the model; empty: nothing.
    """

    expected: float
    found: float
    tolerance: float
    notes: tuple[str, ...] = ()
    num_pictures: int = 0
    model: str = ""
    note: str = ""

    @property
    def passes(self) -> bool:
        """Whether the two compare and are close enough."""
        return not self.notes and abs(self.found - self.expected) <= self.tolerance

    def __str__(self) -> str:
        miss = 100 * (self.found - self.expected)
        verdict = "pass" if self.passes else f"MISS by {miss:+.2f} points"
        if self.notes:
            verdict = f"NO VERDICT ({'; '.join(self.notes)})"
        return (
            f"{verdict}: expected {self.expected:.2%}, found {self.found:.2%} (difference {miss:+.2f} points)"
        )


def published() -> Mapping[str, Mapping[str, float]]:
    """Return published top-1 accuracies: ``NAME:TAG`` -> data set -> share in [0, 1]."""
    rows: dict[str, dict[str, float]] = parse_yaml(PUBLISHED.read_text(), str(PUBLISHED))[0]
    return rows


def published_score(model: str, data: str) -> float:
    """Return the published accuracy of a model on a data set.

    Raises:
        ConfigError: There is no such row; the message names the nearest ones.
    """
    rows, data = published(), public.lookup(data).name
    for value, valid, where in ((model, rows, "MODEL"), (data, rows.get(model, {}), "--data")):
        if value not in valid:
            raise ConfigError(
                "no published row is known for this",
                where=where,
                value=value,
                way_out=f"{nearest(value, list(valid))}; or give --expect",
            )
    return rows[model][data]


def suite_of(data: str) -> Suite:
    """Return the suite of one zero-shot task: a public set by clip_benchmark's name, or else a folder."""
    known: public.PublicSet | None = public.lookup(data)
    if known and not known.is_known and Path(data).is_dir():
        known = None
    task = Task(
        name=data if known else Path(data).name,
        data=f"clip_benchmark:{data}" if known else str(Path(data).resolve()),
        protocol=ZeroShot(),
        protocol_name="zero_shot",
        metric="acc1",
        group="calibration",
        size=known.size if known else None,
    )
    return Suite("calibration", 1, "Does this installation give the published numbers?", (task,))


def calibrate(
    model: str,
    data: str,
    *,
    weights: Path | None = None,
    expected: float | None = None,
    tolerance: float = 0.005,
    root: Path | None = None,
    batch_size: int = 256,
    device: str = "auto",
) -> Calibration:
    """Measure a published model on a public set beside the number that clip_benchmark's authors published.

    Args:
        model: ``NAME:TAG``.
        data: clip_benchmark's name of a set, or a folder.
        weights: The model's weights as a file or folder; None: they are fetched.
        expected: The number to meet, a share in [0, 1]; None: the published one.
        tolerance: Largest difference that passes.
        root: Where public sets lie; default: where all data sets lie.
        batch_size: Pictures or texts encoded at a time.
        device: ``auto``, ``cpu``, ``cuda`` or one GPU.

    Raises:
        UserError: There is no such number, set or model.
    """
    target = published_score(model, data) if expected is None else expected
    suite, find, on = suite_of(data), partial(data_folder, root=root), devices_named(device)[0]
    locate(suite, find)  # said before any weights are fetched
    source, architecture = (str(weights), model) if weights else (model, None)
    if weights and weights.is_dir():
        architecture = None
    opened = open_model(source, model=architecture, device=on)
    with TemporaryDirectory() as out:
        report = evaluate(
            opened.clip,
            suite,
            data_folder=find,
            out=Path(out),
            device=on,
            batch_size=batch_size,
        )
    (score,) = report.primary().values()
    description = model_description(opened.clip)
    return Calibration(target, score.value, tolerance, tuple(score.notes), score.n, description, opened.note)


def main(
    model: Annotated[str, typer.Argument(help="NAME:TAG of a published model.")] = "ViT-B-32:openai",
    data: Annotated[
        str, typer.Option(help="A set as clip_benchmark names it, or a folder.")
    ] = "vtab/cifar100",
    checkpoint: Annotated[Path | None, typer.Option(help="Its weights, if there is no network.")] = None,
    expect: Annotated[float | None, typer.Option(help="Accuracy (default: the published one).")] = None,
    tolerance: Annotated[float, typer.Option(help="Largest difference that passes.", min=0)] = 0.005,
    root: Annotated[Path | None, typer.Option(help="Where public sets lie.")] = None,
    device: str = "auto",
) -> None:
    """Measure a public model on a public set and compare with clip_benchmark's published number.

    Exit status 0: it agrees; 1: it misses, or the score is marked and does not compare (a set of another
    size, for example). How data are fetched: `pgsbench data fetch`.
    """
    found = calibrate(
        model, data, weights=checkpoint, expected=expect, tolerance=tolerance, root=root, device=device
    )
    if found.note:
        print(f"note: {found.note}")
    print(f"{model} on {data}, top-1 of {found.num_pictures:,} pictures: {found}\nmodel: {found.model}")
    raise typer.Exit(0 if found.passes else 1)


if __name__ == "__main__":
    start(main)
