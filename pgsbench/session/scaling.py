"""A study at several budgets: which mask pays at which scale, and whether that could be predicted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from pgsbench.config.training import MAX_SAMPLES
from pgsbench.errors import ConfigError
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.study_record import copy_times
from pgsbench.reporting.notebook import InNotebook, Part
from pgsbench.reporting.pages.scale_page import FIGURE, ScalePlan, write_prediction, write_scale_report
from pgsbench.reporting.plan_tables import plan_table
from pgsbench.reporting.render import Table
from pgsbench.reporting.results import Results
from pgsbench.reporting.scale import MIN_BUDGETS, UNITS
from pgsbench.session.study import Study
from pgsbench.study.design import Design


@dataclass(frozen=True)
class Scaled(InNotebook):
    """What a study says at several budgets.

    Attributes:
        tables: How each arm's error falls, and where curves cross; and, where a budget was held out,
            prediction beside measurement.
        folder: Where prediction, tables and figure lie.
    """

    tables: tuple[Table, ...]
    folder: Path

    def in_notebook(self) -> Iterable[Part]:
        """Return the curves and the tables."""
        return [self.folder / FIGURE, *self.tables]


def budgets_in(words: Sequence[str]) -> list[float]:
    """Return the budgets that words say.

    Raises:
        ConfigError: One of them is no number.
    """
    try:
        return list(map(float, words))
    except ValueError as error:
        rule = "budgets are numbers joined by commas"
        raise ConfigError(rule, where="budgets", value=",".join(words)) from error


def scale(
    study: Study, budgets: Sequence[float], *, hold_out: float | None = None, unit: str = "flops"
) -> Scaled:
    """Train a study's arms at growing budgets, fit each, and predict the budget that is held out.

    The prediction is written to ``prediction.json`` before the budget that is held out is trained. Each
    budget is a study of its own, ``<name>-x0.5`` for half the samples, or for half of the study's `budget`.
    They are trained in rising order: with ``schedule: wsd`` each begins where the decay of the one before did
    (`pgsbench.training.trunk`).

    Args:
        study: The study.
        budgets: Multiples of its samples, or of its `budget`.
        hold_out: Another multiple, which is predicted first; None: none is.
        unit: What fits are over: ``flops``, ``samples`` or ``hours``.

    Raises:
        UserError: There are too few budgets, two give as many steps, one is more than any training has, an
            arm sets its own samples or budget, or a run failed.
    """
    check(study.design, budgets, hold_out, unit)
    study.tune()
    name = f"{study.name}-scale"
    # A budget that is named twice is no second measurement.
    largest = None if hold_out is None else float(hold_out)
    plan = ScalePlan(name, tuple(sorted(set(budgets))), unit, largest)
    folder = study.report_folder.with_name(name)
    scaled = _planned(study, plan.budgets, largest)
    at = [_train(one) for one in scaled[: len(plan.budgets)]]
    write_prediction(at, plan, folder)
    if hold_out is not None:
        at.append(_train(scaled[-1]))
    return Scaled(tuple(write_scale_report(at, plan, folder)), folder)


def dry_run(study: Study, budgets: Sequence[float], *, hold_out: float | None = None) -> list[Table]:
    """Return what `scale` would train, one plan for each budget, the one held out last; nothing is trained.

    Args:
        study: The study.
        budgets: Multiples of its samples.
        hold_out: Another multiple, or None.

    Raises:
        ConfigError: As `scale`.
    """
    check(study.design, budgets, hold_out)
    tables, before = list[Table](), list[RunSpec]()
    for one in _planned(study, sorted(set(budgets)), hold_out):
        one.foreseen = tuple(before)
        before += one.plan()
        tables.append(plan_table(one.name, one.dry_run()))
    return tables


def check(design: Design, budgets: Sequence[float], hold_out: float | None, unit: str = "flops") -> None:
    """Raise ConfigError where a study cannot be scaled so."""
    if len(set(budgets)) < MIN_BUDGETS or not all(0 < budget < math.inf for budget in budgets):
        raise ConfigError(
            f"a fit needs {MIN_BUDGETS} different positive budgets",
            where="budgets",
            value=list(budgets),
            way_out="0.25,0.5,1, for example",
        )
    if hold_out is not None and not max(budgets) < hold_out < math.inf:
        way_out = f"{2 * max(budgets):g}, for example"
        raise ConfigError(
            "it must be larger than all budgets", where="hold-out", value=hold_out, way_out=way_out
        )
    if unit not in UNITS:
        raise ConfigError(f"a budget is in {', '.join(UNITS)}", where="unit", value=unit)
    for arm, changed in design.config.arms.items():
        if "budget" in changed:
            raise ConfigError("an arm has a budget of its own", where=f"arms.{arm}", way_out="leave it out")
        if "samples" in changed.get("training", {}) or "training.samples" in changed:
            raise ConfigError("an arm has samples of its own", where=f"arms.{arm}", way_out="leave them out")


def _planned(study: Study, budgets: Sequence[float], hold_out: float | None) -> list[Study]:
    """Return the study at each multiple, the one held out last.

    Args:
        study: The study.
        budgets: In rising order.
        hold_out: A larger one, or None.

    Raises:
        ConfigError: Two of them train an arm for as many steps, so they are one point of its fit.
    """
    factors = [*budgets, *([] if hold_out is None else [hold_out])]
    scaled = [_scaled(study, factor) for factor in factors]
    steps = [{spec.arm: spec.config.training.steps for spec in one.plan()} for one in scaled]
    for (few, more), (less, much), names in zip(
        pairwise(steps), pairwise(factors), pairwise([one.name for one in scaled]), strict=True
    ):
        same = [arm for arm in few if few[arm] == more[arm]]
        if same or len(set(names)) == 1:
            arm = next(iter(same or few))
            raise ConfigError(
                f"{less!r} and {much!r} are one budget: {few[arm]} and {more[arm]} steps of {arm}",
                where="budgets",
                value=factors,
                way_out="choose budgets that lie further apart, or a larger study",
            )
    return scaled


def _train(scaled: Study) -> Results:
    """Train all arms of a study at one budget."""
    results = scaled.train()
    scaled.check_failed()
    return results.statistics


def _scaled(study: Study, factor: float) -> Study:
    """Return the study at a multiple of its samples, or of its budget."""
    design = study.design.variant(f"x{factor:g}")
    training, budget = design.config.training, design.config.budget
    changed: dict[str, Any] = {"search": None}
    if budget is None:
        if factor * training.samples > MAX_SAMPLES:
            rule, way_out = f"no training has more than {MAX_SAMPLES:.0e} pairs", "say less"
            raise ConfigError(rule, where="budgets", value=factor, way_out=way_out)
        batches = max(1, round(factor * training.samples / training.batch_size))
        changed["training"] = training.model_copy(update={"samples": batches * training.batch_size})
    else:
        changed["budget"] = budget.model_copy(update={"amount": factor * budget.amount})
        if budget.equal == "seconds":
            study.plan()  # times its steps, unless they have been: once, for all budgets
            copy_times(study.runs_root / study.name, study.runs_root / design.config.name)
    return study.beside(replace(design, config=design.config.model_copy(update=changed)))
