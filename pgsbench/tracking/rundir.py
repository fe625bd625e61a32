"""Run directories: the truth on disk, which everything else mirrors or reads.

A run directory ``runs/<study>/<arm>-s<seed>-<id>/`` is written by one process at a time (`RunDir.claim`)
and complete once ``DONE`` is there, which is written last. JSON files are replaced whole, so a reader
never sees half of one; ``metrics.jsonl`` grows by whole lines, and one damaged by a crash is ignored.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import socket
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pgsbench.errors import RunError, UserError
from pgsbench.files import atomic

METRICS = "metrics.jsonl"
#: More than the longest line of metrics has; `RunDir.last_step` reads no more of the file.
LAST_BYTES = 1 << 16


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON, atomically: a reader sees the old file or the new one, nothing between.

    NaN and infinities, which JSON does not have, become null: a diverged loss must not stop a run from
    saying so. Numpy and torch scalars become numbers, tuples lists, paths strings.
    """
    text = json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


class RunDir:
    """One run on disk.

    Args:
        path: The run directory; it need not exist yet (`create` and `open` check).
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, runs_root: Path, config: Mapping[str, Any]) -> RunDir:
        """Make the directory of a run and write its ``config.json``; one that exists is kept as it is.

        Args:
            runs_root: The folder of all studies.
            config: The content of ``config.json``; ``study``, ``arm``, ``seed`` and ``id`` name the folder.
        """
        run = cls(runs_root / run_folder(*(config[key] for key in ("study", "arm", "seed", "id"))))
        if not (run.path / "config.json").is_file():
            run.write("config.json", config)
        return run

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """Return the run at `path`.

        Raises:
            RunError: There is no run directory here.
        """
        if not (path / "config.json").is_file():
            raise RunError(
                "no run directory here (no config.json)",
                where=str(path),
                way_out="a run directory is runs/<study>/<arm>-s<seed>-<id>",
            )
        return cls(path)

    def __repr__(self) -> str:
        return f"RunDir({str(self.path)!r})"

    @property
    def checkpoint(self) -> Path:
        """Folder of the trained model: open_clip's configuration and safetensors weights."""
        return self.path / "checkpoints" / "model"

    @property
    def state(self) -> Path:
        """Folder of what exact resume needs; gone when the run is done."""
        return self.path / "checkpoints" / "state"

    @property
    def figures(self) -> Path:
        """Folder of this run's pictures."""
        return self.path / "figures"

    @property
    def config(self) -> dict[str, Any]:
        """``config.json``: identity and the resolved configuration."""
        return self.read("config.json")

    @property
    def env(self) -> dict[str, Any]:
        """``env.json``: versions and device; empty where it is not written yet."""
        return self.read("env.json")

    @property
    def summary(self) -> dict[str, Any]:
        """``summary.json``: what the run cost and how it ended; empty where it is not written yet."""
        return self.read("summary.json")

    @property
    def scores(self) -> dict[str, Any]:
        """``scores.json``: the evaluation; empty where it is not written yet."""
        return self.read("scores.json")

    def read(self, name: str) -> dict[str, Any]:
        """Return one of the JSON files, or an empty dict where it does not exist.

        Raises:
            RunError: The file is damaged.
        """
        return read_json(self.path / name, RunError)

    def write(self, name: str, value: object) -> None:
        """Replace one of the JSON files; see `write_json`."""
        write_json(self.path / name, value)

    def metrics(self) -> list[dict[str, Any]]:
        """Return the lines of ``metrics.jsonl``, oldest first, without damaged ones.

        A crash tears the last line, and a power cut can leave zeros in place of lines; a curve with a gap is
        no reason to have no report, nor to train from the beginning.
        """
        path = self.path / METRICS
        if not path.is_file():
            return []
        whole = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        return [line for line in map(_metrics_of, whole) if line]

    def last_step(self) -> int:
        """Return the step of the last whole metric line, or 0; takes the same time for a file of any size."""
        path = self.path / METRICS
        if not path.is_file():
            return 0
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LAST_BYTES))
            whole = file.read().split(b"\n")[:-1]
        found = map(_metrics_of, (line.decode(errors="replace") for line in reversed(whole)))
        return next((int(line["step"]) for line in found if line), 0)

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """Append one line to ``metrics.jsonl``; whoever reads the file next sees it."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(_plain(line), allow_nan=False) + "\n")

    def truncate_after(self, step: int) -> None:
        """Drop the metric lines after `step`, which a resumed run writes again, and damaged ones."""
        path = self.path / METRICS
        if not path.is_file():
            return
        kept = [line for line in self.metrics() if line["step"] <= step]
        with atomic(path) as scratch:
            scratch.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    @property
    def is_done(self) -> bool:
        """Whether the run is complete."""
        return (self.path / "DONE").is_file()

    def mark_done(self) -> None:
        """Say that the run is complete; the last thing that is written."""
        (self.path / "DONE").touch()

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Hold the run against other processes; the claim ends with the block or the process.

        Raises:
            RunError: Another process works on this run.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("a+", encoding="utf-8") as file:
            if not _try_lock(file.fileno()):
                raise RunError(
                    f"another process works on this run ({self.holder or 'unknown'})",
                    where=str(self.path),
                    way_out="wait for it or end it; a claim ends with its process",
                )
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
            yield
            file.truncate(0)

    @property
    def holder(self) -> str | None:
        """Who works on this run now, as text for people, or None where nobody does."""
        path = self.path / "lock"
        if not path.is_file():
            return None
        with path.open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return file.read() or "another process"
        return None  # closing the file gave the lock back; what it still says is a dead process's


def find_runs(runs_root: Path, run_ids: Collection[str]) -> dict[str, RunDir]:
    """Return the runs with these ids under any study, by id, a complete one before an incomplete one.

    One look at the folders for all ids; nothing is remembered, as other processes may write there, too.
    """
    found: dict[str, RunDir] = {}
    for path in sorted(runs_root.glob("*/*-*")):
        run_id = path.name.rpartition("-")[2]
        if run_id in run_ids and (path / "config.json").is_file():
            run = RunDir(path)
            if run_id not in found or (run.is_done and not found[run_id].is_done):
                found[run_id] = run
    return found


def run_folder(study: str, arm: str, seed: int, run_id: str) -> str:
    """Return where a run that no study has yet will lie, relative to the runs folder."""
    return f"{study}/{arm}-s{seed}-{run_id}"


def read_json(path: Path, kind: type[UserError]) -> dict[str, Any]:
    """Return the content of a JSON file, or an empty dict where it does not exist.

    Args:
        path: The file.
        kind: What is raised where it is damaged.
    """
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise kind(f"damaged file ({error})", where=str(path)) from error


def _metrics_of(line: str) -> dict[str, Any]:
    """Return what a metric line says; empty where it is damaged."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("step"), int) else {}


def _plain(value: Any) -> Any:
    """Return `value` in terms that JSON has; see `write_json`."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    return _plain(value.item()) if hasattr(value, "item") else value


def _try_lock(descriptor: int, *, wait_seconds: float = 0.3) -> bool:
    """Take an exclusive lock; wait a little, as `RunDir.holder` of another process takes it in passing."""
    until = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
