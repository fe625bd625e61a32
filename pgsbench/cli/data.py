"""``pgsbench data``: the data sets on disk."""

from __future__ import annotations

from typing import Annotated

import typer

from pgsbench import completion
from pgsbench.cli.options import SUITE_HELP, JsonOption, OfflineOption, RootOption, print_tables

app = typer.Typer(
    no_args_is_help=True, help="Data sets: make, list, verify; status, fetch.", rich_markup_mode=None
)

NameArgument = Annotated[str, typer.Argument(help="scenes or emoji.")]
SuiteArgument = Annotated[str, typer.Argument(help=SUITE_HELP, autocompletion=completion.suites)]


@app.command()
def make(name: NameArgument) -> None:
    """Make a built-in data set, once; it is found again by a hash of its recipe.

    Example: pgsbench data make scenes
    """
    from pgsbench.data import store
    from pgsbench.progress import Bars

    existed = store.find(name) is not None
    with Bars() as show:
        folder = store.ensure(name, progress=show)
    typer.echo(f"{'exists' if existed else 'made'}: {folder}")


@app.command(name="ls")
def list_(json: JsonOption = False) -> None:
    """List the built-in data sets: what is made, where, how much.

    Example: pgsbench data ls
    """
    from pgsbench.data import store
    from pgsbench.reporting import render

    rows, notes = [], [f"Folder: {store.root()} (PGSBENCH_DATA names another)."]
    for name in store.BUILTIN:
        folder = store.find(name)
        if folder is None:
            rows.append([name, "not made yet", "", "", f"pgsbench data make {name}"])
            continue
        dataset = store.read_manifest(folder)
        rows.append([name, "train", f"{dataset.num_train:,}", dataset.fingerprint, str(folder)])
        rows += [[name, f"eval/{part}", f"{count:,}", "", ""] for part, count in dataset.evaluations.items()]
        notes += [f"{name}: {dataset.attribution}"] if dataset.attribution else []
    header = ["data set", "part", "count", "content", "folder"]
    print_tables(render.Table("Built-in data sets", header, rows, notes, text_columns=(1, 3, 4)), json=json)


@app.command()
def verify(name: NameArgument) -> None:
    """Compare every file of a data set with its hash.

    Example: pgsbench data verify scenes
    """
    from pgsbench.data import store
    from pgsbench.errors import DataError
    from pgsbench.progress import Bars

    folder = store.find(name)
    if folder is None:
        raise DataError("not made yet", value=name, way_out=f"pgsbench data make {name}")
    with Bars() as show:
        problems = store.verify(folder, progress=show)
    if problems:
        raise DataError(
            "\n".join([f"{len(problems)} files are not what they were", *problems]),
            where=str(folder),
            way_out=f"delete the folder and run `pgsbench data make {name}`",
        )
    typer.echo(f"{len(store.read_manifest(folder).sha256)} files as they were made: {folder}")


@app.command()
def status(suite: SuiteArgument, root: RootOption = None, json: JsonOption = False) -> None:
    """Show which data sets of a suite are there, and whether they have their known size.

    Example: pgsbench data status paper
    """
    from pgsbench.data import store
    from pgsbench.evaluation import availability
    from pgsbench.evaluation.suite import load_suite
    from pgsbench.progress import Bars
    from pgsbench.reporting import render

    with Bars() as show:
        sets = list(availability.survey(load_suite(suite), root=root, progress=show))
    header = ["data set", "state", "split", "count", "known size", "source"]
    rows = []
    for one in sets:
        counts = ["" if number is None else f"{number:,}" for number in (one.count, one.size)]
        rows.append([one.data, one.state, ", ".join(one.splits), *counts, one.source])
    present = sum(one.state == availability.PRESENT for one in sets)
    odd = [f"{one.data}: {one.problem}" for one in sets if one.problem and one.state == availability.DAMAGED]
    notes = [*odd, f"{present} of {len(sets)} data sets are present under {root or store.root()}"]
    title = f"Data of the suite {suite}"
    print_tables(render.Table(title, header, rows, notes, text_columns=(1, 2, 5)), json=json)


@app.command()
def fetch(
    suite: SuiteArgument,
    root: RootOption = None,
    offline: OfflineOption = False,
) -> None:
    """Fetch the public data sets of a suite that are not there, each as a whole or not at all.

    What the suite needs of the built-in ones is made.

    Example: pgsbench data fetch retrieval-3
    """
    from pgsbench.evaluation.availability import fetch_missing
    from pgsbench.evaluation.suite import load_suite
    from pgsbench.evaluation.task_data import make_builtin
    from pgsbench.progress import Bars

    tasks = load_suite(suite)
    with Bars() as show:
        make_builtin(tasks, progress=show)
        fetched = fetch_missing(tasks, root=root, progress=show, say=show.say)
    typer.echo(f"fetched {fetched} data sets; `pgsbench data status {suite}` counts them")
