"""From a study file and overrides to a study, or to all of its mistakes at once; needs no model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pgsbench.config.read import check_all, parse_override, set_path
from pgsbench.config.schema import StudyConfig
from pgsbench.config.yaml_text import parse_yaml, place_in, read_text
from pgsbench.disk.whole_files import is_file
from pgsbench.errors import ConfigError, UserError, nearest
from pgsbench.evaluation.suite import Suite, load_suite, part_named
from pgsbench.hashing import digest
from pgsbench.study import studies
from pgsbench.study.design import Design
from pgsbench.study.objective import Objective
from pgsbench.study.space import space_problems

#: What may be overridden in a study without making it another one, whose report would replace the first's.
_SAME_STUDY = {"question", "seeds", "search", "explained"}


def open_by_name(
    name: str | Path,
    *,
    overrides: Sequence[str] | Mapping[str, object] = (),
    seeds: int | None = None,
) -> Design:
    """Open a study as people ask for it.

    Args:
        name: A study file, or the name of a study that ships.
        overrides: What differs from the file, as ``"a.b=value"`` texts or a mapping ``{"a.b": value}``. With
            another base or other arms it is another study, whose name ends in a hash of the overrides.
        seeds: Number of seeds, 0, 1, ...; None: the study's own.

    Raises:
        ConfigError: There is no such study, or every mistake in it.
        PluginError: A strategy cannot be found, imported or built.
    """
    if isinstance(overrides, Mapping):
        overrides = [f"{path}={json.dumps(value)}" for path, value in overrides.items()]
    path = find_study(str(name))
    study = open_study_file(path, overrides=overrides)
    changed = {override.partition("=")[0].strip().partition(".")[0] for override in overrides}
    if "name" not in changed and changed - _SAME_STUDY:
        study = study.variant(digest(sorted(overrides))[:6])
    return study if seeds is None else study.with_seeds(range(seeds))


def find_study(name: str) -> Path:
    """Return the path of a study file: the path itself, or a shipped study by path, file or bare name.

    Raises:
        ConfigError: There is none.
    """
    if is_file(Path(name)):
        return Path(name)
    known = studies()
    bare = Path(name).as_posix().removeprefix("studies/").removesuffix(".yaml")
    if bare not in known:
        way_out = nearest(bare, known)
        raise ConfigError("there is no such study file", where="STUDY", value=name, way_out=way_out)
    return known[bare]


def open_study_file(path: Path, *, overrides: Sequence[str] = ()) -> Design:
    """Read and check a study file, the fields of its strategies included.

    Args:
        path: The YAML file.
        overrides: ``a.b=value`` texts; values have YAML's meaning.

    Raises:
        ConfigError: Every mistake in the file and the overrides, each with place, rule and way out.
        PluginError: A strategy cannot be found, imported or built.
    """
    source = read_text(path)
    data, lines = parse_yaml(source, str(path))
    if not isinstance(data, dict):
        raise ConfigError("a study file is a mapping of keys to values", where=str(path), value=data)
    given = _override(data, overrides)

    def place(dotted: str) -> str:
        if not dotted:
            return str(path)
        inside = (parent for parent in given if f"{dotted.partition(', ')[0]}.".startswith(f"{parent}."))
        override = max(inside, key=len, default=None)
        if override:  # it has taken the place of everything below it in the file
            return f"--set {given[override]}: {dotted}"
        return place_in(path, lines, dotted)

    data["name"] = data.get("name") or path.stem
    checked = check_all(StudyConfig, data, place)
    problems = list(checked.problems)
    if checked.model is None:
        raise ConfigError.collect(problems, where=str(path))
    study = Design(checked.model, source, path.parent, place)
    problems += _arm_problems(study)
    problems += space_problems(study)
    if study.config.tune is not None:
        problems += space_problems(study.tuning(study.config.arm_names))
    problems += _suite_problems(study)
    if problems:
        raise ConfigError.collect(problems, where=str(path))
    return study


def _override(data: dict[str, Any], overrides: Sequence[str]) -> dict[str, str]:
    """Set what overrides say; return the override of each dotted path."""
    given: dict[str, str] = {}
    problems: list[UserError] = []
    for override in overrides:
        try:
            dotted, value = parse_override(override)
            set_path(data, dotted, value)
            given[dotted] = override
        except UserError as error:
            problems.append(error)
    if problems:
        raise ConfigError.collect(problems)
    return given


def _arm_problems(study: Design) -> Iterator[UserError]:
    seen = set()
    for arm in study.config.arm_names:
        for problem in study.try_run(arm, {}, study.config.seeds[0])[1]:
            located = problem.moved(study.place)
            if str(located) not in seen:  # a mistake in the base shows in every arm
                seen.add(str(located))
                yield located


def _suite_problems(study: Design) -> Iterator[UserError]:
    search, during = study.config.search, study.config.evaluation.during
    checks: list[Callable[[Suite], object]] = []
    if search is not None:
        checks.append(Objective(search.metrics[0]).check)
    if during is not None:
        checks.append(partial(part_named, names=during.tasks))
    tune = study.config.tune
    if tune is not None and tune.on == "dev":
        checks.append(Objective(tune.metric).check)
    problems: list[UserError] = []
    try:
        suite = load_suite(study.config.evaluation.suite)
    except UserError as error:
        problems, checks = list(error.problems), []
    for check in checks:
        try:
            check(suite)
        except UserError as error:
            problems += error.problems
    for problem in problems:
        is_ours = problem.where in ("evaluation.suite", "search.metric", "evaluation.during.tasks")
        yield problem.moved(study.place) if is_ours else problem
