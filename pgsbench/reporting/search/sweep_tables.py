"""The points of a search: the best as a table, the winner as a study file, and which parameters mattered."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from pgsbench.disk.whole_files import atomic
from pgsbench.errors import StudyError
from pgsbench.records.run_spec import short, short_paths
from pgsbench.reporting.pareto import Choice, choose
from pgsbench.reporting.render import MISSING_CELL, PERCENT, Header, Table, counted, percent
from pgsbench.reporting.results import Results
from pgsbench.reporting.runs.on_disk import study_folder
from pgsbench.reporting.statistics.comparison import ONE_RUN
from pgsbench.reporting.study_frames import read_frames

TOO_COSTLY = "too costly"
#: Most points that are shown.
MAX_POINTS = 10
#: Seeds of the study file that is written: enough for an interval over seeds.
FRESH_SEEDS = 3


def sweep_table(results: Results) -> Table | None:
    """The best searched points by the study's metric; None where nothing was searched, or worlds were."""
    points_searched = [label for label in results.study.labels if results.params_of(label)]
    if not points_searched or results.is_over_data:
        return None
    metric, costly, pruned = results.objective.name, results.too_costly, results.study.pruned_labels
    scored = {label: results.objective_value(label) for label in points_searched}
    ranked = sorted(scored, key=lambda label: (label in costly, -np.nan_to_num(scored[label], nan=-np.inf)))
    paths = list(dict.fromkeys(path for label in ranked for path in results.params_of(label)))
    rows: list[list[object]] = []
    for label in ranked[:MAX_POINTS]:
        done, planned = results.seeds(label)
        value: object = scored[label]
        if label in costly or np.isnan(scored[label]):
            value = TOO_COSTLY if label in costly else "pruned" if label in pruned else MISSING_CELL
        chosen = results.chosen(label, paths)
        rows.append([results.study.arm_of[label], *chosen, f"{done} of {planned}", value])
    has_one_seed = {results.seeds(label)[0] for label in ranked} <= {0, 1}
    notes = [f"{ONE_RUN.capitalize()}: one seed a point."] * has_one_seed
    notes.append(f"{len(rows)} of {len(ranked)} points, by {metric} (percent, mean over seeds).")
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


def write_best(study: str, path: Path, *, within: float = 0.0, output: str | Path = ".") -> str:
    """Write the best searched point of a study, or one that is cheaper, as a study file; return its label.

    It has seeds that did not choose the point.

    Args:
        study: Name of a study that has been searched.
        path: The file to write, ``NAME.yaml``.
        within: The cheapest point at most so many points behind the best (`pgsbench.reporting.pareto`).
        output: The folder of ``runs/``.

    Raises:
        StudyError: The study has not been searched, no point has a score, or the file exists.
    """
    if path.suffix != ".yaml" or path.exists():
        rule = "the file exists already" if path.exists() else "a study file ends in .yaml"
        raise StudyError(rule, where=str(path), way_out="name a new file, NAME.yaml")
    results = Results(read_frames(study_folder(output, study)))
    choice = choose(results, within=within)
    if choice is None:
        has_points = any(results.params_of(label) for label in results.study.labels)
        rule = "no point of the search has a score" if has_points else "the study has searched nothing"
        if results.too_costly:
            rule += ", but for such that cost more than search.at_most allows"
        raise StudyError(rule, where=study, way_out=f"`pgsbench sweep {study}` searches it")
    with atomic(path) as scratch:
        scratch.write_text(_study_file(results, choice, path.stem), encoding="utf-8")
    return choice.label


def _study_file(results: Results, choice: Choice, name: str) -> str:
    study, label = results.study.name, choice.label
    spec = results.study.of(label)[0].spec
    first = max(run.seed for run in results.study.runs) + 1
    chosen = ", ".join(f"{path} = {short(value)}" for path, value in spec.params.items())
    seeds = counted(results.seeds(label)[0], "seed")
    score = f"{percent(results.objective_value(label))} ({results.objective.name}, mean of {seeds})"
    content = {
        "question": f"Does what was chosen in the study {study} hold with fresh seeds?",
        **spec.config.model_dump(mode="json", exclude={"seed"}),
        "evaluation": spec.evaluation.model_dump(mode="json"),
        "seeds": list(range(first, first + FRESH_SEEDS)),
    }
    head = [
        f"A point of the study {study}: arm {spec.arm}, {chosen}.",
        choice.sentence,
        f"Its score there: {score}.",
        "The best of many is flattered by chance, so the seeds below are none that chose it.",
        f"Command: pgsbench compare --study {name}.yaml --baselines flip",
    ]
    yaml, text = YAML(), io.StringIO()
    yaml.width = 110
    yaml.dump(content, text)
    return "".join(f"# {line}\n" for line in head) + text.getvalue()
