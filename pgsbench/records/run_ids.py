"""Which runs lie on disk, by id: read without pydantic, so that shells can complete ids at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from pgsbench.records import files


class RunOnDisk(NamedTuple):
    """A run directory, and as much of its spec as is needed to name it.

    Attributes:
        id: The run's id.
        title: Study, arm and seed, for people.
        path: The run directory.
    """

    id: str
    title: str
    path: Path


def runs_on_disk(runs_root: Path) -> dict[str, RunOnDisk]:
    """Return every run under any study by its id, a complete one before an incomplete one.

    A spec that cannot be read is left out: whoever needs it reads it with `RunDir.spec`, which says why.
    """
    found: dict[str, RunOnDisk] = {}
    for path in sorted(runs_root.glob(f"*/*/{files.SPEC}")):
        try:
            spec = json.loads(path.read_text(encoding="utf-8"))
            run = RunOnDisk(
                str(spec["id"]), f"{spec['study']}/{spec['arm']} s{spec['config']['seed']}", path.parent
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if run.id not in found or (run.path / files.DONE).is_file():
            found[run.id] = run
    return found
