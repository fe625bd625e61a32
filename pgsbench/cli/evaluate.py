"""``pgsbench evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pgsbench.cli.options import (
    BatchSizeOption,
    DeviceOption,
    JsonOption,
    OfflineOption,
    RootOption,
    SuiteOption,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgsbench.checkpoints import Evaluation
    from pgsbench.reporting.render import Table


def evaluate(
    checkpoints: Annotated[
        list[str],
        typer.Argument(
            metavar="CHECKPOINT...",
            help="Run directories, folders in open_clip's local-dir layout, files of weights (with --model), "
            "NAME:PRETRAINED_TAG, hf-hub:OWNER/NAME, or MLflow URIs (runs:/..., models:/...).",
        ),
    ],
    suite: SuiteOption = "scenes",
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of a file of weights: its architecture, its JSON file, or NAME:TAG for published weights.",
        ),
    ] = None,
    root: RootOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where scores go (default: CHECKPOINT/eval-SUITE, or evaluations/)."
        ),
    ] = None,
    batch_size: BatchSizeOption = 256,
    device: DeviceOption = "auto",
    precision: Annotated[
        str, typer.Option(help="Of encoding: fp32, which agrees with published numbers, bf16 or fp16.")
    ] = "fp32",
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Measure only the first N items of each task: a look."),
    ] = None,
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
    as_json: JsonOption = False,
) -> None:
    """Test any open_clip models on a suite; what was measured before is not measured again.

    Of several, one table shows them side by side, and another the differences to the first, paired by item.

    Example: pgsbench evaluate runs/ratio/pgs-s0-0123456789 --suite scenes
    """
    from pgsbench.checkpoints import evaluate_checkpoints, log_scores, mlflow_run
    from pgsbench.progress import Bars
    from pgsbench.reporting import render

    mirrors = [mlflow_run(checkpoint, mlflow) for checkpoint in checkpoints] if mlflow else []
    with Bars() as show:
        found = evaluate_checkpoints(
            checkpoints,
            suite,
            model=model,
            root=root,
            output=output,
            batch_size=batch_size,
            device=device,
            precision=precision,
            cache=cache,
            part=part,
            with_mask=with_mask,
            limit=limit,
            progress=show,
        )
    tables = _tables(found)
    render.show(*tables, json=as_json)
    for one in found:
        if one.note:
            typer.echo(f"note: {one.name}: {one.note}", err=True)
        if not as_json:
            _say(one, with_name=len(found) > 1)
    for one, run_id in zip(found, mirrors, strict=bool(mirrors)):
        log_scores(one, run_id)


def _tables(found: Sequence[Evaluation]) -> list[Table]:
    from pgsbench.reporting.score_tables import across_table, mask_table, score_tables

    tables = list(score_tables(found[0].scores))
    if len(found) > 1:
        from pgsbench.reporting.checkpoints import difference_table, differences  # SciPy takes seconds

        across = across_table({one.name: one.scores for one in found})
        tables = [across, difference_table(differences({one.name: one.folder for one in found}))]
    return [*tables, *(mask_table(one.name, one.scores, one.masked) for one in found if one.masked)]


def _say(one: Evaluation, *, with_name: bool) -> None:
    reused = len(one.scores.reused)
    measured = len(one.scores.primary()) - reused
    typer.echo(f"model: {one.model}" if not with_name else f"\n{one.name}: {one.model}")
    typer.echo(f"tasks: {measured} measured, {reused} reused")
    for folder in (one.folder, *([one.masked_folder] if one.masked else [])):
        typer.echo(f"scores: {folder / 'scores.json'}\n        {folder / 'scores.csv'}")
