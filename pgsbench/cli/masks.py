"""``pgsbench masks``: the strategies, described and made visible."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgsbench import completion
from pgsbench.cli.findings import findings
from pgsbench.cli.options import OutputOption, names_in

app = typer.Typer(
    no_args_is_help=True, help="Masking strategies: described, seen, measured.", rich_markup_mode=None
)

#: Left out where all strategies are wanted: one masks nothing, the other as `random` does.
NOT_APART = ("none", "flip")


@app.command(name="list")
def list_() -> None:
    """List all strategies with their paper; installed plugins are named, not imported.

    Example: pgsbench masks list
    """
    from pgsbench.masking import CARDS, STRATEGIES

    for name, card in CARDS.items():
        typer.echo(f"{name:<13} {card.paper:<17} {card.summary}")
    for name, point in STRATEGIES.entry_points().items():
        package = point.dist.name if point.dist else "?"
        typer.echo(f"{name:<13} {'installed plugin':<17} {point.value} of {package}")


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(help="A strategy's name, or file.py:Class.", autocompletion=completion.strategies),
    ],
) -> None:
    """Describe a strategy: the method, its fields and their defaults.

    Example: pgsbench masks show pgs
    """
    import inspect

    from pgsbench.masking.configure import strategy_class

    kind = strategy_class(name)
    typer.echo(f"{name}\n\n{inspect.getdoc(kind) or 'no description'}\n\nfields and defaults:")
    for parameter in inspect.signature(kind).parameters.values():
        default = "required" if parameter.default is parameter.empty else repr(parameter.default)
        typer.echo(f"  {parameter.name}: {parameter.annotation} = {default}")
    typer.echo(f"\nlooks at: {', '.join(sorted(kind.needs)) or 'nothing'}")


app.command()(findings)


@app.command()
def preview(
    images: Annotated[
        list[str] | None, typer.Argument(metavar="[IMAGES | STUDY]", help="Image files, or one study.")
    ] = None,
    strategies: Annotated[
        str | None,
        typer.Option(help="Strategies, joined by commas (default: pgs,random,grid; of a study: its arms)."),
    ] = None,
    mask_ratio: Annotated[
        float | None, typer.Option(help="Share of the patches that is masked (default: each mask's own).")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="The figure; or .pdf, .svg.")] = Path(
        "masks.png"
    ),
    data: Annotated[str | None, typer.Option(help="Take pictures of this training data instead.")] = None,
    count: Annotated[int, typer.Option(min=1, max=32, help="How many, with --data or a study.")] = 4,
    model: Annotated[
        str | None, typer.Option(help="Whose patches (default: ViT-B-16; with --data scenes-vit).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides the pictures of --data, and what is random.")] = 0,
) -> None:
    """Draw what each mask keeps of your pictures: image, caption, edge map, candidates, effective ratio.

    Masks are drawn as at the beginning of a training, when only pixels count.

    Example: pgsbench masks preview cat.jpg dog.jpg --strategies pgs,random,grid --out masks.png
    """
    from pgsbench.errors import ConfigError
    from pgsbench.inspection import preview as previews
    from pgsbench.inspection.diagnosis import usable
    from pgsbench.inspection.subject import is_study, named_strategies, study_subject
    from pgsbench.models.clip import build
    from pgsbench.reporting.style import check_ending, save

    check_ending(out, "--out")
    if bool(images) == bool(data):
        raise ConfigError(
            "name either image files, a study or --data", way_out="pgsbench masks preview --data scenes"
        )
    if mask_ratio is not None:
        _check_ratio(mask_ratio, "--mask-ratio")
    names, source, size_of = _split(strategies), data, "scenes-vit" if data else "ViT-B-16"
    if images and len(images) == 1 and is_study(images[0]):
        subject = study_subject(images[0], names, mask_ratio=mask_ratio)
        chosen, source, size_of = subject.strategies, subject.data.train, subject.model
    else:
        chosen = named_strategies(names or ["pgs", "random", "grid"], mask_ratio=mask_ratio)
    clip = build(model or size_of, seed=0)
    if source:
        pictures = previews.from_data(source, clip.image_size, count=count, seed=seed)
    else:
        pictures = previews.from_files([Path(image) for image in images or []], clip.image_size)
    notes: list[str] = []
    if names is None:  # nobody has asked for those that cannot be shown
        chosen, notes = usable(chosen, has_objects=pictures.objects is not None)
    typer.echo(save(previews.preview(pictures, chosen, clip, seed=seed), out))
    for note in notes:
        typer.echo(note)


@app.command()
def diagnose(
    study_or_data: Annotated[
        str, typer.Argument(metavar="STUDY|DATA", help="A study, a built-in data set, or webdataset shards.")
    ],
    strategies: Annotated[
        str | None,
        typer.Option(
            help="Strategies, joined by commas (default: the study's arms; with data all but none, and but "
            "flip, which masks as random does)."
        ),
    ] = None,
    batches: Annotated[int, typer.Option(min=1, help="Training batches to look at.")] = 8,
    seeds: Annotated[int, typer.Option(min=2, help="Seeds of each mask.")] = 2,
    calibrate: Annotated[
        float | None,
        typer.Option(
            metavar="RATIO",
            help="Also find the threshold that gives this effective ratio, of each strategy that has one.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Whose patches (default: the study's; with data scenes-vit).")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of CSV files and figure, which then go nowhere else (default: of a study "
            "reports/STUDY/masks and its page in MLflow; with data masks-DATA).",
        ),
    ] = None,
    output: OutputOption = Path(),
) -> None:
    """Measure what masks do to real batches before any training, and how much they agree.

    Ratio, strongest edges, objects, their insides and outlines, mask overlap, place, residual of OTN.
    Masks are drawn as at the beginning of a training, when only pixels count: token similarities do not.
    With --calibrate also the threshold, ready to paste, at which a mask gives a wanted ratio.
    Without --out a study's results go to reports/STUDY/masks and to its page in MLflow.

    Example: pgsbench masks diagnose baselines --strategies pgs,flip,grid
    """
    from pgsbench.data import shards
    from pgsbench.inspection import diagnosis, thresholds
    from pgsbench.inspection.diagnosis_files import write
    from pgsbench.inspection.subject import data_subject, is_study, study_subject
    from pgsbench.masking import CARDS
    from pgsbench.models.clip import build
    from pgsbench.progress import Bars
    from pgsbench.reporting import render

    if calibrate is not None:
        _check_ratio(calibrate, "--calibrate")
    names = _split(strategies)
    if is_study(study_or_data):
        subject = study_subject(study_or_data, names)
    else:
        subject = data_subject(study_or_data, names or [name for name in CARDS if name not in NOT_APART])
    clip = build(model or subject.model, seed=subject.seed)
    with Bars() as show:
        reader = shards.open_reader(
            shards.resolve(subject.data.train, progress=show),
            image_size=clip.image_size,
            tokenize=clip.tokenize,
            memory_limit_gib=subject.data.memory_limit_gib,
            workers=subject.data.workers,
            progress=show,
        )
        found = diagnosis.diagnose(
            clip,
            reader,
            subject.strategies,
            batch_size=subject.batch_size,
            num_batches=batches,
            num_seeds=seeds,
            data_seed=subject.seed,
            progress=show,
        )
        if calibrate is not None:
            chosen, notes = thresholds.calibrate(
                clip,
                reader,
                subject.strategies,
                target=calibrate,
                batch_size=subject.batch_size,
                num_batches=batches,
                num_seeds=seeds,
                data_seed=subject.seed,
                progress=show,
            )
    typer.echo(render.text(diagnosis.table_of(found, subject.name)))
    typer.echo(render.text(diagnosis.agreement_table(found)))
    if calibrate is not None:
        typer.echo(render.text(thresholds.calibration_table(chosen, notes, calibrate)))
        for name, one in chosen.items():
            typer.echo(thresholds.yaml_line(subject.own_names[name], one.strategy))
        typer.echo()
    # Who names a folder wants the files there, and no runs/, reports/ or MLflow store beside them.
    from pgsbench.session import open_study

    study = open_study(study_or_data, output=output) if subject.study is not None and out is None else None
    folder = out or (study.report_folder / "masks" if study else Path(f"masks-{subject.name}"))
    for path in write(found, folder):
        typer.echo(path)
    if study is not None:
        study.mirror()


def _check_ratio(value: float, option: str) -> None:
    from pgsbench.errors import ConfigError

    if not 0.0 <= value < 1.0:  # strategies would blame a field that nobody typed
        raise ConfigError("must be in [0, 1): the share of patches that is masked", where=option, value=value)


def _split(names: str | None) -> list[str] | None:
    return names_in(names) if names else None
