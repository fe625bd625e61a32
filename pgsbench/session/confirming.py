"""The winner of a search against its rivals, with seeds that chose none of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pgsbench.config.schema import MAX_NAME, RunConfig
from pgsbench.errors import StudyError
from pgsbench.records.run_spec import RunSpec, flatten
from pgsbench.records.study_record import copy_times
from pgsbench.reporting.findings import Findings
from pgsbench.reporting.ranking import ranking
from pgsbench.reporting.results import Results
from pgsbench.session.study import Study

#: A point that is the best with a lower probability is no rival.
LEAST_PROBABLE = 0.05
MAX_RIVALS = 3
_SECTIONS = ("data", "model", "strategy", "text", "training", "budget")


def confirm(study: Study, results: Findings, *, seeds: int) -> Findings:
    """Compare the best point of a search with its rivals on fresh seeds, in the study ``<name>-confirm``.

    Rivals are the points that may be the best just as well, the best point of every other searched arm, the
    point with the study's own values, and the arms beside the search, the oracle excepted; without any of
    these, the second best point.

    Args:
        study: The study that was searched.
        results: What the search found.
        seeds: Number of fresh seeds.

    Raises:
        StudyError: No point of the search has a score, or there is but one and no other arm.
        UserError: A run failed.
    """
    found = results.statistics
    config = study.design.config
    own = study.design.run_config(config.base_arm, {}, config.seeds[0])
    winner, *others = contenders(found, flatten(own.model_dump()))
    first = 1 + max(run.seed for run in found.study.runs)
    fresh = list(range(first, first + seeds))
    specs = {label: found.study.of(label)[0].spec for label in (winner, *others)}
    settings = _settings(specs)
    base = RunConfig.model_validate(settings[winner])
    arms = {_name(label): _difference(settings[label], settings[winner]) for label in others}
    design = study.design.variant("confirm")
    question = f"Does {winner}, the best point of {study.name}, hold with fresh seeds?"
    changed = {
        "question": question,
        "search": None,
        "seeds": fresh,
        "arms": arms,
        **{section: getattr(base, section) for section in _SECTIONS},
    }
    design = replace(design, config=design.config.model_copy(update=changed), source="")
    again = study.beside(design)
    copy_times(study.runs_root / study.name, study.runs_root / again.name)  # they decide how many pairs
    confirmed = again.compare(list(arms), seeds=fresh)
    again.check_failed()
    return confirmed


def contenders(results: Results, own_values: Mapping[str, Any]) -> list[str]:
    """Return the labels that are trained with fresh seeds, the winner first.

    Args:
        results: What a search found.
        own_values: The settings of the study's base, by dotted path.

    Raises:
        StudyError: No point of the search has a score, or there is but one and no other arm.
    """
    labels, arm_of = results.study.labels, results.study.arm_of
    points = [label for label in labels if results.params_of(label)]
    values = {label: results.objective_value(label) for label in points if label not in results.too_costly}
    scored = [label for label, value in values.items() if value == value]
    if not scored:
        raise StudyError("no point of the search has a score", where=results.study.name)
    winner = results.best(scored)
    chances = {one.label: one.best for one in ranking(results)}
    close = [label for label in scored if label != winner and chances.get(label, 0.0) >= LEAST_PROBABLE]
    close = sorted(close, key=lambda label: -chances[label])[:MAX_RIVALS]
    arms = dict.fromkeys(arm_of[label] for label in scored if arm_of[label] != arm_of[winner])
    best_of = [results.best([label for label in scored if arm_of[label] == arm]) for arm in arms]
    of_base = [label for label in points if arm_of[label] == results.study.record.config.base_arm]
    params = {label: results.params_of(label) for label in of_base if label != winner}
    own = [one for one, at in params.items() if all(own_values.get(path) == at[path] for path in at)]
    beside = [label for label in labels if label not in points and arm_of[label] not in results.study.oracles]
    rivals = [*close, *best_of, *own, *beside]
    others = [label for label in scored if label != winner]
    if not rivals and not others:
        way_out = "give the search more points, or the study an arm beside it"
        raise StudyError("the search has one point and no rival", where=results.study.name, way_out=way_out)
    return list(dict.fromkeys([winner, *(rivals or [results.best(others)])]))


def _settings(specs: Mapping[str, RunSpec]) -> dict[str, dict[str, Any]]:
    """Return what each label was trained with: its budget, or its pairs where not every label has one."""
    have_budgets = all(spec.config.budget for spec in specs.values())
    found = {label: spec.config.model_dump(include=set(_SECTIONS)) for label, spec in specs.items()}
    for sections in found.values():
        if have_budgets:
            del sections["training"]["samples"]  # they follow from it
        else:
            sections["budget"] = None
    return found


def _difference(settings: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections in which an arm differs from the base, whole."""
    return {section: value for section, value in settings.items() if value != base[section]}


def _name(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", label)[:MAX_NAME]
