"""The search over a study's space: which points it has, and what each has given.

The study's record and its run directories are the truth: they say which points a search has and which of
them are complete. Where a place is free and no run is left, a new point is drawn. Optuna advises
(`pgsbench.execution.adviser`). A grid is our own list of points.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution

from pgsbench.config.search import SearchConfig
from pgsbench.errors import UserError
from pgsbench.execution.adviser import MAX_DRAWS, Adviser, KnownPoint, distribution, importances
from pgsbench.execution.driver import Watcher, enter, work_off
from pgsbench.execution.engine import Engine
from pgsbench.execution.ledger import Ledger
from pgsbench.execution.pruning import probe_values
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.study_record import Importances
from pgsbench.study.objective import cost_of, objectives_of
from pgsbench.study.plan import Point, first_points, grid_points
from pgsbench.study.space import domains_of
from pgsbench.tracking.rundir import RunDir

ARM = "arm"


def search(
    ledger: Ledger, references: Sequence[RunSpec], engine: Engine, watcher: Watcher
) -> list[tuple[RunSpec, Exception]]:
    """Work off the study's search space, and beside it the runs that nothing is searched in.

    Points that an earlier command entered and that lie in the space are part of the search. The importances
    of a sampled search go into the study's record.

    Args:
        ledger: Of the study.
        references: The runs of the arms that are not searched.
        engine: Who works on the runs.
        watcher: Told of progress.

    Returns:
        The runs that failed, each with its error.

    Raises:
        StudyError: The suite does not measure what is searched.
        KeyboardInterrupt: After the runs under way have saved; the same call goes on.
    """
    config = ledger.study.config
    assert config.search is not None
    arms = config.searched_arms
    spaces = [[arm] for arm in arms] if config.search.per_arm else [arms]
    books = [_Book(ledger, watcher, config.search, space) for space in spaces]

    def more() -> list[RunSpec]:
        # In turn, so that arms that are searched by themselves come forward together.
        in_turn = sorted(books, key=lambda book: book.num_points)
        return next((missing for book in in_turn if (missing := book.more())), [])

    def close(spec: RunSpec, error: Exception | None) -> None:
        for book in books:
            book.close(spec, error)

    missing = enter(ledger, references, watcher)
    for book in books:
        missing += book.begin()
    failed = work_off(ledger, missing, engine, watcher, more=more, on_ended=close)
    ledger.importances = books[0].importances() if len(books) == 1 else None
    ledger.write()
    return failed


@dataclass
class _Asked:
    """A point of the search.

    Attributes:
        params: Parameter -> value, as Optuna knows it.
        specs: Its runs, one a seed.
        known: What it has given; without values until all of its runs are complete.
    """

    params: dict[str, Any]
    specs: list[RunSpec]
    known: KnownPoint


class _Book:
    """The points of one space, of some of the searched arms, and what each point still waits for."""

    def __init__(self, ledger: Ledger, watcher: Watcher, config: SearchConfig, arms: Sequence[str]) -> None:
        self._ledger, self._config, self._watcher = ledger, config, watcher
        self._limit = config.trials
        self._arms, self._domains = list(arms), domains_of(ledger.study)
        self._objectives = objectives_of(config)
        self._entries: dict[str, _Asked] = {}
        self._notes: set[str] = set()
        directions = [one.direction for one in self._objectives]
        self._distributions = self._all_distributions()
        self._adviser = Adviser(
            config.sampler,
            self._distributions,
            directions,
            ledger.study.config.seeds[0],
            self._is_active,
        )

    # ------------------------------------------------------------------------------------------- points

    @property
    def num_points(self) -> int:
        """How many points there are so far."""
        return len(self._entries)

    def begin(self) -> list[RunSpec]:
        """Enter the points that are known beforehand, and return their runs that are missing."""
        if self._config.sampler == "grid":
            return self._enter(grid_points(self._ledger.study, self._limit, self._arms))
        return self._enter(self._entered()[: self._limit])

    def more(self) -> list[RunSpec]:
        """Return the runs of a new point; none: there are as many as were asked for."""
        missing: list[RunSpec] = []
        while self._config.sampler != "grid" and not missing and len(self._entries) < (self._limit or 0):
            drawn = self._draw()
            if drawn is None:
                break
            missing = self._enter([drawn])
        return missing

    def _draw(self) -> Point | None:
        found: list[Point] = []

        def accept(params: dict[str, Any]) -> bool:
            params = dict(params)
            arm = params.pop(ARM, self._arms[0])
            point = Point(arm, {path: self._domains[path].rounded(value) for path, value in params.items()})
            try:  # each value is valid (`space_problems`), which they need not be together
                specs = self._ledger.planner.specs([arm], point.params)
            except UserError as error:
                self._note(f"not valid together: {error}")
                return False
            if specs[0].label in self._entries or any(spec.name in self._ledger.runs for spec in specs):
                return False
            found.append(point)
            return True

        for point in first_points(self._ledger.study, self._arms):
            if accept(self._params_of(point)):
                return found[0]
        if self._adviser.draw([entry.known for entry in self._entries.values()], accept):
            return found[0]
        self._note(f"{MAX_DRAWS} draws in a row gave no new point: the search ends here")
        return None

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.add(text)
            self._watcher.on_note(text)

    def _entered(self) -> list[Point]:
        """Return the points of the record that lie in the search space, in the order they were entered."""
        points = dict[str, Point]()
        for run in self._ledger.runs.values():
            spec = run.spec
            chosen = {ARM: spec.arm, **spec.params}
            active = {path for path, domain in self._domains.items() if domain.is_active(chosen)}
            is_trial = spec.arm in self._arms and spec.params.keys() == active
            if is_trial and all(self._domains[path].contains(value) for path, value in spec.params.items()):
                points[spec.label] = Point(spec.arm, spec.params)
        return list(points.values())

    def _enter(self, points: Sequence[Point]) -> list[RunSpec]:
        planner, entries = self._ledger.planner, list[_Asked]()
        for point in points:
            specs = planner.specs([point.arm], point.params)
            params = self._params_of(point)
            entries.append(_Asked(params, specs, KnownPoint(params)))
        everything = [spec for entry in entries for spec in entry.specs]
        missing = enter(self._ledger, everything, self._watcher)
        self._entries |= {entry.specs[0].label: entry for entry in entries}
        left = {spec.id for spec in missing}
        for entry in entries:
            if not any(spec.id in left for spec in entry.specs):
                self._look(entry)
        return missing

    # -------------------------------------------------------------------------------------------- results

    def close(self, spec: RunSpec, error: Exception | None) -> None:
        """Take note that a run has ended."""
        for entry in self._entries.values():
            if error is None and spec.id in {own.id for own in entry.specs}:
                self._look(entry)

    def importances(self) -> Importances | None:
        """Return the share of the variance that each parameter explains; None on a grid."""
        if self._config.sampler == "grid":
            return None
        known = [entry.known for entry in self._entries.values()]
        return importances(known, len(self._ledger.study.config.seeds), self._distributions)

    def _look(self, entry: _Asked) -> None:
        """Tell what a point has given, where all of its runs are complete, or that it was pruned."""
        runs = [self._ledger.directory(spec) for spec in entry.specs]
        probed = self._probed(entry.specs, runs)
        if not all(self._ledger.is_complete(spec) for spec in entry.specs):
            if entry.specs[0].label in self._ledger.pruned():
                entry.known = KnownPoint(entry.params, intermediate=probed, is_pruned=True)
            return
        found = [
            (self._ledger.scores(spec), run.summary, spec.numerics.device)
            for run, spec in zip(runs, entry.specs, strict=True)
        ]
        values = [
            statistics.fmean(objective.value_of(*one) for one in found) for objective in self._objectives
        ]
        excess: dict[str, float] = {
            name: statistics.fmean(cost_of(name, summary, device) for _, summary, device in found) - limit
            for name, limit in self._config.at_most.items()
        }
        entry.known = KnownPoint(entry.params, values, excess, probed)

    def _probed(self, specs: Sequence[RunSpec], runs: Sequence[RunDir]) -> dict[int, float]:
        """Return percent of the training -> mean of what was measured there; none for two objectives."""
        if len(self._objectives) > 1:
            return {}
        found: dict[int, list[float]] = {}
        for spec, run in zip(specs, runs, strict=True):
            for percent, value in probe_values(spec, run).items():
                found.setdefault(percent, []).append(value)
        return {percent: statistics.fmean(values) for percent, values in found.items()}

    # --------------------------------------------------------------------------------------------- inside

    def _params_of(self, point: Point) -> dict[str, Any]:
        return {**({ARM: point.arm} if len(self._arms) > 1 else {}), **point.params}

    def _is_active(self, name: str, chosen: Mapping[str, Any]) -> bool:
        return name == ARM or self._domains[name].is_active({ARM: self._arms[0], **chosen})

    def _all_distributions(self) -> dict[str, BaseDistribution]:
        found: dict[str, BaseDistribution] = {}
        if len(self._arms) > 1:
            found[ARM] = CategoricalDistribution(self._arms)
        is_grid = self._config.sampler == "grid"
        for path, domain in self._domains.items():
            found[path] = CategoricalDistribution(domain.grid()) if is_grid else distribution(domain)
        return found
