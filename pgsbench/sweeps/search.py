"""The search over a study's space: Optuna proposes, worker processes train, only this process tells.

A grid is our own list of cells, each queued until it is complete: Optuna's grid sampler repeats cells under
several workers and drops failed ones. The storage is a SQLite file in the study's folder, or any RDB by
``OPTUNA_STORAGE``; the run directories remain the truth, so a trial that was cut off is asked again and
its finished runs are reused.
"""

from __future__ import annotations

import json
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
from pgsbench.errors import StudyError
from pgsbench.experiment import is_complete
from pgsbench.sweeps.plan import PlannedRun, choices_of, grid_points, is_integral, searched_arms
from pgsbench.sweeps.study import StudyFolder, Watcher, completed, enter, open_workers, outcome
from pgsbench.tracking.rundir import find_runs

ARM = "arm"
#: Of what is drawn from an interval.
SIGNIFICANT_DIGITS = 4
#: Attribute of the Optuna study: numbers of complete trials that no longer stand for runs on disk.
RETIRED = "retired"


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

    Args:
        folder: The study and where it lives.
        references: The runs of the arms that are not searched.
        watcher: Told of progress.
        trials: Overrides `search.trials`: how many trials there are in all, past ones included.
        jobs: At most this many processes.
        device: See `plan_slots`.

    Raises:
        StudyError: The stored search is one over another space.
        KeyboardInterrupt: After the workers have saved; the same call goes on.
    """
    config = folder.study.config.search
    assert config is not None
    study = _open_storage(folder, config)
    _forget_cut_off_trials(study)
    arms = searched_arms(folder.study)
    pending = enter(folder, references, watcher)
    num_standing = _take_stock(study, folder, arms, watcher)
    cells = _grid_cells(config, arms)[: trials or config.trials] if config.sampler == "grid" else None
    budget = len(cells) if cells is not None else (trials or config.trials or 0)
    if cells is not None:
        _queue(study, cells)
    asked = _Asked(folder, study, config, arms, watcher, under_way=pending)
    failed: list[tuple[PlannedRun, Exception]] = []
    remaining = max(0, budget - num_standing)
    num_runs = max(1, len(pending) + remaining * len(folder.study.config.seeds))
    with open_workers(folder, num_runs=num_runs, jobs=jobs, device=device) as workers:
        width = len(workers.slots.devices)
        futures: dict[Future[str], PlannedRun] = {workers.submit(run): run for run in pending}

        def fill() -> None:
            # A failed trial is not asked again here, or a cell that cannot work would never end.
            while len(futures) < width and asked.num_asked < remaining:
                for run in asked.next_runs():
                    futures[workers.submit(run)] = run

        fill()
        for run, future in completed(folder, futures, watcher, running=width):
            error = outcome(future)
            if error is not None:
                failed.append((run, error))
                watcher.on_failed(run, error)
            else:
                watcher.on_done(run, False)
            asked.close(run, error)
            fill()
    return Searched(_importances(study), failed)


class _Asked:
    """Trials that Optuna was asked for and not told of yet."""

    def __init__(
        self,
        folder: StudyFolder,
        study: optuna.Study,
        config: SearchConfig,
        arms: list[str],
        watcher: Watcher,
        under_way: Sequence[PlannedRun],
    ) -> None:
        self.folder, self.study, self.config, self.arms, self.watcher = folder, study, config, arms, watcher
        self._trials: dict[int, tuple[Trial, list[PlannedRun]]] = {}
        self._open_runs: dict[str, set[int]] = {run.run_id: set() for run in under_way}
        self.num_asked = 0

    def next_runs(self) -> list[PlannedRun]:
        """Ask for one more trial and return those of its runs that have to be worked on."""
        self.num_asked += 1
        trial = self.study.ask(_distributions(self.config, self.arms))
        runs = _runs_of(trial.params, self.folder, self.arms)
        self.folder.add(runs)
        trial.set_user_attr("runs", [run.run_id for run in runs])
        self._trials[trial.number] = (trial, runs)
        waiting = []
        for run in runs:
            if self.folder.is_complete(run):
                self.watcher.on_done(run, True)
                continue
            if run.run_id not in self._open_runs:  # two trials at one point share their runs
                waiting.append(run)
            self._open_runs.setdefault(run.run_id, set()).add(trial.number)
        if not any(trial.number in numbers for numbers in self._open_runs.values()):
            self._tell(trial.number, None)
        return waiting

    def close(self, run: PlannedRun, error: Exception | None) -> None:
        """Take note that a run has ended, and tell Optuna of each trial that is complete with it."""
        for number in self._open_runs.pop(run.run_id, set()):
            still_open = any(number in numbers for numbers in self._open_runs.values())
            if number in self._trials and (error is not None or not still_open):
                self._tell(number, error)

    def _tell(self, number: int, error: Exception | None) -> None:
        trial, runs = self._trials.pop(number)
        if error is not None:
            trial.set_user_attr("error", str(error))
            self.study.tell(trial, state=TrialState.FAIL)
            return
        value_of = objective(self.config.metric)
        found = find_runs(self.folder.runs_root, {run.run_id for run in runs})
        self.study.tell(trial, statistics.fmean(value_of(run.scores) for run in found.values()))


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
                "the suite has no such score", where="search.metric", value=metric,
                way_out=f"valid: mean, {', '.join(groups)}, or TASK/METRIC such as {next(iter(named))}",
            )  # fmt: skip
        return named[metric]

    return value


def _open_storage(folder: StudyFolder, config: SearchConfig) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.path.mkdir(parents=True, exist_ok=True)
    url = os.environ.get("OPTUNA_STORAGE", f"sqlite:///{folder.path / 'optuna.db'}")
    seed = folder.study.config.seeds[0]
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(
            storage=url,
            study_name=folder.study.config.name,
            sampler=sampler,
            direction="maximize",
            load_if_exists=True,
        )
    mark = json.dumps(
        {"space": config.model_dump(mode="json")["space"], "metric": config.metric}, sort_keys=True
    )
    if study.user_attrs.get("search", mark) != mark:
        raise StudyError(
            "the search in this folder is over another space or metric", where=str(folder.path),
            way_out="give the study another name (`name:` in its file), or move the folder away; "
            "runs with equal configurations are reused either way",
        )  # fmt: skip
    study.set_user_attr("search", mark)
    return study


def _forget_cut_off_trials(study: optuna.Study) -> None:
    # Only one process works on a study's search, so a trial that runs now was cut off: ask for it again.
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        if trial.params:
            study.enqueue_trial(trial.params, skip_if_exists=False)


def _grid_cells(config: SearchConfig, arms: list[str]) -> list[dict[str, Any]]:
    points = list(grid_points(config))
    return [{ARM: arm, **point} if len(arms) > 1 else point for arm in arms for point in points]


def _queue(study: optuna.Study, cells: list[dict[str, Any]]) -> None:
    taken = [
        trial.params or trial.system_attrs.get("fixed_params")
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.WAITING))
    ]
    for cell in cells:
        if cell not in taken:
            study.enqueue_trial(cell)


def _runs_of(params: Mapping[str, Any], folder: StudyFolder, arms: list[str]) -> list[PlannedRun]:
    config = folder.study.config.search
    assert config is not None
    point = dict(params)
    arm = point.pop(ARM, arms[0])
    distributions = _distributions(config, arms)
    return folder.plan(arm, {path: _readable(value, distributions[path]) for path, value in point.items()})


def _readable(value: Any, domain: BaseDistribution) -> Any:
    """Round what was drawn from an interval: a run is named, and can be asked for again, by its values."""
    if not isinstance(domain, FloatDistribution) or domain.step is not None:
        return value
    return min(max(float(f"{value:.{SIGNIFICANT_DIGITS}g}"), domain.low), domain.high)


def _take_stock(study: optuna.Study, folder: StudyFolder, arms: list[str], watcher: Watcher) -> int:
    """Return how many past trials stand; those whose runs are gone, or have more seeds now, are repeated."""
    retired = set(study.user_attrs.get(RETIRED, []))
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    past = [trial for trial in complete if trial.number not in retired]
    runs_of = {trial.number: _runs_of(trial.params, folder, arms) for trial in past}
    found = find_runs(folder.runs_root, {run.run_id for runs in runs_of.values() for run in runs})
    standing: list[PlannedRun] = []
    for trial in past:
        runs = runs_of[trial.number]
        if all(is_complete(found.get(run.run_id), folder.suite_fingerprint) for run in runs):
            standing += runs
        else:
            retired.add(trial.number)
            study.enqueue_trial(trial.params)
    folder.add(standing)
    for run in standing:
        watcher.on_done(run, True)
    study.set_user_attr(RETIRED, sorted(retired))
    return sum(trial.number not in retired for trial in past)


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


def _importances(study: optuna.Study) -> dict[str, float]:
    retired = study.user_attrs.get(RETIRED, [])
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if sum(trial.number not in retired for trial in complete) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
        except (ValueError, RuntimeError):  # all trials alike
            return {}
