"""Run directories as a user handles them: found by a part of their id, removed, exported."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic_core import to_jsonable_python

from pgsbench.disk.whole_files import unwritable
from pgsbench.errors import RunError, nearest
from pgsbench.hashing import file_hash
from pgsbench.records import files
from pgsbench.records.files import runs_on_disk
from pgsbench.records.json_files import write_json
from pgsbench.records.kept import kept_folder
from pgsbench.records.scores import Scores
from pgsbench.records.study_record import StudyRecord
from pgsbench.tracking.rundir import RunDir

#: Beside the checkpoint in an exported folder.
EXPORTED = "run.json"
#: Largest number of runs that a message names.
MOST_NAMED = 5


def find_run(runs_root: Path, name: str) -> RunDir:
    """Return a run by its id, by the first characters of its id, or by the path of its directory.

    Args:
        runs_root: The folder of all studies.
        name: What the user calls it.

    Raises:
        RunError: There is no such run, or the characters fit several.
    """
    if (Path(name) / files.SPEC).is_file():
        return RunDir(Path(name))
    known = runs_on_disk(runs_root)
    fitting = [known[name]] if name in known else [run for run in known.values() if run.id.startswith(name)]
    if len(fitting) == 1:
        return RunDir(fitting[0].path)
    if fitting and name:
        rule = f"{len(fitting)} runs have an id that begins like this"
        shown = ", ".join(f"{run.id} ({run.title})" for run in fitting[:MOST_NAMED])
        way_out = f"one of {shown}{', ...' if len(fitting) > MOST_NAMED else ''}"
        raise RunError(rule, where=str(runs_root), value=name, way_out=way_out)
    rule = "there is no run with this id, and no such run directory"
    way_out = f"{nearest(name, known)}; " * bool(known) + "`pgsbench runs ls` lists the runs"
    raise RunError(rule, where=str(runs_root), value=name, way_out=way_out)


def remove(runs_root: Path, runs: Sequence[RunDir]) -> None:
    """Delete run directories, and what the records of all studies say of them.

    Args:
        runs_root: The folder of all studies.
        runs: What to delete. Nothing is deleted where one of them is worked on.

    Raises:
        RunError: A process works on one of the runs, or a directory cannot be deleted.
        StudyError: The record of a study is damaged.
    """
    records = {path.parent: StudyRecord.read(path.parent) for path in runs_root.glob(f"*/{files.STUDY}")}
    for run in runs:
        if holder := run.holder:
            raise RunError(
                f"a process works on this run ({holder})", where=str(run.path), way_out="end it first"
            )
    gone = {run.path.resolve() for run in runs}
    for run in runs:
        with run.claim():
            _delete(run)
    for folder, record in records.items():
        left = tuple(one for one in record.runs if (runs_root / one.directory).resolve() not in gone)
        if left != record.runs:
            replace(record, runs=left).write(folder)


def _delete(run: RunDir) -> None:
    try:
        # First what makes it complete, then what makes it a run: a kill leaves no half that passes for one.
        (run.path / files.DONE).unlink(missing_ok=True)
        (run.path / files.SPEC).unlink(missing_ok=True)
        shutil.rmtree(run.path)
    except OSError as error:
        raise RunError(f"cannot be deleted: {error.strerror}", where=str(run.path)) from error


def export(run: RunDir, folder: Path, kept: str = "") -> Path:
    """Copy a model of a run to a folder, with a file that says what it is and what it scored.

    ``open_clip.create_model("local-dir:FOLDER")`` loads the result.

    Args:
        run: A run whose training has ended.
        folder: Where to; it must not exist, or be empty.
        kept: Which of the checkpoints that it has kept (`pgsbench.records.kept`); empty: its last model.

    Raises:
        RunError: The run has no such model, or no model yet, or the folder holds something.
    """
    source = kept_folder(run.path, kept) if kept else run.checkpoint
    if not kept and not (run.is_done and source.is_dir()):
        raise RunError("the run is not complete, so it has no model", where=str(run.path))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError("there is something here already", where=str(folder), way_out="name a new folder")
    if reason := unwritable(folder.parent):
        raise RunError(
            f"nothing can be written here: {reason}", where=str(folder), way_out="name another folder"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        copied = Path(scratch, "model")
        shutil.copytree(source, copied, ignore=shutil.ignore_patterns(".*.tmp"))
        write_json(copied / EXPORTED, _identity(run, copied, None if kept else run.scores))
        if folder.exists():
            folder.rmdir()
        copied.rename(folder)
    return folder


def _identity(run: RunDir, checkpoint: Path, scores: Scores | None) -> dict[str, Any]:
    return {
        **to_jsonable_python(run.spec),
        "sha256": {path.name: file_hash(path) for path in sorted(checkpoint.glob("*.safetensors"))},
        "suite": scores.suite if scores else None,
        "groups": {name: group.value for name, group in scores.groups.items()} if scores else {},
        "scores": [
            {key: value for key, value in asdict(score).items() if key != "per_sample"}
            for score in (scores.scores if scores else ())
        ],
    }
