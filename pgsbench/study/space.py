"""A search space beside the fields it ranges over: which of them take whole numbers only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pgsbench.config.schema import Range
from pgsbench.errors import ConfigError, UserError
from pgsbench.study.study import Study


def over_whole_numbers(study: Study) -> Study:
    """Give the ranges of fields that take whole numbers a step of 1, where they have none."""
    search = study.config.search
    if search is None:
        return study
    space: dict[str, Any] = {
        path: domain.model_copy(update={"step": 1.0})
        if isinstance(domain, Range) and domain.step is None and _takes_whole_numbers(study, path, domain)
        else domain
        for path, domain in search.space.items()
    }
    changed = search.model_copy(update={"space": space})
    return replace(study, config=study.config.model_copy(update={"search": changed}))


def _takes_whole_numbers(study: Study, path: str, domain: Range) -> bool:
    # A field of real numbers turns 2 into 2.0, one of whole numbers leaves it.
    search = study.config.search
    assert search is not None
    if not (domain.low.is_integer() and domain.high.is_integer()):
        return False
    if domain.log and search.sampler == "grid":  # which would try every whole number, evenly
        return False
    found = []
    for arm in search.arms or [study.config.base_arm]:
        for end in (domain.low, domain.high):
            try:
                resolved: Any = study.run_config(arm, {path: int(end)}, study.config.seeds[0]).model_dump()
            except UserError:  # said when the space is checked
                continue
            for part in path.split("."):
                resolved = resolved[part]
            found.append(type(resolved) is int)
    return bool(found) and all(found)


def grid_problems(study: Study) -> Iterator[UserError]:
    """Yield a mistake for each range that a grid cannot count through."""
    search = study.config.search
    if search is not None and search.sampler == "grid":
        for path, domain in search.space.items():
            if isinstance(domain, Range) and (domain.step is None or domain.log):
                yield ConfigError(
                    "a grid needs choices or a `step`, and no `log`",
                    where=study.place(f"search.space.{path}"),
                    way_out="list the choices: `[0.1, 1, 10]`; or give the range a `step`",
                )
