"""Comparing masks: once, or with more and more seeds until it is decided."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pgsbench.config.schema import MAX_SEEDS, arm_name
from pgsbench.errors import ConfigError
from pgsbench.records import files
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.study_record import DecisionPlan, Margin, StudyRecord
from pgsbench.reporting.decision.comparisons import decisions
from pgsbench.reporting.decision.decide import DEFAULT_MAX_SEEDS, looks_of
from pgsbench.reporting.findings import Findings
from pgsbench.reporting.recipe_spread import Lenders, training_of
from pgsbench.reporting.render import counted, marked, points
from pgsbench.reporting.statistics.comparison import Comparison
from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.session.opening import open_study
from pgsbench.session.study import Study
from pgsbench.tracking.rundir import all_runs


def compare(
    baselines: Sequence[str],
    candidate: str | None = None,
    study: str | Path = "baselines",
    **options: Any,
) -> Findings:
    """Compare a mask with others in one call: `open_study` with `options`, then `Study.compare`.

    Raises:
        UserError: The study has mistakes, there is no such arm, or a run failed.
    """
    opened = open_study(study, **options)
    results = opened.compare(baselines, candidate=candidate)
    opened.check_failed()
    return results


def compare_until_decided(
    study: Study,
    baselines: Sequence[str],
    *,
    candidate: str | None = None,
    margin: float | str | None = None,
    max_seeds: int = DEFAULT_MAX_SEEDS,
    hours: float | None = None,
    on_look: Callable[[str], None] = lambda _: None,
) -> Findings:
    """Add seeds until every headline comparison is better, worse or equivalent, or the means are spent.

    Verdicts hold under all the looks (`pgsbench.reporting.decision`). The plan goes into the study's record
    before the first of them; who changes margin or seeds later begins a new one. What other studies, or this
    one, have shown of the seeds by then counts as looked at.

    Args:
        study: The study; its first seed is the first here.
        baselines: Arms or strategies to compare with.
        candidate: The arm in question; None: the study's base.
        margin: Differences below it do not matter: points, or ``"10%"`` of the baseline's mean; None: the
            study's.
        max_seeds: Seeds after which nothing more is tried.
        hours: Begin no further seed that would probably end later than this; None: no limit.
        on_look: Told in one line what each look says.

    Raises:
        UserError: There is no such arm, a margin or number of seeds makes no sense, or a run failed.
    """
    study.tune([candidate or study.arms[0], *baselines])
    plan = _plan(study, [candidate or study.arms[0], *baselines], margin, max_seeds)
    began, first_seed = time.monotonic(), plan.first_seed
    first = next(iter(looks_of(plan)))
    for seeds in range(first, max_seeds + 1):
        before = time.monotonic()
        results = study.compare(
            baselines, candidate=candidate, seeds=range(first_seed, first_seed + seeds), plan=plan
        )
        study.check_failed()
        found, now = decisions(results.statistics), time.monotonic()
        on_look(f"after {counted(seeds, 'seed')}: {'; '.join(map(_said, found))}")
        is_late = hours is not None and now - began + (now - before) > 3600 * hours
        if all(one.is_decided for one in found) or is_late:
            break
    return results


def with_all_seeds(
    study: Study,
    baselines: Sequence[str],
    *,
    candidate: str | None = None,
    margin: float | str | None = None,
    max_seeds: int = DEFAULT_MAX_SEEDS,
) -> Study:
    """Return the study with all the seeds that `compare_until_decided` may train, to plan it.

    Raises:
        ConfigError: As `compare_until_decided`.
    """
    plan = _plan(study, [candidate or study.arms[0], *baselines], margin, max_seeds)
    return _all_seeds(study, plan.max_seeds)


def _plan(study: Study, arms: Sequence[str], margin: float | str | None, max_seeds: int) -> DecisionPlan:
    """Return the plan; that of the study's record where it asks for the same.

    Raises:
        ConfigError: It cannot be looked at with so few seeds; said before hours of training.
    """
    if max_seeds > MAX_SEEDS:
        rule, way_out = f"a study has at most {MAX_SEEDS:,} seeds", "say less"
        raise ConfigError(rule, where="max-seeds", value=max_seeds, way_out=way_out)
    candidate, *others = map(arm_name, arms)
    first_seed = study.design.config.seeds[0]
    size = Margin.of(study.design.config.margin if margin is None else margin)
    asked = DecisionPlan(candidate, tuple(others), size, max_seeds, first_seed)
    folder = study.runs_root / study.name
    before = StudyRecord.read(folder).decision if (folder / files.STUDY).is_file() else None
    if before is not None and before.asks == asked.asks:
        asked = before
    else:
        specs = _all_seeds(study, max_seeds).plan(arms)
        borrowed_df = Lenders(study.runs_root, specs).headline_df()
        asked = replace(asked, seen=num_seen(study.runs_root, specs, candidate), borrowed_df=borrowed_df)
    looks_of(asked)
    return asked


def num_seen(runs_root: Path, specs: Sequence[RunSpec], candidate: str) -> int:
    """Return with how many seeds the candidate and another arm have scores already, in whichever study.

    Args:
        runs_root: The folder of all studies.
        specs: The runs of a comparison.
        candidate: Its candidate.
    """
    done = {training_of(run.spec) for run in all_runs(runs_root) if run.is_done and run.scores}
    arms_of: dict[int, set[str]] = {}
    for spec in specs:
        if training_of(spec) in done:
            arms_of.setdefault(spec.seed, set()).add(spec.arm)
    return sum(candidate in arms and len(arms) > 1 for arms in arms_of.values())


def _all_seeds(study: Study, max_seeds: int) -> Study:
    first = study.design.config.seeds[0]
    return study.beside(study.design.with_seeds(range(first, first + max_seeds)))


def _said(one: Comparison) -> str:
    lead = points(one.interval.estimate) if isinstance(one.interval, Interval) else one.interval.reason
    return f"{one.candidate} − {one.baseline} {lead} {marked(one.outcome)}"
