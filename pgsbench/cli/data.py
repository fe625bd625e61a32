"""``pgsbench data``: the data sets on disk."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Data sets: make, list, verify.", rich_markup_mode=None)

NameArgument = Annotated[str, typer.Argument(help="scenes or emoji.")]


@app.command()
def make(name: NameArgument) -> None:
    """Make a built-in data set, once; it is found again by a hash of its recipe.

    Example: pgsbench data make scenes
    """
    from pgsbench.cli.progress import Progress
    from pgsbench.data import store

    existed = store.find(name) is not None
    with Progress() as show:
        folder = store.ensure(name, progress=show)
    typer.echo(f"{'exists' if existed else 'made'}: {folder}")


@app.command(name="ls")
def list_() -> None:
    """List the built-in data sets: what is made, where, how much.

    Example: pgsbench data ls
    """
    from pgsbench.data import store

    typer.echo(f"folder: {store.root()} (PGSBENCH_DATA names another)\n")
    for name in store.BUILTIN:
        folder = store.find(name)
        if folder is None:
            typer.echo(f"{name}: not made yet (pgsbench data make {name})")
            continue
        dataset = store.read_manifest(folder)
        typer.echo(f"{name}: {folder}")
        typer.echo(f"  train: {dataset.num_train:,} pairs, content {dataset.fingerprint}")
        for evaluation, count in dataset.evaluations.items():
            typer.echo(f"  eval {evaluation}: {count:,}")
        if dataset.attribution:
            typer.echo(f"  {dataset.attribution}")


@app.command()
def verify(name: NameArgument) -> None:
    """Compare every file of a data set with its hash.

    Example: pgsbench data verify scenes
    """
    from pgsbench.cli.progress import Progress
    from pgsbench.data import store
    from pgsbench.errors import DataError

    folder = store.find(name)
    if folder is None:
        raise DataError("not made yet", value=name, way_out=f"pgsbench data make {name}")
    with Progress() as show:
        problems = store.verify(folder, progress=show)
    if problems:
        raise DataError(
            "\n".join([f"{len(problems)} files are not what they were", *problems]), where=str(folder),
            way_out=f"delete the folder and run `pgsbench data make {name}`",
        )  # fmt: skip
    typer.echo(f"{len(store.read_manifest(folder).sha256)} files as they were made: {folder}")
