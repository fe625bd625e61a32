"""``pgsbench data``: the data sets on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgsbench.cli import options as opt
from pgsbench.cli.commands import argument, command, group, option
from pgsbench.progress import Bars
from pgsbench.reporting import terminal

app = group("Data sets: make, list, verify; status, fetch.", name="data")

Knobs = Annotated[list[str] | None, option("A knob of the recipe; repeatable.", "--set", metavar="KNOB=V")]
_SOURCE = (
    "tiny-imagenet: the official archive, or the folder that it unpacks to (default: fetched). Another name: "
    "a .csv, .tsv or .parquet table of paths or URLs and captions, or pictures with a .txt beside each."
)


@command(
    app,
    "pgsbench data make scenes --set clutter=0.2",
    "pgsbench data make tiny-imagenet --from tiny-imagenet-200.zip",
    "pgsbench data make my-photos --from captions.csv",
)
def make(
    name: Annotated[str, argument("scenes or tiny-imagenet; with --from, a new name.")],
    knobs: Knobs = None,
    source: Annotated[Path | None, option(_SOURCE, "--from", metavar="PATH")] = None,
) -> None:
    """Make a built-in data set, once; or turn a table or a folder of your own into shards."""
    from pgsbench.data.own import make as make_once

    with Bars() as bars:
        made = make_once(name, knobs=knobs or (), source=source, progress=bars)
    typer.echo(made)


@command(app, "pgsbench data ls", name="ls")
def list_(json: opt.Json = False) -> None:
    """List the data sets: what is made, where, how much."""
    from pgsbench.reporting.data_tables import datasets_table

    terminal.show(datasets_table(), json=json)


@command(app, "pgsbench data verify scenes", "pgsbench data verify 'PATH/{00000..00331}.tar'")
def verify(
    name: Annotated[str, argument("A built-in data set, or shards as data.train names them.")],
    knobs: Knobs = None,
    json: opt.Json = False,
) -> None:
    """Check a built-in data set's hashes; of shards, count what cannot be used. Exits with 1 at too much."""
    from pgsbench.data import store
    from pgsbench.reporting.data_tables import verified_table

    with Bars() as bars:
        table, stops = verified_table(store.typed(name, knobs or ()), progress=bars)
    terminal.show(table, json=json)
    raise typer.Exit(stops)


@command(app, "pgsbench data status paper")
def status(suite: opt.SuiteArgument, root: opt.Root = None, json: opt.Json = False) -> None:
    """Show which data sets of a suite are there, and whether they have their known size."""
    from pgsbench.evaluation.suite import load_suite
    from pgsbench.reporting.data_tables import status_table

    with Bars() as bars:
        table = status_table(load_suite(suite), root=root, progress=bars)
    terminal.show(table, json=json)


@command(app, "pgsbench data fetch retrieval-3")
def fetch(suite: opt.SuiteArgument, root: opt.Root = None, offline: opt.Offline = False) -> None:
    """Fetch the public data sets of a suite, each as a whole or not at all; built-in ones are made."""
    from pgsbench.evaluation.suite import load_suite
    from pgsbench.evaluation.task_data import fetch_missing, make_builtin

    tasks = load_suite(suite)
    with Bars() as bars:
        make_builtin(tasks, progress=bars)
        fetched = fetch_missing(tasks, root=root, progress=bars, say=bars.say)
    typer.echo(f"fetched {fetched} data sets; `pgsbench data status {suite}` counts them")
