"""Print what studies say of how much seeds matter, as rows of ``pgsbench/reporting/seed_spreads.jsonl``.

``python -m research.spread_row runs/photos >> pgsbench/reporting/seed_spreads.jsonl``
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pgsbench.errors import UserError
from pgsbench.reporting.recipe_spread import estimates, pooled, recipe_of, training_of
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import Frames, read_frames


def rows(study: Frames) -> Iterator[dict[str, Any]]:
    """Yield a row for each recipe of a study that says something of seeds.

    Args:
        study: The study as read from disk.
    """
    evaluated = [run for run in study.runs if run.is_evaluated]
    for recipe in dict.fromkeys(recipe_of(run.spec) for run in evaluated):
        part = replace(study, runs=tuple(run for run in evaluated if recipe_of(run.spec) == recipe))
        results, scopes = Results(part), {}
        for of, tasks in {**results.groups, **results.tasks}.items():
            found = estimates(part.values, tasks, study.name)
            if spread := pooled(found):
                df = sum(one.df for one in found)
                scopes[of] = {"variance": spread.variance, "noise": spread.noise, "df": df}
        if scopes:
            trainings = sorted({training_of(run.spec) for run in part.runs})
            yield {"source": study.name, "recipe": recipe, "trainings": trainings, "scopes": scopes}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the rows of some studies; arguments as of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="+", type=Path, metavar="runs/STUDY", help="Folders of studies.")
    try:
        for folder in parser.parse_args(arguments).studies:
            for row in rows(read_frames(folder)):
                print(json.dumps(row))
    except UserError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
