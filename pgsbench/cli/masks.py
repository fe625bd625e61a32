"""``pgsbench masks``: the strategies, described and made visible."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgsbench import completion
from pgsbench.cli.options import JsonOption, group, names_in
from pgsbench.progress import Bars
from pgsbench.reporting import render

app = group("Masking strategies: described, seen, measured.")

StrategiesHelp = "Strategies, joined by commas"
TextsHelp = "Text strategies, joined by commas (default: of a study those of its arms)."
KeepHelp = "Tokens of a caption that stay, both marks included (default: each one's own)."


@app.command(name="ls")
def list_(json: JsonOption = False) -> None:
    """List all strategies, for pictures and for captions, with their paper; plugins are not imported.

    Example: pgsbench masks ls
    """
    from pgsbench.inspection.catalogue import strategy_tables

    render.show(*strategy_tables(), json=json)


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(help="A strategy's name, or file.py:Class.", autocompletion=completion.strategies),
    ],
    text: Annotated[
        bool, typer.Option("--text", help="The text strategy of this name, where pictures have one, too.")
    ] = False,
) -> None:
    """Describe a strategy or a text strategy: the method, its fields and their defaults.

    Example: pgsbench masks show pgs
    """
    from pgsbench.inspection.catalogue import describe

    typer.echo(describe(name, is_text=text))


@app.command()
def preview(
    images: Annotated[
        list[str] | None, typer.Argument(metavar="[IMAGES | STUDY]", help="Image files, or one study.")
    ] = None,
    strategies: Annotated[
        str | None, typer.Option(help=f"{StrategiesHelp} (default: pgs,random,grid; of a study: its arms).")
    ] = None,
    mask_ratio: Annotated[
        float | None, typer.Option(help="Share of the patches that is masked (default: each mask's own).")
    ] = None,
    output: Annotated[Path, typer.Option(metavar="FILE", help="The figure: .png, .pdf or .svg.")] = Path(
        "masks.png"
    ),
    data: Annotated[str | None, typer.Option(help="Take pictures of this training data instead.")] = None,
    count: Annotated[int, typer.Option(min=1, max=32, help="How many, with --data or a study.")] = 4,
    texts: Annotated[str | None, typer.Option(help=TextsHelp)] = None,
    keep: Annotated[int | None, typer.Option(help=KeepHelp)] = None,
    model: Annotated[
        str | None, typer.Option(help="Whose patches (default: ViT-B-16; with --data scenes-vit).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides the pictures of --data, and what is random.")] = 0,
) -> None:
    """Draw what each mask keeps of your pictures: image, caption, edge map, candidates, effective ratio.

    Masks are drawn as at the beginning of a training, when only pixels count. With --texts, captions stand
    below with the words struck out that a text strategy drops.

    Example: pgsbench masks preview cat.jpg dog.jpg --strategies pgs,random,grid --output masks.png
    """
    from pgsbench.inspection.preview import preview_masks
    from pgsbench.reporting.style import check_ending, save

    check_ending(output, "--output")
    found = preview_masks(
        images or [],
        data=data,
        strategies=names_in(strategies),
        mask_ratio=mask_ratio,
        count=count,
        texts=names_in(texts),
        keep=keep,
        model=model,
        seed=seed,
    )
    typer.echo(save(found.figure, output))
    for note in found.notes:
        typer.echo(note)


@app.command()
def diagnose(
    study_or_data: Annotated[
        str, typer.Argument(metavar="STUDY|DATA", help="A study, a built-in data set, or webdataset shards.")
    ],
    strategies: Annotated[
        str | None,
        typer.Option(help=f"{StrategiesHelp} (default: the study's arms; with data all but none and flip)."),
    ] = None,
    batches: Annotated[int, typer.Option(min=1, help="Training batches to look at.")] = 8,
    seeds: Annotated[int, typer.Option(min=2, help="Seeds of each mask.")] = 2,
    find_threshold: Annotated[
        float | None,
        typer.Option(
            metavar="RATIO",
            help="Also find the threshold that gives this effective ratio, where there is one.",
        ),
    ] = None,
    texts: Annotated[str | None, typer.Option(help=TextsHelp)] = None,
    keep: Annotated[int | None, typer.Option(help=KeepHelp)] = None,
    model: Annotated[
        str | None, typer.Option(help="Whose patches (default: the study's; with data scenes-vit).")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of CSV files and figure, and nothing else (default: of a study reports/STUDY/masks "
            "and its page in MLflow; with data masks-DATA).",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Measure what masks do to real batches before any training, and how much they agree.

    Ratio, strongest edges, objects, their insides and outlines, mask overlap, place, residual of OTN.
    Masks are drawn as at the beginning of a training, when only pixels count: token similarities do not.
    With --texts also what text strategies leave of captions.
    With --find-threshold also the threshold, ready to paste, at which a mask gives a wanted ratio.

    Example: pgsbench masks diagnose baselines --strategies pgs,flip,grid
    """
    from pgsbench.inspection.diagnosis_report import diagnose_masks
    from pgsbench.session import open_study

    with Bars() as bars:
        found = diagnose_masks(
            study_or_data,
            strategies=names_in(strategies),
            batches=batches,
            seeds=seeds,
            find_threshold=find_threshold,
            texts=names_in(texts),
            keep=keep,
            model=model,
            output=output,
            progress=bars,
        )
    render.show(*found.tables, json=json)
    for line in [] if json else [*found.strategy_lines, *map(str, found.files)]:
        typer.echo(line)
    if found.is_study and output is None:
        open_study(study_or_data).sync()


@app.command()
def findings(
    images: Annotated[list[Path] | None, typer.Argument(help="Image files; two or more.")] = None,
    data: Annotated[str, typer.Option(help="Without images: pictures of this training data.")] = "scenes",
    count: Annotated[int, typer.Option(min=2, help="How many of the data.")] = 256,
    model: Annotated[
        str | None, typer.Option(help="Whose patches (default: ViT-B-16; for data scenes-vit).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides what is random in a mask.")] = 0,
    json: JsonOption = False,
) -> None:
    """Measure what the published CLIP-PGS code does differently from its paper.

    Example: pgsbench masks findings photos/*.jpg
    """
    from pgsbench.inspection.findings import findings as measured

    tables = measured(images or [], data=data, count=count, model=model, seed=seed)
    render.show(*tables, json=json)
