"""Names of the files of runs and studies, each spelt here alone, and which runs lie on disk.

Nothing heavy is imported, so that shells can complete ids at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

#: Files of a run directory.
SPEC = "spec.json"
ENVIRONMENT = "env.json"
SUMMARY = "summary.json"
METRICS = "metrics.jsonl"
CURVE = "curve.jsonl"
SCORES = "scores.json"
SCORES_CSV = "scores.csv"
GALLERY = "gallery.npz"
DAMAGE = "damage.jsonl"
PINS = "shards.pins"
DONE = "DONE"
FAILED = "failed.json"
TRACEBACK = "failure.txt"
PRUNED = "pruned.json"
JOB = "job.json"
BRANCH = "branch.json"

#: Folders of a run directory.
CHECKPOINTS = "checkpoints"
CHECKPOINT = "checkpoints/model"
STATE = "checkpoints/state"
FIGURES = "figures"
MEANWHILE = "meanwhile"  # evaluations while it was trained
OTHER_SCORES = "scores"  # of the suites that the run was tested on before

#: Folder below that of all studies, with the states that trainings of several lengths share.
TRUNKS = "_trunks"

#: A study's folder: what it consists of, and a folder with what steps took.
STUDY = "study.json"
TIMES = "times"

#: The file of a report's folder that others read.
VERDICT = "verdict.json"


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
    for path in sorted(runs_root.glob(f"*/*/{SPEC}")):
        try:
            spec = json.loads(path.read_text(encoding="utf-8"))
            run = RunOnDisk(
                str(spec["id"]), f"{spec['study']}/{spec['arm']} s{spec['config']['seed']}", path.parent
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if run.id not in found or (run.path / DONE).is_file():
            found[run.id] = run
    return found
