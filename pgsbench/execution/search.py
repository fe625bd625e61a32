"""The search over a study's space: Optuna proposes, worker processes train, only this process tells.

The study's manifest and its run directories are the truth: they say which points a search has and which of
them are complete. Optuna is told of all of them each time and keeps a record, in a SQLite file in the study's
folder or in any RDB by ``OPTUNA_STORAGE``, under a name that no other search has. A grid is our own list of
cells: Optuna's grid sampler repeats cells under several workers and drops failed ones.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial, TrialState

from pgsbench.config.schema import Range, SearchConfig
from pgsbench.errors import StudyError, UserError
from pgsbench.execution.local import StudyFolder, Watcher, completed, enter, open_workers, outcome
from pgsbench.hashing import canonical_json
from pgsbench.study.plan import (
    PlannedRun,
    Point,
    choices_of,
    contains,
    grid_cells,
    is_integral,
    readable,
    searched_arms,
)

ARM = "arm"
#: Attribute of a trial: what the point is called, `StudyRun.label`.
LABEL = "label"
#: So many draws in a row that give no new point end a search.
MAX_DRAWS = 50


@dataclass(frozen=True)
class Searched:
    """What a search found.

    Attributes:
        importances: Share of the variance by parameter, by PED-ANOVA; empty where too few trials differ.
        failed: The runs that failed.
    """

    importances: dict[str, float]
    failed: list[tuple[PlannedRun, Exception]]


def search(
    folder: StudyFolder,
    references: Sequence[PlannedRun],
    *,
    watcher: Watcher,
    trials: int | None = None,
    jobs: int | None = None,
    device: str = "auto",
) -> Searched:
    """Work off the study's search space, and beside it the runs that nothing is searched in.

    Both at once: no processor waits, and no run gets more threads than another, so training times compare.
    Points that an earlier command entered and that lie in the space are part of the search; those that failed
    or were cut off are worked on again.

    Args:
        folder: The study and where it lives.
        references: The runs of the arms that are not searched.
        watcher: Told of progress.
        trials: Overrides `search.trials`: how many trials there are in all, past ones included.
        jobs: At most this many processes.
        device: See `plan_slots`.

    Raises:
        StudyError: The storage cannot be opened, or the suite has nothing of what is to be maximised.
        KeyboardInterrupt: After the workers have saved; the same call goes on.
    """
    config = folder.study.config.search
    assert config is not None
    limit = trials or config.trials
    points = grid_cells(folder.study, limit) if config.sampler == "grid" else _entered(folder)[:limit]
    to_draw = (limit or 0) - len(points) if config.sampler == "tpe" else 0
    runs_of = [folder.plan(point.arm, point.params) for point in points]
    pending = enter(folder, [*references, *(run for runs in runs_of for run in runs)], watcher)
    book = _Trials(folder, watcher, seed=folder.study.config.seeds[0] + len(points), under_way=pending)
    for point, runs in zip(points, runs_of, strict=True):
        book.enter(point, runs)
    failed: list[tuple[PlannedRun, Exception]] = []
    num_runs = max(1, len(pending) + to_draw * len(folder.study.config.seeds))
    with open_workers(folder, num_runs=num_runs, jobs=jobs, device=device) as workers:
        width = len(workers.slots.devices)
        futures: dict[Future[str], PlannedRun] = {workers.submit(run): run for run in pending}

        def fill() -> None:
            nonlocal to_draw
            while to_draw and len(futures) < width:
                drawn = book.draw()
                to_draw = 0 if drawn is None else to_draw - 1
                for run in drawn or ():
                    futures[workers.submit(run)] = run

        fill()
        for run, future in completed(folder, futures, watcher, running=width):
            error = outcome(future)
            if error is not None:
                failed.append((run, error))
                watcher.on_failed(run, error)
            else:
                watcher.on_done(run, False)
            book.close(run, error)
            fill()
    return Searched(book.importances(), failed)


def _entered(folder: StudyFolder) -> list[Point]:
    """Return the points of the manifest that lie in the search space, in the order they were entered."""
    config = folder.study.config.search
    assert config is not None
    arms, points = searched_arms(folder.study), dict[str, Point]()
    for run in folder.runs.values():
        is_trial = run.arm in arms and run.params.keys() == config.space.keys()
        if is_trial and all(contains(config.space[path], value) for path, value in run.params.items()):
            points[run.label] = Point(run.arm, run.params)
    return list(points.values())


class _Trials:
    """The points of a search as Optuna's trials, and what each still waits for.

    Args:
        folder: The study and where it lives.
        watcher: Told of progress.
        seed: Of what Optuna draws.
        under_way: The runs that are worked on.
    """

    def __init__(
        self, folder: StudyFolder, watcher: Watcher, *, seed: int, under_way: Sequence[PlannedRun]
    ) -> None:
        config = folder.study.config.search
        assert config is not None
        self._folder, self._config, self._watcher = folder, config, watcher
        self._arms = searched_arms(folder.study)
        self._distributions = _distributions(config, self._arms)
        self._value_of = objective(config.metric)
        self._study = _open_storage(folder, seed)
        complete = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        self._told = {trial.user_attrs.get(LABEL) for trial in complete}
        self._open: dict[int, tuple[Trial, list[PlannedRun]]] = {}
        self._under_way = {run.run_id for run in under_way}

    def enter(self, point: Point, runs: list[PlannedRun]) -> None:
        """Make a point with its runs a trial, if it is not one that Optuna has been told of."""
        if runs[0].place.label in self._told:
            return
        arm = {ARM: point.arm} if len(self._arms) > 1 else {}
        self._study.enqueue_trial({**arm, **point.params})
        self._watch(self._study.ask(self._distributions), runs)

    def draw(self) -> list[PlannedRun] | None:
        """Let Optuna choose a new point; return its runs to work on, None where no new point turned up."""
        for _ in range(MAX_DRAWS):
            trial = self._study.ask(self._distributions)
            params = dict(trial.params)
            arm = params.pop(ARM, self._arms[0])
            try:
                # Each value is valid (`check_space`), which they need not be together.
                runs = self._folder.plan(
                    arm, {p: readable(self._config.space[p], v) for p, v in params.items()}
                )
            except UserError as error:
                self._fail(trial, error)
                continue
            if any(run.place.name in self._folder.runs for run in runs):
                self._fail(trial, "drawn before")
                continue
            missing = enter(self._folder, runs, self._watcher)
            new = [run for run in missing if run.run_id not in self._under_way]
            self._under_way.update(run.run_id for run in new)
            self._watch(trial, runs)
            return new
        self._watcher.on_note(f"no new point in {MAX_DRAWS} draws: the search ends before its last trial")
        return None

    def close(self, run: PlannedRun, error: Exception | None) -> None:
        """Take note that a run has ended, and tell Optuna of each trial that ends with it."""
        self._under_way.discard(run.run_id)
        for number, (trial, runs) in list(self._open.items()):
            if run.run_id not in {own.run_id for own in runs}:
                continue
            if error is None:
                self._tell_if_complete(trial, runs)
            else:
                del self._open[number]
                self._fail(trial, error)

    def importances(self) -> dict[str, float]:
        """Return the share of the variance that each parameter explains."""
        if len(self._told) < 2:
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                evaluator = optuna.importance.PedAnovaImportanceEvaluator()
                return dict(optuna.importance.get_param_importances(self._study, evaluator=evaluator))
            except (ValueError, RuntimeError):  # all trials alike
                return {}

    def _watch(self, trial: Trial, runs: list[PlannedRun]) -> None:
        trial.set_user_attr(LABEL, runs[0].place.label)
        self._open[trial.number] = (trial, runs)
        self._tell_if_complete(trial, runs)

    def _tell_if_complete(self, trial: Trial, runs: list[PlannedRun]) -> None:
        if any(run.run_id in self._under_way for run in runs):
            return
        del self._open[trial.number]
        values = [self._value_of(self._folder.directory(run).scores) for run in runs]
        self._study.tell(trial, statistics.fmean(values))
        self._told.add(runs[0].place.label)

    def _fail(self, trial: Trial, why: object) -> None:
        trial.set_user_attr("error", str(why))
        self._study.tell(trial, state=TrialState.FAIL)


def objective(metric: str) -> Callable[[Mapping[str, Any]], float]:
    """Return the function from ``scores.json`` to the number that is maximised.

    Args:
        metric: ``mean`` of the groups, a group, or ``TASK/METRIC``.
    """

    def value(scores: Mapping[str, Any]) -> float:
        groups = {name: float(group["value"]) for name, group in scores["groups"].items()}
        if metric == "mean":
            return statistics.fmean(groups.values())
        if metric in groups:
            return groups[metric]
        named = {f"{score['task']}/{score['metric']}": float(score["value"]) for score in scores["scores"]}
        if metric not in named:
            raise StudyError(
                "the suite has no such score",
                where="search.metric",
                value=metric,
                way_out=f"valid: mean, {', '.join(groups)}, or TASK/METRIC such as {next(iter(named))}",
            )
        return named[metric]

    return value


def _open_storage(folder: StudyFolder, seed: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.path.mkdir(parents=True, exist_ok=True)
    url = os.environ.get("OPTUNA_STORAGE") or f"sqlite:///{folder.path / 'optuna.db'}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=seed, multivariate=True, constant_liar=True, n_startup_trials=5
        )
    name = f"{folder.study.config.name}-{_identity(folder)}"
    try:
        study = optuna.create_study(
            storage=url, study_name=name, sampler=sampler, direction="maximize", load_if_exists=True
        )
    except Exception as error:  # each driver has errors of its own
        raise StudyError(
            f"the storage of the search cannot be opened: {type(error).__name__}: {error}",
            where="OPTUNA_STORAGE" if os.environ.get("OPTUNA_STORAGE") else url,
            way_out="name it as in sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME (which needs "
            "`pip install psycopg2-binary`); a damaged file can be deleted, the runs are known without it",
        ) from error
    # Only one process works on a study's search, so what waits or runs there now was cut off.
    for _ in study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.ask()
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def _identity(folder: StudyFolder) -> str:
    """Return a hash of what trials have in common: another space, base, seed or suite is another search."""
    config = folder.study.config.search
    assert config is not None
    runs = [run.run_id for arm in searched_arms(folder.study) for run in folder.plan(arm, {})]
    space = config.model_dump(mode="json", exclude={"trials"})
    text = canonical_json([str(folder.path.resolve()), space, runs, folder.suite_fingerprint])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _distributions(config: SearchConfig, arms: list[str]) -> dict[str, BaseDistribution]:
    found: dict[str, BaseDistribution] = {ARM: CategoricalDistribution(arms)} if len(arms) > 1 else {}
    for path, domain in config.space.items():
        if isinstance(domain, list) or config.sampler == "grid":
            found[path] = CategoricalDistribution(choices_of(domain))
        else:
            found[path] = _interval(domain)
    return found


def _interval(domain: Range) -> BaseDistribution:
    if is_integral(domain):
        assert domain.step is not None
        return IntDistribution(int(domain.low), int(domain.high), log=domain.log, step=int(domain.step))
    return FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
