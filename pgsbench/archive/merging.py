"""Run directories of other machines and of bundles brought into this folder; where two disagree, none is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pgsbench.archive.bundles import unpack
from pgsbench.archive.recomputed import ROUNDING
from pgsbench.disk.whole_files import UNREADABLE
from pgsbench.errors import RunError, StudyError
from pgsbench.hashing import file_hash
from pgsbench.records import files
from pgsbench.records.marks import Marks
from pgsbench.records.scores import Scores
from pgsbench.records.study_record import StudyRecord, copy_times, read_planned, write_planned
from pgsbench.tracking.rundir import RunDir, all_runs, find_runs

_IGNORED = shutil.ignore_patterns(".*")


@dataclass(frozen=True)
class Merged:
    """What a merge did.

    Attributes:
        copied: Runs that were not here, or not complete here; with those that a pruner has ended there.
        known: Runs that are here with the same content.
        incomplete: Runs that are complete nowhere else, so that they stay where they are.
        studies: Studies whose plans were taken over or grew.
    """

    copied: tuple[str, ...]
    known: tuple[str, ...]
    incomplete: tuple[str, ...]
    studies: tuple[str, ...]


def merge(folders: Sequence[Path], *, output: str | Path = ".") -> Merged:
    """Bring run directories from other folders, or from bundles, into this one.

    Args:
        folders: Folders of ``runs/``, as ``--output`` names them, ``runs`` folders themselves, or bundles.
        output: The folder of ``runs/`` that they are brought into.

    Raises:
        StudyError: Two runs of one id, or two plans of one name, have other content, or a bundle is damaged;
            nothing was copied.
        RunError: A run that would be replaced is worked on.
    """
    with ExitStack() as scratch:
        sources = [_root(folder if folder.is_dir() else _unpacked(folder, scratch)) for folder in folders]
        return _bring(sources, Path(output).resolve() / "runs")


def _unpacked(bundle: Path, scratch: ExitStack) -> Path:
    root = Path(scratch.enter_context(TemporaryDirectory()))
    _, problems = unpack(bundle, root)
    if problems:
        raise StudyError(
            "the bundle is damaged:\n" + "\n".join(problems), where=str(bundle), way_out="copy it again"
        )
    return root


def _bring(sources: Sequence[Path], root: Path) -> Merged:
    here = find_runs(root, {run.spec.id for source in sources for run in all_runs(source)})
    copied: dict[str, RunDir] = {}
    pruned = {run_id for source in sources for _, marks in _studies(source) for run_id in marks.pruned_ids()}
    known, incomplete, conflicts = [], [], []
    for run in (run for source in sources for run in all_runs(source)):
        ours = copied.get(run.spec.id) or here.get(run.spec.id)
        if not run.is_done and ours is None and run.spec.id in pruned:
            copied[run.spec.id] = run  # what its probes gave counts, and `search.pruner=null` goes on with it
        elif not run.is_done:
            incomplete.append(run.spec.folder)
        elif ours is None or not ours.is_done:
            copied[run.spec.id] = run
        elif difference := _difference(ours, run):
            conflicts.append(f"{run.spec.id}: {difference} of {ours.path} and {run.path} differ")
        else:
            known.append(run.spec.folder)
    conflicts += [text for source in sources for text in _plan_conflicts(source, root)]
    if conflicts:
        raise StudyError(
            "equal names with other content:\n" + "\n".join(f"- {text}" for text in conflicts),
            where=str(root),
            way_out="find out which one is right and delete the other with `pgsbench runs rm`",
        )
    replaced = {run_id: here[run_id] for run_id in copied if run_id in here}
    for ours in replaced.values():
        _check_free(ours)
    for run_id, run in copied.items():
        _copy(run, replaced.get(run_id), root)
    studies = [study.name for source in sources for study in _take_plans(source, root)]
    names = tuple(run.spec.folder for run in copied.values())
    return Merged(names, tuple(known), tuple(incomplete), tuple(dict.fromkeys(studies)))


def _root(folder: Path) -> Path:
    for root in (folder / "runs", folder):
        if any(root.glob(f"*/*/{files.SPEC}")) or any(root.glob(f"*/{files.STUDY}")):
            return root.resolve()
    raise StudyError("no runs are here", where=str(folder), way_out="name a folder that holds runs/")


def _difference(one: RunDir, other: RunDir) -> str:
    """Return which part of two complete runs with one id differs; empty: none."""
    if one.spec.training != other.spec.training:
        return "the specs"
    ours, theirs = _weights(one), _weights(other)
    if ours and theirs and ours != theirs:  # a bundle may come without
        return "the weights"
    scores = [found for found in (one.scores, other.scores) if found is not None]
    if len({found.suite_fingerprint for found in scores}) != 1:  # or one was not evaluated
        return ""
    values = [{(score.task, score.metric): score.value for score in found.scores} for found in scores]
    if values[0] != values[-1]:
        return "the scores"
    ends = [list(_ends(found)) for found in scores]
    if len(ends[0]) != len(ends[-1]) or not np.allclose(ends[0], ends[-1], rtol=0, atol=ROUNDING):
        return "the intervals"
    files_of = [{(score.task, score.metric): score.per_sample for score in found.scores} for found in scores]
    parts = [(part, files_of[-1][of]) for of, part in files_of[0].items() if part and files_of[-1][of]]
    differ = any(_differ(one.path / part, other.path / its) for part, its in parts)
    return "the outcomes" if differ else ""


def _ends(scores: Scores) -> Iterator[float]:
    for score in scores.scores:
        yield from (score.low, score.high)
    for _, mean in sorted(scores.groups.items()):
        yield from (mean.value, mean.low, mean.high)


def _differ(one: Path, other: Path) -> bool:
    """Tell whether two files of outcomes are both there, and do not say the same of the same items."""
    if not (one.is_file() and other.is_file()):
        return False
    try:
        with np.load(one) as ours, np.load(other) as theirs:
            names = {*ours.files, *theirs.files} - {"key"}  # it tells versions of pgsbench apart, too
            return not all(
                name in ours and name in theirs and np.array_equal(ours[name], theirs[name]) for name in names
            )
    except UNREADABLE:
        return True


def _weights(run: RunDir) -> dict[str, str]:
    return {path.name: file_hash(path) for path in run.checkpoint.glob("*.safetensors")}


def _copy(run: RunDir, ours: RunDir | None, root: Path) -> None:
    """Copy a run whole or not at all; an incomplete one of ours makes room."""
    place = ours.path if ours else root / run.spec.folder
    place.parent.mkdir(parents=True, exist_ok=True)
    scratch = place.with_name(f".{place.name}.tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        shutil.copytree(run.path, scratch, ignore=_IGNORED)
        if ours is not None:
            _check_free(ours)
            shutil.rmtree(place)
        scratch.rename(place)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check_free(run: RunDir) -> None:
    if holder := run.holder:
        raise RunError(f"a process works on this run ({holder})", where=str(run.path), way_out="wait for it")


def _studies(source: Path) -> Iterator[tuple[Path, Marks]]:
    for record in sorted(source.glob(f"*/{files.STUDY}")):
        yield record.parent, Marks(record.parent)


def _plan_conflicts(source: Path, root: Path) -> Iterator[str]:
    for study, _ in _studies(source):
        ours = {run.spec.name: run.spec for run in read_planned(root / study.name)}
        for run in read_planned(study):
            if run.spec.name in ours and ours[run.spec.name].training != run.spec.training:
                yield f"{run.spec.name} of the study {study.name} is planned otherwise in {source}"


def _take_plans(source: Path, root: Path) -> Iterator[Path]:
    for there, marks in _studies(source):
        record, folder = StudyRecord.read(there), root / there.name
        if not (folder / files.STUDY).is_file():
            record.write_head(folder)
        copy_times(there, folder)
        Marks(folder).take_pruned(marks)
        ours = {run.spec.name for run in read_planned(folder)}
        known = find_runs(root, {run.spec.id for run in record.runs})
        new = [
            replace(run, directory=known[run.spec.id].path.relative_to(root).as_posix())
            if run.spec.id in known
            else run
            for run in record.runs
            if run.spec.name not in ours
        ]
        write_planned(folder, new)
        if new:
            yield folder
