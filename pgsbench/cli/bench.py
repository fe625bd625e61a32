"""``pgsbench bench``: what things cost on this machine, both sides measured in one run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pgsbench.cli.options import DeviceOption, SuiteOption, names_in

if TYPE_CHECKING:
    from pgsbench.evaluation.reference import Cost, ReferenceResult
    from pgsbench.evaluation.suite import Suite
    from pgsbench.records.scores import Scores

app = typer.Typer(no_args_is_help=True, help="Measure speed on this machine.", rich_markup_mode=None)


@app.command()
def masks(
    model: Annotated[str, typer.Option(help="Whose image tower and patches.")] = "ViT-B-16",
    batch: Annotated[int, typer.Option(min=1, help="Pictures in the batch.")] = 16,
    device: DeviceOption = "cpu",
    strategies: Annotated[
        str | None, typer.Option(help="Strategies, joined by commas (default: all built-in ones).")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the table here, too: .md or .csv.")
    ] = None,
) -> None:
    """Time every mask, and the stages of pgs and pgs-released, beside the unmasked image tower on one batch.

    Example: pgsbench bench masks --model ViT-B-16 --batch 16
    """
    import torch

    from pgsbench.devices import devices_named
    from pgsbench.errors import ConfigError
    from pgsbench.inspection.mask_costs import mask_costs
    from pgsbench.masking import CARDS
    from pgsbench.models.clip import build
    from pgsbench.progress import Bars
    from pgsbench.reporting import render

    write = {".md": render.markdown, ".csv": render.csv_text}
    if out is not None and out.suffix not in write:
        raise ConfigError("a table is written as .md or .csv", where="--out", value=str(out))
    names = names_in(strategies) if strategies else list(CARDS)
    on = torch.device(devices_named(device)[0])
    torch.set_num_threads(threads)
    clip = build(model, seed=0, device=on)
    with Bars() as show:
        table = mask_costs(clip, model, names, batch_size=batch, device=on, progress=show)
    typer.echo(render.text(table))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(write[out.suffix](table))
        typer.echo(out)


@app.command(name="eval")
def eval_(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A run directory, a local-dir folder, or NAME:TAG.")
    ],
    suite: SuiteOption = "scenes",
    batch_size: Annotated[int, typer.Option(min=1, help="Of both sides; theirs is 64 by default.")] = 64,
    workers: Annotated[
        int, typer.Option(min=0, help="Reading processes of clip_benchmark, at most one a shard.")
    ] = 0,
) -> None:
    """Evaluate with clip_benchmark's command line and with ours: equal scores, and both times.

    Theirs is one process a task, as its users run it; ours is one `pgsbench evaluate` without cached
    embeddings. A difference larger than ties can make is an error.

    Example: pgsbench bench eval runs/ratio/pgs-s0-0123456789 --suite scenes
    """
    from pgsbench.evaluation import reference
    from pgsbench.evaluation import suite as suites
    from pgsbench.progress import Bars

    tasks = suites.load_suite(suite)
    suites.make_builtin(tasks)
    folders = suites.locate(tasks)
    shared = [task for task in tasks.tasks if reference.arguments(task, folders[task.name])]
    model, pretrained = _as_open_clip_names_it(checkpoint)
    with Bars() as show:
        # The bare model, not its run directory: there its results lie already, and would be reused.
        bare = checkpoint if pretrained else model.removeprefix("local-dir:")
        report, cost = _ours(bare, suite, batch_size)
        theirs = {}
        for number, task in enumerate(shared):
            show("clip_benchmark", number, len(shared))
            theirs[task.name] = reference.run(
                task,
                folders[task.name],
                model=model,
                pretrained=pretrained,
                batch_size=batch_size,
                workers=workers,
            )
        show("clip_benchmark", len(shared), len(shared))
    _show(tasks, report, cost, theirs)


def _ours(checkpoint: str, suite: str, batch_size: int) -> tuple[Scores, Cost]:
    """Return the report of `pgsbench evaluate` in a process of its own, and what it took."""
    import sys
    from tempfile import TemporaryDirectory

    from pgsbench.errors import EvaluationError
    from pgsbench.evaluation.reference import timed
    from pgsbench.records.scores import Scores

    with TemporaryDirectory() as out:
        command = [
            sys.executable,
            "-m",
            "pgsbench",
            "evaluate",
            checkpoint,
            "--suite",
            suite,
            "--out",
            out,
            "--batch-size",
            str(batch_size),
            "--no-cache",
        ]
        done, cost = timed(command)
        if done.returncode:
            raise EvaluationError(f"`pgsbench evaluate` failed\n{done.stderr.strip()}")
        if ", 0 reused" not in done.stdout:
            raise EvaluationError("`pgsbench evaluate` reused earlier results: no time to compare")
        return Scores.read(Path(out)), cost


def _as_open_clip_names_it(checkpoint: str) -> tuple[str, str]:
    """Return clip_benchmark's ``--model`` and ``--pretrained`` for a checkpoint."""
    from pgsbench.errors import ModelError
    from pgsbench.models.source import TRAINED

    folder = Path(checkpoint)
    folder = folder / TRAINED if (folder / TRAINED).is_dir() else folder
    if folder.is_dir():
        return f"local-dir:{folder.absolute()}", ""
    name, _, tag = checkpoint.partition(":")
    if not tag or "/" in tag:  # a URI, or a model on the hub
        raise ModelError(
            "clip_benchmark takes a folder or a published model",
            value=checkpoint,
            way_out="name a run directory, a folder in open_clip's local-dir layout, or NAME:TAG",
        )
    return name, tag


def _show(suite: Suite, report: Scores, cost: Cost, theirs: Mapping[str, ReferenceResult]) -> None:
    from pgsbench.errors import EvaluationError
    from pgsbench.evaluation.reference import TOLERANCE, Cost
    from pgsbench.reporting import render

    rows, different = [], []
    for score in report.scores:
        found = theirs[score.task].metrics.get(score.metric) if score.task in theirs else None
        if found is None:
            continue
        difference = abs(score.value - found)
        verdict = "equal"
        if difference > TOLERANCE:
            verdict = f"differs by at most its {score.num_ties} ties"
        if difference > TOLERANCE + score.num_ties / score.n:
            different.append(f"{score.task} {score.metric}")
            verdict = "DIFFERENT"
        took = f"{theirs[score.task].cost.seconds:.1f}" if score.primary else ""
        rows.append([score.task, score.metric, f"{found:.6f}", f"{score.value:.6f}", took, verdict])
    header = ["task", "metric", "clip_benchmark", "pgsbench", "its seconds", "scores"]
    typer.echo(render.text(render.Table(f"Suite {suite.name}", header, rows, [], text_columns=(1, 5))))
    if lacking := [task.name for task in suite.tasks if task.name not in theirs]:
        typer.echo(f"in our time only, as clip_benchmark has no such task: {', '.join(lacking)}")
    total = sum((result.cost for result in theirs.values()), Cost(0.0, 0.0))
    for name, side, count in (("clip_benchmark", total, len(theirs)), ("pgsbench", cost, 1)):
        took = f"{side.seconds:8.1f} s, {side.cpu_seconds:8.1f} s of processor"
        typer.echo(f"{name + ':':<16}{took}, {count} processes")
    by_clock, by_processor = total.seconds / cost.seconds, total.cpu_seconds / cost.cpu_seconds
    typer.echo(f"{'ratio:':<16}{by_clock:8.1f}    {by_processor:8.1f}")
    if different:
        raise EvaluationError(f"{len(different)} scores differ by more than ties", value=different)
