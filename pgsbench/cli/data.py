"""``pgsbench data``: the data sets on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgsbench import completion
from pgsbench.cli.options import SUITE_HELP, JsonOption, OfflineOption, RootOption, group
from pgsbench.progress import Bars
from pgsbench.reporting import render

app = group("Data sets: make, list, verify; status, fetch.")

NameArgument = Annotated[str, typer.Argument(help="scenes, emoji or tiny-imagenet; with --from, a new name.")]
SourceOption = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="PATH",
        help="tiny-imagenet: the official archive, or the folder that it unpacks to (default: fetched). "
        "Another name: a .csv, .tsv or .parquet table of paths or URLs and captions, or a folder of pictures "
        "with a .txt beside each.",
    ),
]
KnobsOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KNOB=V", help="A knob of the recipe; may be repeated."),
]
SuiteArgument = Annotated[str, typer.Argument(help=SUITE_HELP, autocompletion=completion.suites)]


@app.command()
def make(name: NameArgument, knobs: KnobsOption = None, source: SourceOption = None) -> None:
    """Make a built-in data set, once; or turn a table or a folder of one's own into shards.

    A built-in one is found again by a hash of its recipe, one's own by its name.

    Example: pgsbench data make scenes --set clutter=0.2

    Example: pgsbench data make tiny-imagenet --from tiny-imagenet-200.zip

    Example: pgsbench data make my-photos --from captions.csv
    """
    from pgsbench.data import own, store

    if source is not None and not store.is_builtin(name):
        with Bars() as show:
            folder, count, faults = own.make_own(name, source, progress=show)
        left_out = "".join(f", {number:,} left out ({reason})" for reason, number in faults.items())
        typer.echo(f"made: {folder}: {count:,} pairs{left_out}; data.train={name}")
        return
    name = _with_knobs(name, knobs)
    existed = store.find(name) is not None
    with Bars() as show:
        folder = store.ensure(name, source=source, progress=show)
    typer.echo(f"{'exists' if existed else 'made'}: {folder}")


@app.command(name="ls")
def list_(json: JsonOption = False) -> None:
    """List the built-in data sets: what is made, where, how much.

    Example: pgsbench data ls
    """
    from pgsbench.reporting.data_tables import builtin_table

    render.show(builtin_table(), json=json)


@app.command()
def verify(
    name: Annotated[str, typer.Argument(help="A built-in data set, or shards as data.train names them.")],
    knobs: KnobsOption = None,
    json: JsonOption = False,
) -> None:
    """Compare every file of a built-in data set with its hash; of shards, count what cannot be used and why.

    Example: pgsbench data verify scenes

    Example: pgsbench data verify 'PATH/{00000..00331}.tar'
    """
    from pgsbench.data import store
    from pgsbench.data.verify import verify_pairs
    from pgsbench.reporting.data_tables import verified_table

    if not store.is_builtin(name):
        with Bars() as show:
            found = verify_pairs(name, progress=show)
        render.show(verified_table(found, name), json=json)
        return
    with Bars() as show:
        folder = store.check(_with_knobs(name, knobs), progress=show)
    typer.echo(f"{len(store.read_manifest(folder).sha256)} files as they were made: {folder}")


@app.command()
def status(suite: SuiteArgument, root: RootOption = None, json: JsonOption = False) -> None:
    """Show which data sets of a suite are there, and whether they have their known size.

    Example: pgsbench data status paper
    """
    from pgsbench.evaluation.suite import load_suite
    from pgsbench.reporting.data_tables import status_table

    with Bars() as show:
        table = status_table(load_suite(suite), root=root, progress=show)
    render.show(table, json=json)


@app.command()
def fetch(suite: SuiteArgument, root: RootOption = None, offline: OfflineOption = False) -> None:
    """Fetch the public data sets of a suite that are not there, each as a whole or not at all.

    What the suite needs of the built-in ones is made.

    Example: pgsbench data fetch retrieval-3
    """
    from pgsbench.evaluation.availability import fetch_missing
    from pgsbench.evaluation.suite import load_suite
    from pgsbench.evaluation.task_data import make_builtin

    tasks = load_suite(suite)
    with Bars() as show:
        make_builtin(tasks, progress=show)
        fetched = fetch_missing(tasks, root=root, progress=show, say=show.say)
    typer.echo(f"fetched {fetched} data sets; `pgsbench data status {suite}` counts them")


def _with_knobs(name: str, knobs: list[str] | None) -> str:
    """Return the name of a data set with the knobs that options set."""
    return f"{name}?{'&'.join(knobs)}" if knobs else name
