"""Write a run directory, a study and an Optuna record as this version does, to be kept for later versions.

Run as ``PYTHONPATH=tests:tests/execution python tests/kept/make.py tests/kept/0.1``. What is kept is never
written anew: `test_kept.py` is there to see that later versions read it.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import test_many_processes as many
import tinyworld
import torch

from pgsbench.experiment import run_once
from pgsbench.records import files

SEARCH = ["search={space: {strategy.mask_ratio: [0.25, 0.75]}, arms: [pgs]}"]


def main(out: Path) -> None:
    """Write everything below `out`, which must not exist."""
    out.mkdir(parents=True)
    home = Path(tempfile.mkdtemp())
    os.environ["PGSBENCH_DATA"] = str(home / "data")
    (home / "world").mkdir()
    world, root = tinyworld.make(home / "world"), home / "runs"
    folder = many.folder_of(world.study, root, ["search=null", "name=kept", "training.samples=32"])
    specs = folder.planner.specs(["pgs"])
    folder.add(specs)
    torch.set_num_threads(1)
    run = run_once(specs[0], runs_root=root, device=torch.device("cpu"))
    shutil.rmtree(run.path / files.CHECKPOINT)  # megabytes of weights, in open_clip's own format
    many.take_part(world.study, root, [*SEARCH, "name=searched"], 0.0)
    for path in sorted(root.rglob("*.json*")):  # of this machine
        path.write_text(path.read_text().replace(str(home), "/somewhere"))
    for path in root.rglob(".*"):
        if path.is_file():
            path.unlink()
    (root / "trained").unlink()
    (root / "worked").unlink()
    shutil.copytree(root, out / "runs")
    shutil.rmtree(home)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
