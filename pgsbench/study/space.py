"""The search space of a study: the domain of each path, and every mistake in it before anything runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from pgsbench.config.search import Range, SearchConfig
from pgsbench.errors import ConfigError, UserError, nearest
from pgsbench.study.domains import Choices, Domain, Span, domain_of
from pgsbench.study.study_file import StudyFile

#: Largest number of points of a grid, all arms together; more would take years.
MAX_POINTS = 10_000
#: Each choice is tried before a search, for each arm.
MAX_CHOICES = 1000


def domains_of(study: StudyFile) -> dict[str, Domain]:
    """Return the domain of each searched path.

    A range without a step over a field of whole numbers has a step of 1.
    """
    search = study.config.search
    return {
        path: domain_of(given, is_whole=isinstance(given, Range) and _takes_whole_numbers(study, path, given))
        for path, given in (search.space.items() if search else ())
    }


def space_problems(study: StudyFile) -> Iterator[UserError]:
    """Yield every mistake in a study's search; all paths are tried at their ends for every searched arm."""
    search = study.config.search
    if search is None:
        return
    for index, arm in enumerate(search.arms):
        place = study.place(f"search.arms.{index}")
        if arm not in study.config.arm_names:
            way_out = nearest(arm, study.config.arm_names)
            yield ConfigError("search.arms names no arm", where=place, value=arm, way_out=way_out)
        elif arm in search.arms[:index]:
            yield ConfigError("the arm is searched already", where=place, value=arm)
    if search.sampler != "grid" and search.trials is None:
        yield ConfigError(f"the {search.sampler} sampler needs `trials`", where=study.place("search"))
    if search.probe is not None and study.config.devices_per_run > 1:
        yield ConfigError(
            "probes are measured in trainings by one process only",
            where=study.place("search.probe"),
            way_out="set devices_per_run to 1, or leave probe and pruner out",
        )
    for path in search.space:
        if inside := next((other for other in search.space if other.startswith(f"{path}.")), None):
            rule, where = "a searched path must not lie inside of another", f"search.space.{path}"
            yield ConfigError(rule, where=study.place(where), value=inside)
    for path in dict.fromkeys(path for point in search.first for path in point):
        if path not in search.space:
            where, way_out = study.place("search.first"), nearest(path, search.space)
            yield ConfigError("not searched", where=where, value=path, way_out=way_out)
    domains = domains_of(study)
    for path in domains:
        yield from _domain_problems(study, search, path, domains)
    if search.sampler == "grid" and all(_is_countable(domain) for domain in domains.values()):
        count = len(_searched(study)) * math.prod(domain.size for domain in domains.values())
        if count > MAX_POINTS:
            yield ConfigError(
                f"a grid has at most {MAX_POINTS:,} points, and this one has {count:,}",
                where=study.place("search.space"),
                way_out="list fewer choices, widen a `step`, or say `sampler: tpe` and `trials`",
            )


def _is_countable(domain: Domain) -> bool:
    return isinstance(domain, Choices) or (domain.step is not None and not domain.log)


def _domain_problems(
    study: StudyFile, search: SearchConfig, path: str, domains: Mapping[str, Domain]
) -> Iterator[UserError]:
    domain, where = domains[path], study.place(f"search.space.{path}")
    if isinstance(domain, Choices):
        if doubled := domain.doubled():
            yield ConfigError("a choice is listed twice", where=where, value=doubled[0])
        if domain.size > MAX_CHOICES:
            rule = f"at most {MAX_CHOICES:,} choices can be listed"
            yield ConfigError(rule, where=where, value=domain.size)
            return
    told = set()
    for arm, value in itertools.product(_searched(study), domain.ends()):
        for problem in _value_problems(study, arm, path, value, domains):
            key = problem.rule, repr(problem.value), repr(value)
            if key not in told:  # in another arm
                told.add(key)
                place = f"{where} (arm {arm})"
                yield ConfigError(problem.rule, where=place, value=value, way_out=problem.way_out)
    if search.sampler == "grid" and not told and not _is_countable(domain):
        yield ConfigError(
            "a grid needs choices or a `step`, and no `log`",
            where=where,
            way_out="list the choices: `[0.1, 1, 10]`; or give the range a `step`",
        )


def _value_problems(
    study: StudyFile, arm: str, path: str, value: Any, domains: Mapping[str, Domain]
) -> list[UserError]:
    """Return what is wrong with one value, beside the base's values and beside others of the space."""
    known = {(problem.rule, repr(problem.value)) for problem in _problems(study, arm, {})}

    def new(params: dict[str, Any]) -> list[UserError]:
        found = _problems(study, arm, {**params, path: value})
        return [problem for problem in found if (problem.rule, repr(problem.value)) not in known]

    alone = new({})
    if alone and len(domains) > 1:  # with others it may be right: `max_ratio` is never below `mask_ratio`
        ends = [{other: domain.ends()[end] for other, domain in domains.items()} for end in (0, -1)]
        if not all(new(params) for params in ends):
            return []
    return alone


def _searched(study: StudyFile) -> list[str]:
    return [arm for arm in study.config.searched_arms if arm in study.config.arm_names]


def _problems(study: StudyFile, arm: str, params: dict[str, Any]) -> list[UserError]:
    return study.try_run(arm, params, study.config.seeds[0])[1]


def _takes_whole_numbers(study: StudyFile, path: str, given: Range) -> bool:
    # A field of real numbers turns 2 into 2.0, one of whole numbers leaves it.
    search = study.config.search
    assert search is not None
    if not (given.low.is_integer() and given.high.is_integer()):
        return False
    if given.log and search.sampler == "grid":  # which would try every whole number, evenly
        return False
    found = []
    for arm, end in itertools.product(_searched(study), Span(given.low, given.high).ends()):
        run, _ = study.try_run(arm, {path: end}, study.config.seeds[0])
        if run is not None:
            resolved: Any = run.model_dump()
            for part in path.split("."):
                resolved = resolved[part]
            found.append(type(resolved) is int)
    return bool(found) and all(found)
