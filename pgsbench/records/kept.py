"""Checkpoints that a run keeps beside its last one: ``RUN@0.5``, ``@epoch-2``, ``@step-100``, ``@best``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pgsbench.errors import RunError
from pgsbench.records import files
from pgsbench.records.json_files import read_record, write_record

BEST, RECORD = "best", "kept.json"


@dataclass(frozen=True)
class Kept:
    """When a checkpoint was kept: ``kept.json`` beside it, written last.

    Attributes:
        step: Steps done.
        samples: Pairs seen.
        share: Share of the training.
        epochs: Epochs of the data.
    """

    step: int
    samples: int
    share: float
    epochs: float


def folder_name(step: int) -> str:
    """Return the name of the folder of a checkpoint that is kept after a step."""
    return f"step-{step:08d}"


def write(folder: Path, kept: Kept) -> None:
    """Say that a checkpoint is whole, and when it was kept."""
    write_record(folder / RECORD, kept)


def listed(run: Path) -> list[Path]:
    """Return the folders of the checkpoints that a run has kept, but the best one, in the order of steps."""
    return sorted(path.parent for path in (run / files.CHECKPOINTS).glob(f"step-*/{RECORD}"))


def kept_folder(run: Path, name: str) -> Path:
    """Return the folder of a checkpoint that a run has kept.

    Args:
        run: The run directory.
        name: ``best``, ``step-100``, ``epoch-2``, or a share of the training such as ``0.5``.

    Raises:
        RunError: It has kept no such checkpoint.
    """
    found = {path: read_record(path / RECORD, Kept, RunError) for path in listed(run)}
    for path, kept in found.items():
        if kept is not None and name in _names(kept):
            return path
    best = run / files.CHECKPOINTS / BEST
    if (best / RECORD).is_file():
        if name == BEST:
            return best
        found[best] = None
    known = [BEST if kept is None else f"step-{kept.step}" for kept in found.values()]
    raise RunError(
        "the run has kept no such checkpoint (training.keep)",
        where=str(run),
        value=name,
        way_out=f"one of {', '.join(known)}" if known else "name the run alone: its last model",
    )


def parted(name: str) -> tuple[str, str]:
    """Return the run that ``RUN@CHECKPOINT`` names, and the checkpoint; empty: the last one."""
    run, at, which = name.rpartition("@")
    is_one = at and re.fullmatch(rf"{BEST}|(step|epoch)-\d+|0?\.\d+", which)
    return (run, which) if is_one else (name, "")


def resolved(name: str) -> str:
    """Return the folder that ``RUN_DIRECTORY@CHECKPOINT`` names; what is no such name as it is.

    Raises:
        RunError: The run has kept no such checkpoint.
    """
    run, which = parted(name)
    return str(kept_folder(Path(run), which)) if which and (Path(run) / files.SPEC).is_file() else name


def _names(kept: Kept) -> set[str]:
    share, epochs = f"{kept.share:.3f}".rstrip("0"), round(kept.epochs)
    names = {f"step-{kept.step}", share, share.removeprefix("0")}
    # An epoch need not be a whole number of steps: it is the step next to its end.
    is_epoch = epochs and abs(kept.epochs - epochs) <= 0.5 * kept.epochs / kept.step
    return names | {f"epoch-{epochs}"} if is_epoch else names
