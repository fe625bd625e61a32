"""The data sets on disk as tables: what is made here, and what is there of a suite."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path

from pgsbench.config.data import DataConfig
from pgsbench.data import shards, store
from pgsbench.data.tar import CUT, NO_ARCHIVE
from pgsbench.evaluation import task_data
from pgsbench.evaluation.suite import Suite
from pgsbench.reporting.render import COUNT, Header, Table


def datasets_table() -> Table:
    """Return the data sets on disk: the built-in ones, what is made of them, and one's own."""
    rows: list[list[object]] = []
    notes = [f"Folder: {store.root()} (PGSBENCH_DATA names another)."]
    for name in chain.from_iterable((plain, *store.variants(plain)) for plain in store.BUILTIN):
        folder = store.find(name)
        if folder is None:
            rows.append([name, "not made yet", "", "", store.making(name)])
            continue
        dataset = store.read_manifest(folder)
        rows.append([name, "train", dataset.num_train, dataset.fingerprint, _below_root(folder)])
        rows += [[name, f"eval/{part}", count, "", ""] for part, count in dataset.evaluations.items()]
        notes += [f"{name}: {dataset.attribution}"] if dataset.attribution else []
    rows += [[name, "train", "", "", _below_root(store.own(name))] for name in store.own_names()]
    header: Header = ["data set", "part", ("count", COUNT), "content", "folder"]
    return Table("Data sets", header, rows, notes)


def _below_root(folder: Path) -> str:
    return str(folder.relative_to(store.root()))


def status_table(suite: Suite, *, root: Path | None, progress: store.Progress) -> Table:
    """Return which data sets of a suite are there, and whether they have their known size.

    Args:
        suite: The suite.
        root: Where public sets lie; None: where all data sets lie.
        progress: Told of sets that are counted.
    """
    sets = list(task_data.survey(suite, root=root, progress=progress))
    header: Header = ["data set", "state", "split", ("count", COUNT), ("known size", COUNT), "source"]
    rows: list[list[object]] = []
    for one in sets:
        counts = ["" if number is None else number for number in (one.count, one.size)]
        rows.append([one.data, one.state, ", ".join(one.splits), *counts, one.source])
    present = sum(one.state == task_data.PRESENT for one in sets)
    odd = [f"{one.data}: {one.problem}" for one in sets if one.problem and one.state == task_data.DAMAGED]
    notes = [*odd, f"{present} of {len(sets)} data sets are present under {root or store.root()}"]
    return Table(f"Data of the suite {suite.name}", header, rows, notes)


def verified_table(name: str, *, progress: store.Progress | None = None) -> tuple[Table, bool]:
    """Look at all of a data set: a built-in one's files by their hashes, else which samples can be used.

    Args:
        name: A built-in data set, with or without knobs, or shards.
        progress: Told how far it is.

    Returns:
        What was found, and whether a training would stop at it.

    Raises:
        DataError: There is no such data, or a file of a built-in data set is not what it was.
    """
    if not store.is_builtin(name):
        return _samples_table(name, *shards.verify(name, progress=progress))
    folder = store.check(name, progress=progress)
    header: Header = [("files as they were made", COUNT), "folder"]
    return Table(f"Files of {name}", header, [[len(store.read_manifest(folder).sha256), str(folder)]]), False


def _samples_table(train: str, num_usable: int, faults: list[tuple[str, str]]) -> tuple[Table, bool]:
    # How many samples cannot be used, by reason, and where the first lies; and whether they are too many.
    firsts = {reason: place for place, reason in reversed(faults)}
    counts = Counter(reason for _, reason in faults)
    rows = [[reason, count, firsts[reason]] for reason, count in counts.most_common()]
    rows.append(["usable", num_usable, ""])
    total = num_usable + len(faults)
    share, limit = len(faults) / total, DataConfig.model_fields["max_bad_share"].default
    notes = [f"{len(faults):,} of {total:,} samples cannot be used ({share:.2%})."]
    if share > limit:
        notes.append(f"A training stops at them, unless data.max_bad_share ({limit:.0%}) allows more.")
    if cut := counts[CUT] + counts[NO_ARCHIVE]:
        notes.append(f"Shards that are cut or no archive: {cut}; each counts once, whatever it has lost.")
    header: Header = ["samples", ("count", COUNT), "the first"]
    return Table(f"Samples of {train}", header, rows, notes), share > limit
