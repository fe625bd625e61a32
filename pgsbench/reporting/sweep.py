"""The points of a search: where the best lie, which parameters mattered, and the winner as a study file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from pgsbench.config.domains import Range
from pgsbench.disk.whole_files import atomic
from pgsbench.errors import StudyError
from pgsbench.records.run_spec import short, short_paths
from pgsbench.reporting.pareto import choose
from pgsbench.reporting.ranking import ranking
from pgsbench.reporting.render import COUNT, MISSING_CELL, PERCENT, Header, Table, and_, counted, percent
from pgsbench.reporting.results import Results
from pgsbench.reporting.run_list import study_folder
from pgsbench.reporting.study_frames import read_frames
from pgsbench.reporting.words import Badge, badge

TOO_COSTLY = "too costly"
#: Points on the first screen.
MAX_POINTS = 5
#: A best value can lie on the border of so many values or more; of two each is an end.
MIN_VALUES = 3
#: A sampled value so near an end, as a share of the space, lies on the border.
NEAR = 0.02
#: Seeds of the study file that is written: enough for an interval over seeds.
FRESH_SEEDS = 3


def searched_labels(results: Results) -> list[str]:
    """Return the points of a search that chooses; none of a search over data, whose points are worlds."""
    return (
        [] if results.is_over_data else [label for label in results.study.labels if results.params_of(label)]
    )


def searched_values(results: Results) -> dict[str, list[object]]:
    """Return path -> the values that were searched, where they are several; numbers rise."""
    found: dict[str, list[object]] = {}
    for label in searched_labels(results):
        for path, value in results.params_of(label).items():
            if value not in (known := found.setdefault(path, [])):
                known.append(value)
    return {
        path: sorted(values, key=float) if are_numbers(values) else values  # type: ignore[arg-type]
        for path, values in found.items()
        if len(values) > 1
    }


def are_numbers(values: list[object]) -> bool:
    """Whether values have a place on an axis of numbers."""
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def is_line(results: Results) -> bool:
    """Whether a search is over one path of numbers, so that scores are a line over it."""
    values = searched_values(results)
    return len(values) == 1 and all(map(are_numbers, values.values()))


def best_points(results: Results) -> dict[str, str]:
    """Return searched arm -> its best point by the study's objective; arms without any score are left out."""
    found: dict[str, list[str]] = {}
    for label in searched_labels(results):
        if not np.isnan(results.objective_value(label)) and label not in results.too_costly:
            found.setdefault(results.study.arm_of[label], []).append(label)
    return {arm: results.best(labels) for arm, labels in found.items()}


def rivals(results: Results, best: str) -> list[str]:
    """Return the other searched points that may be the best just as well."""
    points = set(searched_labels(results)) - {best}
    order = {one.label: one for one in ranking(results)}
    if best not in order:
        return sorted(points)
    return [label for label, one in order.items() if label in points and one.first <= order[best].first]


def said_point(results: Results, label: str) -> str:
    """Return a point as in a sentence: ``"flip at mask_ratio 0.25"``."""
    params = results.params_of(label)
    names = short_paths(params)
    at = ", ".join(f"{names[path]} {short(value)}" for path, value in params.items())
    return f"{results.study.arm_of[label]} at {at}"


def on_borders(results: Results) -> list[Badge]:
    """Return a warning for each path on whose border the best of an arm lies."""
    search, best, searched = (
        results.study.record.config.search,
        best_points(results),
        searched_values(results),
    )
    names, found = short_paths(searched), []
    for path, values in searched.items():
        domain = search.space.get(path) if search else None
        if not are_numbers(values) or (len(values) < MIN_VALUES and not isinstance(domain, Range)):
            continue
        ends = (domain.low, domain.high) if isinstance(domain, Range) else (values[0], values[-1])
        at = {arm: results.params_of(label).get(path) for arm, label in best.items()}
        is_log = isinstance(domain, Range) and domain.log
        arms = [
            arm for arm, value in at.items() if value is not None and _is_end(value, *ends, is_log=is_log)
        ]
        if arms:
            said = " to ".join(map(short, ends))
            found.append(badge("on the border", arms=and_(arms), path=names[path], ends=said))
    return found


def _is_end(value: Any, low: Any, high: Any, *, is_log: bool) -> bool:
    value, low, high = np.log((value, low, high)) if is_log else (value, low, high)
    return not NEAR < (value - low) / (high - low) < 1 - NEAR


def sweep_table(results: Results, *, max_points: int = MAX_POINTS) -> Table | None:
    """The best searched points by the study's metric; None where nothing was searched, or worlds were."""
    labels = searched_labels(results)
    if not labels:
        return None
    metric, costly, pruned = results.objective.name, results.too_costly, results.study.pruned_labels
    scored = {label: results.objective_value(label) for label in labels}
    ranked = sorted(scored, key=lambda label: (label in costly, -np.nan_to_num(scored[label], nan=-np.inf)))
    paths = list(dict.fromkeys(path for label in ranked for path in results.params_of(label)))
    best = set(best_points(results).values())
    rows: list[list[object]] = []
    for label in ranked[:max_points]:
        value: object = scored[label]
        if label in costly or np.isnan(scored[label]):
            value = TOO_COSTLY if label in costly else "pruned" if label in pruned else MISSING_CELL
        point = [results.study.arm_of[label], *results.chosen(label, paths)]
        rows.append([*point, value, results.said_seeds(label), "★" if label in best else ""])
    notes = [f"{len(rows)} of {len(ranked)} points, by {metric} (percent). ★: the best of its arm."]
    names = short_paths(paths, taken=("arm", "seeds", metric)).values()
    header: Header = ["arm", *names, (metric, PERCENT), ("seeds", COUNT), "best"]
    return Table("Best points of the search", header, rows, notes)


def importance_table(results: Results) -> Table | None:
    """Which searched parameters moved the score of a search that samples; None where it cannot be told.

    Nor where the search is over data: it would say which world is hard.
    """
    found = results.study.record.importances
    if found is None or results.is_over_data:
        return None
    names = short_paths(found.shares)
    rows = [[names[path], share] for path, share in found.shares.items()]
    notes = [
        f"Percent of the variance of the score, fANOVA (Hutter et al. 2014) over {found.num_points} points: "
        "the view of a forest of trees, not a test. It says what moved the score, not which way."
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
    label = choose(results, within=within)
    if label is None:
        has_points = any(results.params_of(label) for label in results.study.labels)
        rule = "no point of the search has a score" if has_points else "the study has searched nothing"
        if results.too_costly:
            rule += ", but for such that cost more than search.at_most allows"
        raise StudyError(rule, where=study, way_out=f"`pgsbench sweep {study}` searches it")
    with atomic(path) as scratch:
        scratch.write_text(_study_file(results, label, within, path.stem), encoding="utf-8")
    return label


def _study_file(results: Results, label: str, within: float, name: str) -> str:
    study, best = results.study.name, choose(results)
    spec = results.study.of(label)[0].spec
    first = max(run.seed for run in results.study.runs) + 1
    chosen = ", ".join(f"{path} = {short(value)}" for path, value in spec.params.items())
    seeds = counted(results.seeds(label)[0], "seed")
    score = f"{percent(results.objective_value(label))} ({results.objective.name}, mean of {seeds})"
    why = f"It has the highest {results.objective.name} of {counted(len(searched_labels(results)), 'point')}."
    if label != best:
        why = f"It is the cheapest that is at most {within:g} points behind the best, {best}."
    if costly := len(results.too_costly):
        why += f" {counted(costly, 'point')} above search.at_most left out."
    content = {
        "question": f"Does what was chosen in the study {study} hold with fresh seeds?",
        **spec.config.model_dump(mode="json", exclude={"seed"}),
        "evaluation": spec.evaluation.model_dump(mode="json"),
        "seeds": list(range(first, first + FRESH_SEEDS)),
    }
    head = [
        f"A point of the study {study}: arm {spec.arm}, {chosen}.",
        why,
        f"Its score there: {score}.",
        "The best of many is flattered by chance, so the seeds below are none that chose it.",
        f"Command: pgsbench compare --study {name}.yaml --baselines flip",
    ]
    yaml, text = YAML(), io.StringIO()
    yaml.width = 110
    yaml.dump(content, text)
    return "".join(f"# {line}\n" for line in head) + text.getvalue()
