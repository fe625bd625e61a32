"""From a study to the runs it consists of, before anything is trained."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pgsbench.config.schema import Range, RunConfig, arm_name
from pgsbench.data.shards import data_id
from pgsbench.errors import ConfigError, StudyError, UserError, nearest
from pgsbench.evaluation.suite import Suite, load_suite
from pgsbench.hashing import run_id
from pgsbench.masking import STRATEGIES
from pgsbench.study.study import Study
from pgsbench.tracking.manifest import StudyRun
from pgsbench.tracking.rundir import run_folder

#: Of what is drawn from a range without a step.
SIGNIFICANT_DIGITS = 4


@dataclass(frozen=True)
class Point:
    """A point of a search space.

    Attributes:
        arm: The searched arm.
        params: Dotted path -> value.
    """

    arm: str
    params: dict[str, Any]


@dataclass(frozen=True)
class PlannedRun:
    """A run that a study asks for.

    Attributes:
        place: Its place in the study; the directory is the one it gets where no study has the run yet.
        config: Its resolved configuration.
        run_id: The id that follows from the configuration and the data.
    """

    place: StudyRun
    config: RunConfig
    run_id: str


def planned_runs(
    study: Study,
    arms: Sequence[str],
    *,
    params: Mapping[str, Any] | None = None,
    data_ids: dict[str, str] | None = None,
) -> list[PlannedRun]:
    """Return the runs of some arms at one point of the search space, all seeds of an arm together.

    Args:
        study: The study.
        arms: Names of arms.
        params: The point, by dotted path.
        data_ids: What is known of training data, `data.train` -> id; what is looked up joins it. There may be
            thousands of shards to look at.

    Raises:
        ConfigError: A combination is not valid.
        DataError: The training data is not there.
    """
    known = {} if data_ids is None else data_ids
    return [planned_run(study, arm, seed, params or {}, known) for arm in arms for seed in study.config.seeds]


def planned_run(
    study: Study, arm: str, seed: int, params: Mapping[str, Any], data_ids: dict[str, str]
) -> PlannedRun:
    """Return one run; see `planned_runs`."""
    config = study.run_config(arm, params, seed)
    train = config.data.train
    if train not in data_ids:
        data_ids[train] = data_id(train)
    name = run_id(config, data_ids[train], STRATEGIES.content_id(config.strategy.name))
    place = StudyRun(arm, seed, run_folder(study.config.name, arm, seed, name), dict(params))
    return PlannedRun(place, config, name)


def with_arms(study: Study, wanted: Sequence[str]) -> Study:
    """Return the study with an arm for each wanted name: one it has, or one that is only a strategy.

    Args:
        study: The study.
        wanted: Names of arms, or of strategies, a file relative to the working folder; the arm of a strategy
            is called as `arm_name` says.

    Raises:
        StudyError: A name is neither an arm nor a strategy, or the study has another arm of this name.
        PluginError: There is no such file, or no such class in it.
    """
    arms = dict(study.config.arms)
    for name in wanted:
        if name in study.config.arm_names:
            continue
        if ".py:" not in name and name not in STRATEGIES.names():
            raise StudyError(
                "neither an arm of the study nor a strategy",
                value=name,
                way_out=nearest(name, [*study.config.arm_names, *STRATEGIES.names()]),
            )
        arm, definition = arm_name(name), {"strategy": _from_here(name)}
        if arm == study.config.base_arm or arms.setdefault(arm, definition) != definition:
            raise StudyError(
                f"another arm is called {arm!r}",
                value=name,
                way_out=f"say {arm} if that is meant, else rename the class or give it an arm in a study",
            )
    return replace(study, config=study.config.model_copy(update={"arms": arms}))


def _from_here(strategy: str) -> str:
    # Whoever types a name thinks of the folder they are in, not of the one of a study that may have shipped.
    if ".py:" not in strategy:
        return strategy
    STRATEGIES.load(strategy)
    return str(Path(strategy).absolute())


def searched_arms(study: Study) -> list[str]:
    """Return the arms whose parameters are searched."""
    assert study.config.search is not None
    return study.config.search.arms or [study.config.base_arm]


def reference_arms(study: Study) -> list[str]:
    """Return the arms that are trained once, beside the search."""
    searched = searched_arms(study)
    return [name for name in study.config.arms if name not in searched]


def grid_cells(study: Study, limit: int | None = None) -> list[Point]:
    """Return the points of a grid, at most `limit`: arm by arm, the last path changing fastest."""
    search = study.config.search
    assert search is not None
    domains = [choices_of(domain) for domain in search.space.values()]
    points = [dict(zip(search.space, values, strict=True)) for values in itertools.product(*domains)]
    return [Point(arm, point) for arm in searched_arms(study) for point in points][:limit]


def searched_runs(study: Study, trials: int | None = None) -> tuple[list[PlannedRun], int]:
    """Return the runs that a search will ask for, and how many of them are only stand-ins.

    A grid is known beforehand. TPE chooses as it goes: its runs stand at the middle of each range.
    """
    search, arms = study.config.search, searched_arms(study)
    assert search is not None
    if search.sampler == "grid":
        data_ids: dict[str, str] = {}
        cells = grid_cells(study, trials or search.trials)
        runs_of = [planned_runs(study, [cell.arm], params=cell.params, data_ids=data_ids) for cell in cells]
        return [run for runs in runs_of for run in runs], 0
    middle = {path: _middle(domain) for path, domain in search.space.items()}
    count = trials or search.trials or 0
    runs = planned_runs(study, arms[:1], params=middle) * count
    return runs, len(runs)


def _middle(domain: list[Any] | Range) -> Any:
    if isinstance(domain, list):
        return domain[len(domain) // 2]
    if domain.log:
        return _number(domain, math.sqrt(domain.low * domain.high))
    if domain.step is not None:
        return _number(domain, domain.low + _count(domain) // 2 * domain.step)
    return (domain.low + domain.high) / 2


def choices_of(domain: list[Any] | Range) -> list[Any]:
    """Return the values of a grid along one path."""
    if isinstance(domain, list):
        return domain
    assert domain.step is not None
    return [_number(domain, domain.low + i * domain.step) for i in range(_count(domain))]


def contains(domain: list[Any] | Range, value: Any) -> bool:
    """Tell whether a value is one of a domain."""
    if isinstance(domain, list) or domain.step is not None:
        return value in choices_of(domain)
    return isinstance(value, int | float) and domain.low <= value <= domain.high


def readable(domain: list[Any] | Range, value: Any) -> Any:
    """Round what was drawn from a range: a run is named, and can be asked for again, by its values."""
    if isinstance(domain, list):
        return value
    if domain.step is not None:
        return _number(domain, value)
    return min(max(float(f"{value:.{SIGNIFICANT_DIGITS}g}"), domain.low), domain.high)


def _count(domain: Range) -> int:
    assert domain.step is not None
    return math.floor((domain.high - domain.low) / domain.step + 1e-9) + 1


def is_integral(domain: Range) -> bool:
    """Tell whether a range is one of whole numbers, as its ends and its step are."""
    return domain.step is not None and all(b.is_integer() for b in (domain.low, domain.high, domain.step))


def _number(domain: Range, value: float) -> float | int:
    return round(value) if is_integral(domain) else round(value, 12)


def _ends(domain: list[Any] | Range) -> list[Any]:
    if isinstance(domain, list):
        return domain
    # As a file says it: a field of real numbers takes 3, too.
    return [int(end) if end.is_integer() else end for end in (domain.low, domain.high)]


def check_space(study: Study) -> None:
    """Try every path of the search space at its ends, for every searched arm, before anything runs.

    Raises:
        ConfigError: With one entry for every value that no run can have.
        StudyError: The suite has nothing of what is to be maximised.
    """
    search = study.config.search
    assert search is not None
    _check_metric(search.metric, load_suite(study.config.evaluation.suite))
    problems: dict[str, UserError] = {}
    for path, domain in search.space.items():
        for arm, value in itertools.product(searched_arms(study), _ends(domain)):
            try:
                study.run_config(arm, {path: value}, study.config.seeds[0])
            except UserError as error:
                where = f"{study.place(f'search.space.{path}')} (arm {arm})"
                problem = ConfigError(error.rule, where=where, value=value, way_out=error.way_out)
                problems.setdefault(f"{path}={value}", problem)
    if problems:
        raise ConfigError.collect(problems.values(), where=study.place(""))


def _check_metric(metric: str, suite: Suite) -> None:
    groups = {task.group for task in suite.tasks}
    # What else a task measures is known when it has been measured.
    if metric not in {"mean", *groups} and metric.rpartition("/")[0] not in {
        task.name for task in suite.tasks
    }:
        primary = [f"{task.name}/{task.metric}" for task in suite.tasks]
        raise StudyError(
            "the suite has no such score",
            where="search.metric",
            value=metric,
            way_out=nearest(metric, ["mean", *sorted(groups), *primary]),
        )
