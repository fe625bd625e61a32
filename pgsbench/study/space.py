"""The search space of a study: the domain of each path, and every mistake in it before anything runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from pgsbench.config.search import Listed, Range, SearchConfig
from pgsbench.errors import ConfigError, UserError, nearest
from pgsbench.study.design import Design
from pgsbench.study.domains import Choices, Domain, Span, domain_of

#: Largest number of points of a grid, all arms together; more would take years.
MAX_POINTS = 10_000
#: Each choice is tried before a search, for each arm.
MAX_CHOICES = 1000


def domains_of(study: Design) -> dict[str, Domain]:
    """Return the domain of each searched path.

    A range without a step over a field of whole numbers has a step of 1.
    """
    return {path: domain for path, (domain, _) in _domains(study).items()}


def space_problems(study: Design) -> Iterator[UserError]:
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
    yield from _overlaps(study, search)
    if conditions := list(_condition_problems(study, search)):
        yield from conditions
        return
    found = _domains(study)
    domains = {path: domain for path, (domain, _) in found.items()}
    for path, (_, is_known) in found.items():
        yield from _domain_problems(study, search, path, domains, is_known=is_known)
    yield from _count_problems(study, search, list(domains.values()))


def _overlaps(study: Design, search: SearchConfig) -> Iterator[UserError]:
    for path in search.space:
        if inside := next((other for other in search.space if other.startswith(f"{path}.")), None):
            yield ConfigError(
                f"a searched path must not lie inside of another: {inside}",
                where=study.place(f"search.space.{path}"),
                way_out="search one of the two, or make arms of the wider one",
            )


def _condition_problems(study: Design, search: SearchConfig) -> Iterator[UserError]:
    before: dict[str, Domain] = {"arm": Choices(tuple(_searched(study)))}
    for path, given in search.space.items():
        for other, values in given.when.items() if isinstance(given, Range | Listed) else ():
            where = study.place(f"search.space.{path}")
            if other not in before:
                yield ConfigError(
                    "`when` names `arm`, or a path that stands before",
                    where=where,
                    value=other,
                    way_out=nearest(other, before),
                )
            elif strange := [value for value in values if not before[other].contains(value)]:
                yield ConfigError(f"{other} never has this value", where=where, value=strange[0])
        before[path] = domain_of(given)
    for point in search.first:
        for path in point:
            if path not in search.space:
                way_out = nearest(path, search.space)
                yield ConfigError(
                    "not searched", where=study.place("search.first"), value=path, way_out=way_out
                )


def _domain_problems(
    study: Design, search: SearchConfig, path: str, domains: Mapping[str, Domain], *, is_known: bool
) -> Iterator[UserError]:
    domain = domains[path]
    where = study.place(f"search.space.{path}")
    if isinstance(domain, Choices):
        if doubled := domain.doubled():
            yield ConfigError("a choice is listed twice", where=where, value=doubled[0])
        if domain.size > MAX_CHOICES:
            yield ConfigError(
                f"at most {MAX_CHOICES:,} choices can be listed", where=where, value=domain.size
            )
            return
    elif search.sampler == "grid" and is_known and (domain.step is None or domain.log):
        yield ConfigError(
            "a grid needs choices or a `step`, and no `log`",
            where=where,
            way_out="list the choices: `[0.1, 1, 10]`; or give the range a `step`",
        )
    told = set()
    others = {other: one for other, one in domains.items() if other != path}
    for arm, value in itertools.product(_searched(study), domain.ends()):
        needed = {other: values[0] for other, values in domain.when if other != "arm"}
        if not domain.is_active({**needed, "arm": arm}):
            continue
        for problem in _value_problems(study, arm, path, value, others, needed):
            key = problem.rule, repr(problem.value), repr(value)
            if key not in told:  # in another arm
                told.add(key)
                place = f"{where} (arm {arm})"
                yield ConfigError(problem.rule, where=place, value=value, way_out=problem.way_out)


def _value_problems(
    study: Design,
    arm: str,
    path: str,
    value: Any,
    others: Mapping[str, Domain],
    needed: Mapping[str, Any],
) -> list[UserError]:
    """Return what is wrong with one value, beside the base's values and beside others of the space.

    `needed` are the values of other paths without which this path does not exist.
    """
    known = {(problem.rule, repr(problem.value)) for problem in _problems(study, arm, {})}

    def new(params: dict[str, Any]) -> list[UserError]:
        found = _problems(study, arm, {**params, **needed, path: value})
        return [problem for problem in found if (problem.rule, repr(problem.value)) not in known]

    alone = new({})
    if alone and others:  # with which it may be right: `max_ratio` is never below `mask_ratio`
        ends = [{other: one.ends()[end] for other, one in others.items() if not one.when} for end in (0, -1)]
        if not all(new(params) for params in ends):
            return []
    return alone


def _count_problems(study: Design, search: SearchConfig, domains: list[Domain]) -> Iterator[UserError]:
    is_countable = all(isinstance(domain, Choices) or domain.step is not None for domain in domains)
    if search.sampler != "grid" or not is_countable:
        return
    count = len(_searched(study)) * math.prod(domain.size for domain in domains)
    if count > MAX_POINTS:
        yield ConfigError(
            f"a grid has at most {MAX_POINTS:,} points, and this one has {count:,}",
            where=study.place("search.space"),
            way_out="list fewer choices, widen a `step`, or say `sampler: tpe` and `trials`",
        )


def _searched(study: Design) -> list[str]:
    return [arm for arm in study.config.searched_arms if arm in study.config.arm_names]


def _problems(study: Design, arm: str, params: dict[str, Any]) -> list[UserError]:
    return study.try_run(arm, params, study.config.seeds[0])[1]


def _domains(study: Design) -> dict[str, tuple[Domain, bool]]:
    """Return the domain of each path, and whether it is known if its field takes whole numbers only."""
    search = study.config.search
    found = {}
    for path, given in search.space.items() if search else ():
        takes_whole = _takes_whole_numbers(study, path, given) if isinstance(given, Range) else False
        found[path] = domain_of(given, is_whole=bool(takes_whole)), takes_whole is not None
    return found


def _takes_whole_numbers(study: Design, path: str, given: Range) -> bool | None:
    # A field of real numbers turns 2 into 2.0, one of whole numbers leaves it. None: no run says which.
    search = study.config.search
    assert search is not None
    if not (given.low.is_integer() and given.high.is_integer()):
        return False
    if given.log and search.sampler == "grid":  # which would try every whole number, evenly
        return False
    found = []
    for arm in _searched(study):
        for end in Span(given.low, given.high).ends():
            needed = {other: values[0] for other, values in given.when.items() if other != "arm"}
            run, _ = study.try_run(arm, {**needed, path: end}, study.config.seeds[0])
            if run is not None:
                resolved: Any = run.model_dump()
                for part in path.split("."):
                    resolved = resolved[part]
                found.append(type(resolved) is int)
    return all(found) if found else None
