"""``pgsbench bench``: what things cost on this machine, both sides measured in one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgsbench.cli.options import DeviceOption

app = typer.Typer(no_args_is_help=True, help="Measure speed on this machine.", rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Measure speed on this machine."""  # without a callback, typer drops the name of an only command


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
    """Time every mask and the stages of pgs beside the unmasked image tower on one batch.

    Example: pgsbench bench masks --model ViT-B-16 --batch 16
    """
    import torch

    from pgsbench.cli.progress import Progress
    from pgsbench.errors import ConfigError
    from pgsbench.masking import CARDS
    from pgsbench.models.clip import build
    from pgsbench.reporting import render
    from pgsbench.reporting.mask_costs import mask_costs
    from pgsbench.sweeps.worker import plan_slots

    write = {".md": render.markdown, ".csv": render.csv_text}
    if out is not None and out.suffix not in write:
        raise ConfigError("a table is written as .md or .csv", where="--out", value=str(out))
    names = [part.strip() for part in strategies.split(",")] if strategies else list(CARDS)
    on = torch.device(plan_slots(1, device=device).devices[0])
    torch.set_num_threads(threads)
    clip = build(model, seed=0, device=on)
    with Progress() as show:
        table = mask_costs(clip, model, names, batch_size=batch, device=on, progress=show)
    typer.echo(render.text(table))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(write[out.suffix](table))
        typer.echo(out)
