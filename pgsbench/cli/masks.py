"""``pgsbench masks``: the strategies, described and made visible."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True, help="Masking strategies: list, show, preview, findings.", rich_markup_mode=None
)


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
def show(name: Annotated[str, typer.Argument(help="A strategy's name, or file.py:Class.")]) -> None:
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


@app.command()
def findings(
    images: Annotated[list[Path] | None, typer.Argument(help="Image files; two or more.")] = None,
    data: Annotated[str, typer.Option(help="Without images: pictures of this training data.")] = "scenes",
    count: Annotated[int, typer.Option(min=2, help="How many of the data.")] = 256,
    model: Annotated[
        str | None, typer.Option(help="Whose patches (default: ViT-B-16; for data scenes-vit).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides what is random in a mask.")] = 0,
) -> None:
    """Measure what the published CLIP-PGS code does differently from its paper.

    Example: pgsbench masks findings photos/*.jpg
    """
    from pgsbench.data.transforms import normalise
    from pgsbench.masking import findings as measured
    from pgsbench.masking.base import view_of
    from pgsbench.models.clip import build
    from pgsbench.models.tower_layout import layout_of
    from pgsbench.reporting import preview as previews
    from pgsbench.reporting import render

    clip = build(model or ("ViT-B-16" if images else "scenes-vit"), seed=seed)
    if images:
        pictures = previews.from_files(images, clip.image_size)
    else:
        pictures = previews.from_data(data, clip.image_size, count=count, seed=seed)
    view = view_of(normalise(pictures.images, clip.mean, clip.std), layout_of(clip.model).patch_size)
    table = render.Table(
        f"{view.batch_size} pictures, {view.grid[0]} x {view.grid[1]} patches",
        ["part", "what", "measured"],
        [[found.part, found.what, found.value] for found in measured.findings(view, seed=seed)],
        [],
        text_columns=(1,),
    )
    kept = measured.retention(view, measured.compared(), seed=seed)
    edges = render.Table(
        "Half of the patches kept",
        ["mask", "top-edge patches kept", "IoU of two seeds"],
        [[name, f"{top:.2f}", f"{iou:.2f}"] for name, (top, iou) in kept.items()],
        ["Top-edge: the tenth of a picture's patches with the strongest Sobel edges."],
    )
    typer.echo("\n\n".join(render.text(one) for one in (table, edges)))


@app.command()
def preview(
    images: Annotated[list[Path] | None, typer.Argument(help="Image files.")] = None,
    strategies: Annotated[str, typer.Option(help="Strategies, joined by commas.")] = "pgs,random,grid",
    mask_ratio: Annotated[float, typer.Option(help="Share of the patches that is masked.")] = 0.5,
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="The figure.")] = Path("masks.png"),
    data: Annotated[str | None, typer.Option(help="Take pictures of this training data instead.")] = None,
    count: Annotated[int, typer.Option(min=1, max=32, help="How many, with --data.")] = 4,
    model: Annotated[
        str | None, typer.Option(help="Whose patches (default: ViT-B-16; with --data scenes-vit).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides what is random in a mask.")] = 0,
) -> None:
    """Draw what each strategy keeps of your pictures: image, edge map, kept patches, effective ratio.

    Example: pgsbench masks preview cat.jpg dog.jpg --strategies pgs,random,grid --out masks.png
    """
    from pgsbench.errors import ConfigError
    from pgsbench.masking.configure import configure, strategy_class
    from pgsbench.reporting import preview as previews
    from pgsbench.reporting.style import save

    if bool(images) == bool(data):
        raise ConfigError("name either image files or --data", way_out="pgsbench masks preview --data scenes")
    chosen = {}
    for name in (part.strip() for part in strategies.split(",")):
        has_ratio = "mask_ratio" in getattr(strategy_class(name), "__dataclass_fields__", {})
        chosen[name] = configure(name, {"mask_ratio": mask_ratio} if has_ratio else {}, where="--strategies")
    model = model or ("scenes-vit" if data else "ViT-B-16")
    size = previews.image_size_of(model)
    if data:
        pictures = previews.from_data(data, size, count=count, seed=seed)
    else:
        pictures = previews.from_files(images or [], size)
    typer.echo(save(previews.preview(pictures, chosen, model, seed=seed), out))
