"""``pgsbench evaluate``, ``doctor``: models and this machine, looked at."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pgsbench.cli import options as opt
from pgsbench.cli.commands import argument, command, group, option
from pgsbench.progress import Bars
from pgsbench.reporting import terminal

app = group()

_CHECKPOINT = (
    "Run directories, folders in open_clip's local-dir layout, files of weights (with --model), "
    "NAME:PRETRAINED_TAG, hf-hub:OWNER/NAME, or MLflow URIs (runs:/..., models:/...)."
)
_MODEL = "Architecture of a file of weights: its name, its JSON file, or NAME:TAG of published ones."
_TO = "Where scores go (default: CHECKPOINT/eval-SUITE, or evaluations/)."
_PRECISION = "Of encoding: fp32 (as published numbers have), bf16, fp16; auto: bf16 where that is faster."
_GPU = "Train a few steps on the first GPU instead, and write what they show to pgsbench-gpu.json."
_PART = "Measure only the K-th of N parts; the call without it joins them."


@command(app, "pgsbench evaluate runs/ratio/pgs-s0-0123456789 --suite scenes", slow=True)
def evaluate(
    checkpoints: Annotated[list[str], argument(_CHECKPOINT, "CHECKPOINT...")],
    suite: opt.Suite = "scenes",
    model: Annotated[str | None, option(_MODEL, metavar="NAME")] = None,
    root: opt.Root = None,
    to: Annotated[Path | None, option(_TO, metavar="DIR")] = None,
    batch_size: opt.BatchSize = 256,
    device: opt.Device = "auto",
    precision: Annotated[str, option(_PRECISION)] = "auto",
    limit: Annotated[int | None, option("Only so many first items of each task.", min=1, max=10**12)] = None,
    part: Annotated[str | None, option(_PART, metavar="K/N")] = None,
    offline: opt.Offline = False,
    json: opt.Json = False,
) -> None:
    """Test any open_clip models on a suite; what was measured before is not measured again.

    Several models stand side by side in one table; another has their differences to the first, by item.
    """
    from pgsbench.checkpoints import evaluate_checkpoints
    from pgsbench.reporting.checkpoints import evaluation_lines, evaluation_tables

    test = partial(evaluate_checkpoints, checkpoints, suite, model=model, root=root, to=to)
    test = partial(test, batch_size=batch_size, device=device, precision=precision)
    with Bars() as bars:
        found = test(limit=limit, part=part, progress=bars)
    terminal.show(*evaluation_tables(found), json=json)
    for one in found:
        if one.note:
            typer.echo(f"note: {one.name}: {one.note}", err=True)
    for line in [] if json else evaluation_lines(found):
        typer.echo(line)


@command(app, "pgsbench doctor")
def doctor(
    gpu: Annotated[bool, option(_GPU, "--gpu")] = False, output: opt.Output = Path(), json: opt.Json = False
) -> None:
    """Look for what will go wrong on this machine, and say what to do; exits with 1 where something will."""
    from pgsbench.doctor import PROBLEM, checks, checks_table, gpu_checks

    found = list(gpu_checks(output) if gpu else checks(output))
    terminal.show(checks_table(found), json=json)
    raise typer.Exit(any(one.state == PROBLEM for one in found))
