"""The tables of a search: its best points, and which of its parameters mattered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pgsbench.records.run_spec import short, short_paths
from pgsbench.reporting.render import MISSING_CELL, PERCENT, Header, Table, counted
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.comparison import ONE_RUN
from pgsbench.reporting.study_frames import PRUNED

TOO_COSTLY = "too costly"
#: Most points that are shown.
MAX_POINTS = 10


def sweep_table(results: Results) -> Table | None:
    """The best searched points by the study's metric; None where nothing was searched, or worlds were."""
    points_searched = [label for label in results.study.labels if results.params_of(label)]
    if not points_searched or results.is_over_data:
        return None
    metric = results.objective.name
    scored = {label: results.objective_value(label) for label in points_searched}
    costly = results.too_costly
    ranked = sorted(
        points_searched, key=lambda label: (label in costly, -np.nan_to_num(scored[label], nan=-np.inf))
    )
    paths = list(dict.fromkeys(path for label in ranked for path in results.params_of(label)))
    rows, pruned = [], results.study.pruned_labels
    for label in ranked[:MAX_POINTS]:
        params, (done, planned) = results.params_of(label), results.seeds(label)
        missing = PRUNED if label in pruned else MISSING_CELL
        value = missing if np.isnan(scored[label]) else scored[label]
        value = TOO_COSTLY if label in costly else value
        chosen = [short(params[path]) if path in params else "" for path in paths]
        rows.append([results.study.of(label)[0].arm, *chosen, f"{done} of {planned}", value])
    notes = [f"{ONE_RUN.capitalize()}: one seed a point."] if _have_one_seed(results, ranked) else []
    notes += [
        f"{min(MAX_POINTS, len(ranked))} of {len(ranked)} points, by {metric} (percent, mean over seeds)."
    ]
    if costly:
        notes.append(f"{TOO_COSTLY.capitalize()}: above search.at_most, so no point to choose.")
    if pruned:
        notes.append(pruned_sentence(results))
    if len(ranked) > 1:
        notes.append("The best of many is flattered by chance: confirm it with fresh seeds.")
    names = short_paths(paths, taken=("arm", "seeds", metric)).values()
    header: Header = ["arm", *names, "seeds", (metric, PERCENT)]
    return Table("Best points of the search", header, rows, notes)


def pruned_sentence(results: Results) -> str:
    """Return how many points were pruned, and how long their trainings would have taken."""
    search, study = results.study.record.config.search, results.study
    assert search is not None
    said = f"{counted(len(study.pruned_labels), 'point')} pruned ({search.pruner}): they count nowhere, and "
    return f"{said}{study.saved_seconds / 3600:.2g} hours of training were saved, by their own speed."


def importance_table(results: Results) -> Table | None:
    """Which searched parameters moved the score of a search that samples; None where it cannot be told.

    Nor where the search is over data: it would say which world is hard.
    """
    found = results.study.record.importances
    if found is None or results.is_over_data:
        return None
    names = short_paths(found.shares)
    rows = [[names[path], share] for path, share in found.shares.items()]
    notes = [f"{ONE_RUN.capitalize()}: one seed a point, so chance counts as effect."] * (
        found.num_seeds == 1
    )
    notes += [
        f"Percent of the variance of the score. fANOVA (Hutter et al. 2014) over {found.num_points} points: "
        "a forest of trees is fitted to them, and its variance split up. It is a model's view, not a test.",
        "It says what moved the score within the ranges that were searched, not which way.",
    ]
    return Table("What mattered in the search", ["parameter", ("share", PERCENT)], rows, notes)


def _have_one_seed(results: Results, labels: Sequence[str]) -> bool:
    return {results.seeds(label)[0] for label in labels} <= {0, 1}
