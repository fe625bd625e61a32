"""What commands that test a model share: how it is named, opened and shown, and where its scores go."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pgsbench.models.clip import Clip
    from pgsbench.models.source import Opened
    from pgsbench.records.scores import Scores

CheckpointArgument = Annotated[
    str,
    typer.Argument(
        metavar="CHECKPOINT",
        help="A run directory, a folder in open_clip's local-dir layout, a file of weights (with --model), "
        "NAME:PRETRAINED_TAG, hf-hub:OWNER/NAME, or an MLflow URI (runs:/..., models:/...).",
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="Of a file of weights: its architecture, its JSON file, or NAME:TAG for published weights.",
    ),
]


def open_checkpoint(source: str, *, model: str | None, device: str) -> Opened:
    """Open a checkpoint by any of its names.

    Raises:
        ModelError: It cannot be opened.
        RunError: MLflow has no such artifact.
    """
    from tempfile import TemporaryDirectory

    from pgsbench.models.source import open_model
    from pgsbench.tracking import artifacts

    if artifacts.is_artifact(source):
        with TemporaryDirectory() as folder:
            opened = open_model(str(artifacts.download(source, Path(folder))), model=model, device=device)
    else:
        opened = open_model(source, model=model, device=device)
    if opened.note:
        typer.echo(f"note: {opened.note}", err=True)
    return opened


def described(clip: Clip) -> str:
    """Return what scores depend on beside the weights: activations, and how pictures are prepared."""
    from pgsbench.evaluation.evaluate import activations

    prepared, (height, width) = clip.preprocess_cfg, clip.image_size
    mean, std = (" ".join(f"{value:.3g}" for value in prepared[key]) for key in ("mean", "std"))
    activation = " and ".join(activations(clip.model)) or "unknown activation"
    scaled = f"{prepared['resize_mode']}, {prepared['interpolation']}"
    return f"{activation}; pictures {height} x {width} ({scaled}), mean {mean}, std {std}"


def scores_folder(source: str, suite: str) -> Path:
    """Return where the scores of a checkpoint go by default: into its folder, beside it, or here."""
    path = Path(source)
    if path.is_dir():
        return path / f"eval-{suite}"
    if path.is_file():
        return path.with_name(f"{path.stem}-eval-{suite}")
    return Path("evaluations", re.sub(r"[^\w.-]+", "-", source), suite)


def scores_table(report: Scores) -> str:
    """Return the scores that stand for the tasks, and the means of the groups, as two tables."""
    from pgsbench.reporting import render

    rows = []
    for score in report.primary().values():
        interval = f"{score.low:.1%} to {score.high:.1%}"
        numbers = [f"{score.value:.1%}", interval, str(score.n), f"{score.chance:.1%}"]
        rows.append(
            [score.task, score.metric, *numbers, "; ".join(filter(None, [*score.notes, score.details]))]
        )
    header = ["task", "metric", "score", "95 % interval", "n", "chance", "note"]
    scores = render.Table(f"Suite {report.suite}", header, rows, [], text_columns=(1, 6))
    rows = [
        [
            group,
            mean.mean,
            f"{mean.value:.1%}",
            f"{mean.low:.1%} to {mean.high:.1%}",
            str(mean.n_tasks),
            f"{mean.chance:.1%}",
            ", ".join(mean.marked),
        ]
        for group, mean in report.groups.items()
    ]
    header = ["group", "mean", "score", "95 % interval", "tasks", "chance", "tasks with a note"]
    notes = ["macro: every task of a group weighs the same, whatever its size."]
    means = render.Table("Groups", header, rows, notes, text_columns=(1, 6))
    return f"{render.text(scores)}\n{render.text(means)}"
