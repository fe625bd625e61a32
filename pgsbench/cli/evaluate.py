"""``pgsbench evaluate``."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from pgsbench.cli.checkpoints import (
    CheckpointArgument,
    ModelOption,
    described,
    open_checkpoint,
    scores_folder,
    scores_table,
)
from pgsbench.cli.options import DeviceOption, OfflineOption, RootOption, SuiteOption

if TYPE_CHECKING:
    from pgsbench.evaluation.suite import Suite
    from pgsbench.masking.base import Strategy
    from pgsbench.records.run_spec import RunSpec
    from pgsbench.records.scores import Scores
    from pgsbench.tracking.rundir import RunDir

#: Stands for the run that mirrors the run directory in question.
MIRROR = "mirror"
#: What the folder of a part's scores begins with.
PART = "part-"


def evaluate(
    checkpoint: CheckpointArgument,
    suite: SuiteOption = "scenes",
    model: ModelOption = None,
    root: RootOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where scores go (default: CHECKPOINT/eval-SUITE, or evaluations/)."
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures or texts encoded at a time.")] = 256,
    device: DeviceOption = "auto",
    mlflow: Annotated[
        str | None,
        typer.Option(
            metavar="RUN_ID", help="MLflow run that gets the scores, too; mirror: the run directory's."
        ),
    ] = None,
    cache: Annotated[
        bool, typer.Option(help="Keep embeddings under the data folder, and use those that are there.")
    ] = True,
    part: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Measure only the K-th of N parts; the call without it joins them."),
    ] = None,
    with_mask: Annotated[
        bool, typer.Option("--with-mask", help="Of a run: once more under the mask it was trained with.")
    ] = False,
    offline: OfflineOption = False,
) -> None:
    """Test any open_clip model on a suite; what was measured before is not measured again.

    Example: pgsbench evaluate runs/ratio/pgs-s0-0123456789 --suite scenes
    """
    from pgsbench.data import store
    from pgsbench.devices import devices_named
    from pgsbench.evaluation import suite as suites
    from pgsbench.evaluation.evaluate import evaluate as measure
    from pgsbench.models.masked_tower import attach
    from pgsbench.progress import Bars

    tasks = suites.load_suite(suite)
    on = devices_named(device)[0]
    mask = _mask_of(checkpoint) if with_mask else None
    mlflow_run = _mirror_of(checkpoint) if mlflow == MIRROR else mlflow
    target = (out or scores_folder(checkpoint, tasks.name)).resolve()
    whole_suite = tasks
    if part:
        tasks, name = _part_of(tasks, part)
        target /= name
    _check_writable(target, *([_masked(target)] if mask else []))
    find = partial(suites.data_folder, root=root)
    with Bars() as show:
        suites.locate(suites.without_builtin(tasks), find)  # said before any weights are fetched
        opened = open_checkpoint(checkpoint, model=model, device=on)
        suites.make_builtin(tasks, progress=show)
        measure_on = partial(
            measure,
            opened.clip,
            tasks,
            checkpoint_sha256=opened.sha256,
            data_folder=find,
            device=on,
            batch_size=batch_size,
            part_of=whole_suite,
            progress=show,
        )
        whole = measure_on(
            out=target,
            cache=store.root() / "embeddings" if cache else None,
            earlier=(Path(checkpoint), *sorted(target.glob(f"{PART}*"))),
        )
        masked = None
        if mask:
            with attach(opened.clip.model, mask.strategy).at_eval(seed=mask.seed):
                masked = measure_on(out=_masked(target), mask=mask.record)
    typer.echo(scores_table(whole))
    typer.echo(f"model: {described(opened.clip)}")
    typer.echo(f"tasks: {len(tasks.tasks) - len(whole.reused)} measured, {len(whole.reused)} reused")
    typer.echo(f"scores: {target / 'scores.json'}\n        {target / 'scores.csv'}")
    if masked:
        typer.echo(f"\n{_gap_table(whole, masked)}\nscores: {_masked(target) / 'scores.json'}")
    if mlflow_run:
        _log(mlflow_run, whole, target)


def _check_writable(*targets: Path) -> None:
    """Raise where scores cannot be written, before anything is measured; nothing is made yet."""
    from pgsbench.errors import ConfigError

    for target in targets:
        there = next(path for path in (target, *target.parents) if os.access(path, os.F_OK))
        if not there.is_dir():
            raise ConfigError(
                "scores go into a folder, and this is none",
                where="--out",
                value=str(there),
                way_out="name another",
            )
        if not os.access(there, os.W_OK | os.X_OK):
            raise ConfigError(
                "scores cannot be written here",
                where="--out",
                value=str(there),
                way_out="name a folder that you may write to",
            )


def _masked(target: Path) -> Path:
    return target.with_name(f"{target.name}-masked")


def _part_of(suite: Suite, part: str) -> tuple[Suite, str]:
    """Return a part of a suite and its name; neighbours, which often share pictures, stay together."""
    from pgsbench.errors import ConfigError

    found = re.fullmatch(r"(\d+)/(\d+)", part)
    k, n = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= k <= n <= len(suite.tasks):
        raise ConfigError(
            "a part is K/N with 1 <= K <= N, and N at most the number of tasks",
            where="--part",
            value=part,
            way_out=f"--part 1/2 and --part 2/2, for example; the suite has {len(suite.tasks)} tasks",
        )
    first, last = (len(suite.tasks) * end // n for end in (k - 1, k))
    name = f"{PART}{k}-of-{n}"
    return replace(suite, name=f"{suite.name}-{name}", tasks=suite.tasks[first:last]), name


class _Mask(NamedTuple):
    strategy: Strategy
    seed: int
    record: dict[str, object]


def _mask_of(checkpoint: str) -> _Mask:
    """Return the mask that a run was trained with."""
    from pgsbench.errors import RunError
    from pgsbench.masking.configure import configure

    run = _run_of(checkpoint, "--with-mask")
    spec = run.spec
    given = spec.config.strategy
    strategy = configure(given.name, given.fields)
    if "objects" in strategy.needs:
        raise RunError(
            "this mask must know the objects, and evaluation sets do not say them",
            where="--with-mask",
            value=given.name,
            way_out="evaluate the run without --with-mask",
        )
    _check_code(spec)
    return _Mask(strategy, spec.seed, {**given.model_dump(), "seed": spec.seed})


def _check_code(spec: RunSpec) -> None:
    """Raise where a strategy that is not built in is another than the run was trained with."""
    from pgsbench.errors import RunError
    from pgsbench.masking import STRATEGIES

    name = spec.config.strategy.name
    if STRATEGIES.content_id(name) != spec.strategy_code:
        raise RunError(
            "the code of this mask is not what the run was trained with",
            where="--with-mask",
            value=name,
            way_out="bring back the code as it was, or evaluate without --with-mask",
        )


def _run_of(checkpoint: str, option: str) -> RunDir:
    from pgsbench.errors import RunError
    from pgsbench.tracking.rundir import RunDir

    run = RunDir(Path(checkpoint))
    if not run.exists:
        raise RunError(
            "only a run directory knows its training and its MLflow run",
            where=option,
            value=checkpoint,
            way_out="name a directory under runs/",
        )
    return run


def _gap_table(whole: Scores, masked: Scores) -> str:
    """Return the group means on whole and on masked pictures, and what the mask costs at evaluation."""
    from pgsbench.reporting import render

    rows = [
        [
            group,
            f"{mean.value:.1%}",
            f"{masked.groups[group].value:.1%}",
            f"{100 * (masked.groups[group].value - mean.value):+.1f}",
        ]
        for group, mean in whole.groups.items()
    ]
    notes = ["Gap: masked minus whole, in points. Training saw masked pictures, except in its last phase."]
    header = ["group", "whole pictures", "under the training mask", "gap"]
    return render.text(render.Table("Under the mask of the training", header, rows, notes))


def _mirror_of(checkpoint: str) -> str:
    from pgsbench.tracking import artifacts

    return artifacts.mirrored_run(_run_of(checkpoint, "--mlflow"))


def _log(run_id: str, report: Scores, out: Path) -> None:
    from pgsbench.tracking import artifacts

    values = {task: score.value for task, score in report.primary().items()}
    values |= {f"group/{group}": mean.value for group, mean in report.groups.items()}
    artifacts.log_scores(run_id, report.suite, values, out)
