"""A campaign of faults against searches that several processes share: `make chaos`.

Each schedule starts three processes on one search, strikes one to three times while they work, and then
gives the same command once more, undisturbed. The kinds of schedules:

- SCHEDULES: trainings are made up and take milliseconds, so that there can be many; claims, manifest, search,
  Optuna's record in SQLite and recovery are the real ones.
- SERVERS: likewise, with Optuna's record in PostgreSQL and a mirror in MLflow, both of which go and return.
- REAL: trainings and evaluations of a tiny model are real.
- TOGETHER: two sweeps and three workers on one search in PostgreSQL, undisturbed.

The invariants:

- the search is complete: each point and seed was trained, with the scores of a quiet run, bit for bit, and
  where trainings are real, with its weights;
- no two processes ever worked on one run at the same time;
- Optuna's record has each point once, and no trial that still runs; MLflow has each run once, finished;
- no process is left, and none has ended with a traceback of a bug.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from disk import Disk

KINDS = {"SCHEDULES": 200, "SERVERS": 20, "REAL": 10, "TOGETHER": 20}


def main() -> None:
    """Run a campaign in a process of its own, whose disk can break."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for kind, count in KINDS.items():
        parser.add_argument(f"--{kind.lower()}", type=int, default=count, help=f"how many {kind} there are")
    parser.add_argument("--only", choices=KINDS, help="one schedule of this kind, such as one that failed")
    parser.add_argument("--seed", type=int, default=0, help="of the first schedule")
    parser.add_argument(
        "--results", type=Path, help="a file to which each schedule adds a line; it goes on there"
    )
    options = parser.parse_args()
    if "CHAOS_HOME" not in os.environ:
        home = Path(tempfile.mkdtemp(prefix="chaos"))
        environment = os.environ | (Disk(home).environment if Disk.can_be_built() else {})
        if not Disk.can_be_built():
            print("no C compiler (cc): the disk cannot break")
        os.execve(sys.executable, [sys.executable, *sys.argv], environment | {"CHAOS_HOME": str(home)})
    import campaign

    counts = {kind: getattr(options, kind.lower()) for kind in KINDS}
    if options.only:
        counts = {options.only: 1}
    home = Path(os.environ.pop("CHAOS_HOME"))
    sys.exit(campaign.run(counts, options.seed, home, options.results or home / "results") > 0)


if __name__ == "__main__":
    main()
