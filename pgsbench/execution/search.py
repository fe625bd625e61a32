"""The search over a study's space: Optuna proposes, worker processes train, only this process tells.

The study's record and its run directories are the truth: they say which points a search has and which of
them are complete. Optuna is told of all of them each time and keeps a record (`pgsbench.execution.storage`).
A grid is our own list of points: Optuna's grid sampler repeats points under several workers and drops failed
ones.
"""

from __future__ import annotations

import statistics
import warnings
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial, TrialState

from pgsbench.config.search import SearchConfig
from pgsbench.errors import UserError
from pgsbench.execution.folder import StudyFolder
from pgsbench.execution.importance import ScoredPoint, importances
from pgsbench.execution.runs import Watcher, enter, train
from pgsbench.execution.slots import Slots
from pgsbench.execution.storage import PROCESS, open_storage, this_process
from pgsbench.hashing import digest
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.study_record import Importances
from pgsbench.study.domains import Choices, Domain
from pgsbench.study.objective import Objective
from pgsbench.study.plan import Point, grid_points
from pgsbench.study.space import domains_of

ARM = "arm"
#: Attribute of a trial: what the point is called, `RunSpec.label`.
LABEL = "label"
#: A search ends after this number of draws in a row without a new point.
MAX_DRAWS = 50


def search(
    folder: StudyFolder,
    references: Sequence[RunSpec],
    slots: Slots,
    watcher: Watcher,
    *,
    trials: int | None = None,
) -> list[tuple[RunSpec, Exception]]:
    """Work off the study's search space, and beside it the runs that nothing is searched in.

    Points that an earlier command entered and that lie in the space are part of the search; those that failed
    or were cut off are worked on again. The importances of a sampled search go into the study's record.

    Args:
        folder: The study and where it lives.
        references: The runs of the arms that are not searched.
        slots: Where runs are trained.
        watcher: Told of progress.
        trials: Overrides `search.trials`: how many trials there are in all, past ones included.

    Returns:
        The runs that failed, each with its error.

    Raises:
        StudyError: The storage cannot be opened, or the suite does not measure what the search maximises.
        KeyboardInterrupt: After the workers have saved; the same call goes on.
    """
    config = folder.study.config.search
    assert config is not None
    limit = trials or config.trials
    points = grid_points(folder.study, limit) if config.sampler == "grid" else _entered(folder)[:limit]
    to_draw = (limit or 0) - len(points) if config.sampler == "tpe" else 0
    specs_of = [folder.existing(folder.planner.specs([point.arm], point.params)) for point in points]
    pending = deque(enter(folder, [*references, *(spec for specs in specs_of for spec in specs)], watcher))
    book = _Trials(folder, watcher, seed=folder.study.config.seeds[0] + len(points), under_way=pending)
    for point, specs in zip(points, specs_of, strict=True):
        book.enter(point, specs)

    def next_run() -> RunSpec | None:
        nonlocal to_draw
        while not pending and to_draw:
            drawn = book.draw()
            to_draw = 0 if drawn is None else to_draw - 1
            pending.extend(drawn or ())
        spec = pending.popleft() if pending else None
        if spec is not None:
            book.start(spec)
        return spec

    failed = []
    for ended in train(folder, slots, watcher, next_run=next_run):
        if ended.error is not None:
            failed.append((ended.spec, ended.error))
        book.close(ended.spec, ended.error)
    folder.importances = book.importances()
    folder.write()
    return failed


def _entered(folder: StudyFolder) -> list[Point]:
    """Return the points of the record that lie in the search space, in the order they were entered."""
    config = folder.study.config.search
    assert config is not None
    arms, domains = folder.study.config.searched_arms, domains_of(folder.study)
    points = dict[str, Point]()
    for run in folder.runs.values():
        spec = run.spec
        is_trial = spec.arm in arms and spec.params.keys() == config.space.keys()
        if is_trial and all(domains[path].contains(value) for path, value in spec.params.items()):
            points[spec.label] = Point(spec.arm, spec.params)
    return list(points.values())


@dataclass
class _Open:
    """A point that Optuna has not been told of yet.

    Attributes:
        point: The point.
        specs: Its runs, one a seed.
        trial: Its trial, from the moment that one of its runs has started.
    """

    point: Point
    specs: list[RunSpec]
    trial: Trial | None = None


class _Trials:
    """The points of a search as Optuna's trials, and what each still waits for.

    Args:
        folder: The study and where it lives.
        watcher: Told of progress.
        seed: Decides what Optuna draws.
        under_way: The runs that are worked on, or wait for it.
    """

    def __init__(
        self, folder: StudyFolder, watcher: Watcher, *, seed: int, under_way: Sequence[RunSpec]
    ) -> None:
        config = folder.study.config.search
        assert config is not None
        self._folder, self._config, self._watcher = folder, config, watcher
        self._arms, self._domains = folder.study.config.searched_arms, domains_of(folder.study)
        self._distributions = _distributions(config, self._domains, self._arms)
        self._objective = Objective(config.metric)
        self._study = open_storage(folder.path, self._name(), _sampler(seed))
        complete = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        self._told = {trial.user_attrs.get(LABEL) for trial in complete}
        self._open: list[_Open] = []
        self._scored: dict[str, ScoredPoint] = {}
        self._under_way = {spec.id for spec in under_way}

    def _name(self) -> str:
        """Return a name that no other search has: another space, base, seed or suite is another search."""
        folder = self._folder
        specs = folder.planner.specs(self._arms)
        ids = [spec.id for spec in specs]
        suites = list(dict.fromkeys(folder.suite_fingerprint(spec) for spec in specs))
        space = self._config.model_dump(mode="json", exclude={"trials"})
        return f"{folder.study.config.name}-{digest([space, ids, suites])[:8]}"

    def enter(self, point: Point, specs: list[RunSpec]) -> None:
        """Take a point with its runs into the search; one that is complete is told at once."""
        self._open.append(_Open(point, specs))
        self._tell_if_complete(self._open[-1])

    def start(self, spec: RunSpec) -> None:
        """Take note that a run starts, and with it the trial of its point."""
        for one in self._open:
            if one.trial is None and spec.id in {own.id for own in one.specs}:
                one.trial = self._trial_of(one.point, one.specs)

    def draw(self) -> list[RunSpec] | None:
        """Let Optuna choose a new point; return its runs to work on, None where no new point turned up."""
        for _ in range(MAX_DRAWS):
            trial = self._ask()
            params = dict(trial.params)
            arm = params.pop(ARM, self._arms[0])
            params = {path: self._domains[path].rounded(value) for path, value in params.items()}
            try:
                # Each value is valid (`check_space`), which they need not be together.
                specs = self._folder.existing(self._folder.planner.specs([arm], params))
            except UserError as error:
                self._fail(trial, error)
                continue
            if any(spec.name in self._folder.runs for spec in specs):
                self._fail(trial, "drawn before")
                continue
            missing = enter(self._folder, specs, self._watcher)
            new = [spec for spec in missing if spec.id not in self._under_way]
            self._under_way.update(spec.id for spec in new)
            trial.set_user_attr(LABEL, specs[0].label)
            self._open.append(_Open(Point(arm, params), specs, trial))
            self._tell_if_complete(self._open[-1])
            return new
        self._watcher.on_note(f"{MAX_DRAWS} draws in a row gave no new point: the search ends here")
        return None

    def close(self, spec: RunSpec, error: Exception | None) -> None:
        """Take note that a run has ended, and tell Optuna of each trial that ends with it."""
        self._under_way.discard(spec.id)
        for one in list(self._open):
            if spec.id not in {own.id for own in one.specs}:
                continue
            if error is None:
                self._tell_if_complete(one)
            else:
                self._open.remove(one)
                self._fail(one.trial or self._trial_of(one.point, one.specs), error)

    def importances(self) -> Importances | None:
        """Return the share of the variance that each parameter explains; None on a grid."""
        if self._config.sampler == "grid":
            return None
        return importances(list(self._scored.values()), self._distributions)

    def _tell_if_complete(self, one: _Open) -> None:
        if any(spec.id in self._under_way for spec in one.specs):
            return
        self._open.remove(one)
        found = [self._folder.directory(spec).scores for spec in one.specs]
        values = [self._objective.value(scores) for scores in found if scores is not None]
        label = one.specs[0].label
        self._scored[label] = ScoredPoint(self._params_of(one.point), values)
        if one.trial is not None or label not in self._told:
            self._study.tell(one.trial or self._trial_of(one.point, one.specs), statistics.fmean(values))
            self._told.add(label)

    def _params_of(self, point: Point) -> dict[str, Any]:
        return {**({ARM: point.arm} if len(self._arms) > 1 else {}), **point.params}

    def _trial_of(self, point: Point, specs: Sequence[RunSpec]) -> Trial:
        self._study.enqueue_trial(self._params_of(point), user_attrs={PROCESS: this_process()})
        trial = self._ask()
        trial.set_user_attr(LABEL, specs[0].label)
        return trial

    def _ask(self) -> Trial:
        trial = self._study.ask(self._distributions)
        trial.set_user_attr(PROCESS, this_process())
        return trial

    def _fail(self, trial: Trial, why: object) -> None:
        trial.set_user_attr("error", str(why))
        self._study.tell(trial, state=TrialState.FAIL)


def _sampler(seed: int) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed, multivariate=True, constant_liar=True, n_startup_trials=5
        )


def _distributions(
    config: SearchConfig, domains: dict[str, Domain], arms: list[str]
) -> dict[str, BaseDistribution]:
    found: dict[str, BaseDistribution] = {ARM: CategoricalDistribution(arms)} if len(arms) > 1 else {}
    is_grid = config.sampler == "grid"
    return found | {path: distribution(domain, is_grid=is_grid) for path, domain in domains.items()}


def distribution(domain: Domain, *, is_grid: bool = False) -> BaseDistribution:
    """Return what Optuna draws from for a domain; of a grid, its choices."""
    if is_grid or isinstance(domain, Choices):
        return CategoricalDistribution(domain.grid())
    if not domain.is_whole:
        return FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
    step = int(domain.step or 1)
    return IntDistribution(int(domain.low), int(domain.high), log=domain.log, step=step)
