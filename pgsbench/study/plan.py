"""From a study to the runs it consists of, before anything is trained."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pgsbench.config.data import DataConfig
from pgsbench.config.schema import RunConfig, arm_name
from pgsbench.config.training import TrainingConfig
from pgsbench.data import shards
from pgsbench.data.store import Progress
from pgsbench.errors import StudyError, nearest
from pgsbench.masking import STRATEGIES
from pgsbench.masking.text import TEXT_STRATEGIES
from pgsbench.models.architectures import file_hash_of
from pgsbench.models.start import pretrained_id
from pgsbench.records.run_spec import RESULTS_VERSION, Numerics, RunSpec, flatten
from pgsbench.study.budget import Pace, spend
from pgsbench.study.design import Design
from pgsbench.study.objective import check_costs
from pgsbench.study.space import domains_of


@dataclass(frozen=True)
class Point:
    """A point of a search space.

    Attributes:
        arm: The searched arm.
        params: Dotted path -> value.
    """

    arm: str
    params: dict[str, Any]


class Planner:
    """Turns a study into run specs; what it looked up of data and code is looked up once.

    Args:
        study: The study.
        device: Type of the device that runs are trained on, ``cpu`` or ``cuda``.
        threads: CPU threads of a run.
        progress: Told of data that is made or read for the first time.
        pace: Tells the seconds of a pair, for budgets in seconds.
    """

    def __init__(
        self,
        study: Design,
        *,
        device: str = "cpu",
        threads: int = 1,
        progress: Progress | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.study, self.progress, self._pace = study, progress, pace
        self.device, self._threads = device, threads
        self._data: dict[str, str] = {}

    def specs(self, arms: Sequence[str], params: Mapping[str, Any] | None = None) -> list[RunSpec]:
        """Return the runs of some arms at one point of the search space, all arms of a seed together.

        A study that is interrupted then has whole seeds, in which its arms are paired.

        Args:
            arms: Names of arms.
            params: The point, by dotted path.

        Raises:
            ConfigError: A combination is not valid.
            DataError: The training data is not there.
        """
        return [self.spec(arm, seed, params or {}) for seed in self.study.config.seeds for arm in arms]

    def spec(self, arm: str, seed: int, params: Mapping[str, Any], *, study: Design | None = None) -> RunSpec:
        """Return one run; see `specs`.

        Args:
            arm: Name of an arm.
            seed: The run's.
            params: The point, by dotted path.
            study: The study with arms that the planner's does not have; None: the planner's.
        """
        config = spend((study or self.study).run_config(arm, params, seed), self._pace)
        return RunSpec.of(
            study=self.study.config.name,
            arm=arm,
            params=dict(params),
            config=config,
            numerics=self._numerics(config.training),
            evaluation=self.study.config.evaluation,
            **_contents(config, self._data_of(config.data)),
        )

    def again(self, spec: RunSpec) -> RunSpec:
        """Return what this study asks for now in place of a run that it planned before.

        An arm that the study does not have is taken for one that a command has named.

        Raises:
            UserError: Nothing can be trained there any more.
        """
        has_arm = spec.arm in self.study.config.arm_names
        study = self.study if has_arm else with_arms(self.study, [spec.config.strategy.name])
        if spec.arm not in study.config.arm_names:
            raise StudyError("the study has no such arm", where=study.config.name, value=spec.arm)
        return self.spec(spec.arm, spec.seed, spec.params, study=study)

    def _data_of(self, data: DataConfig) -> str:
        key = f"{data.source} {data.weights}"
        if key not in self._data:
            self._data[key] = shards.identity(data, progress=self.progress)
        return self._data[key]

    def _numerics(self, training: TrainingConfig) -> Numerics:
        threads = self._threads if self.device == "cpu" else 0
        return Numerics(self.device, training.precision_on(self.device), torch_version(), threads)


@functools.cache  # the metadata of a package are a long text
def torch_version() -> str:
    """Return PyTorch's version here, without the kind of device that stands behind the plus."""
    return version("torch").partition("+")[0]


def as_now(spec: RunSpec) -> RunSpec:
    """Return what a spec would be with its data, its strategy's code and its model's file as they are now.

    Raises:
        DataError: The training data is not there.
        PluginError: There is no such strategy any more.
    """
    fields = vars(spec) | _contents(spec.config, shards.identity(spec.config.data))
    del fields["id"]
    return RunSpec.of(**fields | {"results_version": RESULTS_VERSION})


def _contents(config: RunConfig, data: str) -> dict[str, Any]:
    """Return what a run's id takes from files and code: its configuration names them, and they may change.

    Args:
        config: What is trained.
        data: Identity of its training data (`shards.identity`), which takes long to tell.
    """
    return {
        "data": data,
        "reading": shards.reading(config.data),
        "strategy_code": STRATEGIES.content_id(config.strategy.name),
        "text_code": TEXT_STRATEGIES.content_id(config.text.strategy),
        "model_file": file_hash_of(config.model.name),
        "pretrained": pretrained_id(config.model.name, config.model.pretrained),
    }


def with_arms(study: Design, wanted: Sequence[str]) -> Design:
    """Return the study with an arm for each wanted name: one it has, or one that is only a strategy.

    Args:
        study: The study.
        wanted: Names of arms, or of strategies, a file relative to the working folder; the arm of a strategy
            is called as `arm_name` says.

    Raises:
        StudyError: A name is neither an arm nor a strategy, or the study has another arm of this name.
        PluginError: There is no such file, or no such class in it.
    """
    arms, of_commands = dict(study.config.arms), set(study.of_commands)
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
        of_commands.add(arm)
    config = study.config.model_copy(update={"arms": arms})
    return replace(study, config=config, of_commands=frozenset(of_commands))


def _from_here(strategy: str) -> str:
    # Whoever types a name thinks of the folder they are in, not of the one of a study that may have shipped.
    if ".py:" not in strategy:
        return strategy
    STRATEGIES.load(strategy)
    return str(Path(strategy).absolute())


def reference_arms(study: Design) -> list[str]:
    """Return the arms that are trained once, beside the search; none beside arms searched by themselves."""
    if study.config.search is not None and study.config.search.per_arm:
        return []
    searched = study.config.searched_arms
    return [name for name in study.config.arms if name not in searched]


def grid_points(study: Design, limit: int | None = None, arms: Sequence[str] | None = None) -> list[Point]:
    """Return the points of a grid, at most `limit`: arm by arm, the last path changing fastest."""
    domains = domains_of(study)
    points = []
    for arm in arms or study.config.searched_arms:
        found: list[dict[str, Any]] = [{}]
        for path, domain in domains.items():
            before, found = found, []
            for point in before:
                is_active = domain.is_active({"arm": arm, **point})
                found += [{**point, path: value} for value in domain.grid()] if is_active else [point]
        points += [Point(arm, point) for point in found]
    return points[:limit]


def first_points(study: Design, arms: Sequence[str]) -> list[Point]:
    """Return the points that a search that samples begins with: those of the arms themselves, then `first`.

    A point that does not lie in the space is none of them.
    """
    search, domains = study.config.search, domains_of(study)
    assert search is not None
    points = []
    for arm in arms:
        config = flatten(study.run_config(arm, {}, study.config.seeds[0]).model_dump())
        for given in ({}, *search.first):
            point: dict[str, Any] = {}
            for path, domain in domains.items():
                if domain.is_active({"arm": arm, **point}):
                    point[path] = given.get(path, config.get(path))
            is_there = all(domains[path].contains(value) for path, value in point.items())
            points += [Point(arm, point)] if is_there else []
    return points


def searched_points(study: Design, trials: int | None = None) -> tuple[list[Point], bool]:
    """Return the points that a search will ask for, and whether they are only stand-ins.

    A grid is known beforehand. A sampler chooses as it goes: its points stand at the middle of each range.
    """
    search, arms = study.config.search, study.config.searched_arms
    assert search is not None
    limit, spaces = trials or search.trials, [[arm] for arm in arms] if search.per_arm else [arms]
    if search.sampler == "grid":
        return [point for space in spaces for point in grid_points(study, limit, space)], False
    points = []
    for space in spaces:
        middle: dict[str, Any] = {}
        for path, domain in domains_of(study).items():
            if domain.is_active({"arm": space[0], **middle}):
                middle[path] = domain.middle()
        points += [Point(space[0], middle)] * (limit or 0)
    return points, True


def searched_specs(planner: Planner, trials: int | None = None) -> tuple[list[RunSpec], int]:
    """Return the runs of `searched_points`, and how many of them are only stand-ins.

    Raises:
        StudyError: A cost that the search asks for will not be measured.
    """
    points, are_open = searched_points(planner.study, trials)
    known: dict[int, list[RunSpec]] = {}  # a stand-in is planned once
    specs = []
    for point in points:
        if id(point) not in known:
            known[id(point)] = planner.specs([point.arm], point.params)
        specs += known[id(point)]
    search = planner.study.config.search
    assert search is not None
    check_costs(search, planner.device, [spec.config.model for spec in specs])
    return specs, len(specs) if are_open else 0
