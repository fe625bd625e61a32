"""``pgsbench masks``: the strategies, described and made visible."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pgsbench.cli import completion
from pgsbench.cli import options as opt
from pgsbench.cli.commands import argument, command, group, names_in, option
from pgsbench.progress import Bars
from pgsbench.reporting import terminal

app = group("Masking strategies: described, seen, measured.", name="masks")

_DIAGNOSED = "Strategies, joined by commas (default: the study's arms; with data all but none and flip)."
_PREVIEWED = "Strategies, joined by commas (default: pgs,random,grid; of a study: its arms)."
_TO = (
    "Folder of the CSV file (default: of a study reports/STUDY/masks, and its page in MLflow; with data "
    "masks-DATA)."
)


@command(app, "pgsbench masks ls", name="ls")
def list_(json: opt.Json = False) -> None:
    """List all strategies, for pictures and for captions, with their paper; plugins are not imported."""
    from pgsbench.inspection.catalogue import strategy_tables

    terminal.show(*strategy_tables(), json=json)


@command(app, "pgsbench masks show pgs")
def show(
    name: Annotated[str, argument("A strategy's name, or file.py:Class.")],
    text: Annotated[bool, option("The text strategy, where pictures have this name, too.", "--text")] = False,
) -> None:
    """Describe a strategy or a text strategy: the method, its fields and their defaults."""
    from pgsbench.inspection.catalogue import describe

    typer.echo(describe(name, is_text=text))


@command(app, "pgsbench masks preview cat.jpg dog.jpg --strategies pgs,random,grid --to masks.png", slow=True)
def preview(
    images: Annotated[list[str] | None, argument("Image files, or one study.", "[IMAGES | STUDY]")] = None,
    strategies: Annotated[str | None, option(_PREVIEWED)] = None,
    mask_ratio: Annotated[float | None, option("Share of patches masked (default: each one's own).")] = None,
    to: Annotated[Path, option("The figure: .png, .pdf or .svg.", metavar="FILE")] = Path("masks.png"),
    data: Annotated[str | None, option("Take pictures of this training data instead.")] = None,
    count: Annotated[int, option("How many, with --data or a study.", min=1, max=32)] = 4,
    model: Annotated[str | None, option("Whose patches (default: ViT-B-16; with --data scenes-vit).")] = None,
    seed: Annotated[int, option("Decides pictures of --data and random choices.", min=0, max=2**32 - 1)] = 0,
) -> None:
    """Draw what each mask keeps of your pictures: image, caption, edge map, candidates, effective ratio.

    Masks are drawn as at the beginning of a training, when only pixels count.
    """
    from pgsbench.inspection.preview import preview_masks
    from pgsbench.reporting.style import check_figure, save

    check_figure(to, "--to")
    draw = partial(preview_masks, images or [], data=data, mask_ratio=mask_ratio, count=count, model=model)
    figure, notes = draw(strategies=names_in(strategies), seed=seed)
    for line in (save(figure, to), *notes):
        typer.echo(line)


@command(app, "pgsbench masks diagnose baselines --strategies pgs,flip,grid", slow=True)
def diagnose(
    study_or_data: Annotated[str, argument("Or shards.", "STUDY|DATA", tab=completion.studies)],
    strategies: Annotated[str | None, option(_DIAGNOSED)] = None,
    batches: Annotated[int, option("Training batches to look at.", min=1, max=100_000)] = 8,
    seeds: Annotated[int, option("Seeds of each mask.", min=2, max=1000)] = 2,
    model: Annotated[str | None, option("Whose patches (default: the study's, or scenes-vit).")] = None,
    to: Annotated[Path | None, option(_TO, metavar="DIR")] = None,
    output: opt.Output = Path(),
    json: opt.Json = False,
) -> None:
    """Measure what masks do to real batches before any training.

    Ratio, strongest edges, objects, their insides and outlines, mask overlap, residual of OTN. Masks
    are drawn as at the beginning of a training, when only pixels count: token similarities do not.
    """
    from pgsbench.inspection.diagnosis import diagnose_masks
    from pgsbench.session.opening import open_study

    look = partial(diagnose_masks, study_or_data, strategies=names_in(strategies), model=model)
    with Bars() as bars:
        found = look(to=to, output=output, batches=batches, seeds=seeds, progress=bars)
    terminal.show(found.table, json=json)
    if not json:
        typer.echo(found.file)
    if found.is_study and to is None:
        open_study(study_or_data, output=output).sync()
