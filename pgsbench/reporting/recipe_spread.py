"""How much seeds matter to a recipe, by other studies of it: what a study of few arms borrows.

A recipe is the data, the model, the pairs or the budget of a training with their batch size, and the suite.
Arms vary alike with the seed within a recipe, and studies of one recipe agree on how much. Lenders are runs
of other studies in the same folder, and the table that ships (``seed_spreads.jsonl``), a row of which
``python -m research.spread_row runs/STUDY`` prints.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib.resources import files as packaged
from pathlib import Path
from typing import Any, NamedTuple

from pgsbench.errors import StudyError
from pgsbench.hashing import digest
from pgsbench.records import files
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.study_record import StudyRecord
from pgsbench.reporting.render import and_
from pgsbench.reporting.statistics.paired_values import ArmValues, PairedValues, shared_seeds
from pgsbench.reporting.statistics.seed_spread import SeedSpread
from pgsbench.reporting.statistics.variance import seeds_of_one_arm
from pgsbench.reporting.study_frames import StudyFrames, macro_means, read_run

TABLE = "seed_spreads.jsonl"

#: In a folder of studies that was made from a report's evidence: what that report borrowed, and from whom.
LENT = "lent.json"

#: No more degrees of freedom are borrowed. With 20 an interval is 6 % wider than with endless ones, so more
#: would hardly narrow it; and studies of a recipe may differ a little in truth, so its own must soon count.
MAX_BORROWED_DF = 20.0


class Estimate(NamedTuple):
    """What one study says of seeds on a group or task; see `SeedSpread`."""

    variance: float
    noise: float
    df: float


def recipe_of(spec: RunSpec) -> str:
    """Return a hash of what runs must have in common for one to tell how much seeds matter to the other."""
    config = spec.config
    spent = config.budget.model_dump(mode="json") if config.budget else config.training.samples
    model = spec.training["model"]
    return digest([spec.data, model, spent, config.training.batch_size, spec.evaluation.suite])[:16]


def training_of(spec: RunSpec) -> str:
    """Return a hash of a training, on whatever machine: it counts once wherever it stands."""
    return digest(spec.training)[:10]


def estimates(values: Mapping[str, ArmValues], tasks: Mapping[str, float]) -> Iterator[Estimate]:
    """Yield what arms say that have two seeds or more, those with the same seeds together.

    Args:
        values: Label -> seed -> task -> values.
        tasks: Task -> weight.
    """
    by_seeds: dict[frozenset[int], list[str]] = {}
    for label, arm in values.items():
        by_seeds.setdefault(shared_seeds([arm], tasks), []).append(label)
    for seeds, labels in by_seeds.items():
        if len(seeds) < 2 or len(labels) < 2:
            continue
        try:
            paired = PairedValues.build({label: values[label] for label in labels}, tasks, labels)
        except StudyError:  # tested on different items
            continue
        square, noise, df = (float(one) for one in seeds_of_one_arm(*paired.arrays({})[:2]))
        yield Estimate(square - noise, noise, df)


def pooled(found: Iterable[Estimate], source: str) -> SeedSpread | None:
    """Return what estimates say together, of at most `MAX_BORROWED_DF`; None where they say nothing."""
    every = [one for one in found if one.df > 0]
    df = sum(one.df for one in every)
    if not every:
        return None
    variance, noise = (sum(one.df * one[k] for one in every) / df for k in (0, 1))
    return SeedSpread(max(0.0, variance), min(df, MAX_BORROWED_DF), source, noise)


class Lenders:
    """Who knows how much seeds matter to a study.

    Args:
        runs_root: The folder of all studies.
        own: The runs of the study: none of their trainings is counted.
    """

    def __init__(self, runs_root: Path, own: Sequence[RunSpec]) -> None:
        self.runs_root, self._own = runs_root, own
        kept = runs_root / LENT
        self._kept = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else None

    def spread(self, of: str, tasks: Mapping[str, float]) -> SeedSpread | None:
        """Return what is borrowed for a group or task; None: nothing is known, or the study has two recipes.

        Args:
            of: The group or task.
            tasks: Its tasks -> their weights.
        """
        if self._kept is not None:
            return SeedSpread(**self._kept[of]) if of in self._kept else None
        found: list[Estimate] = []
        names: list[str] = []
        for study in self._studies:
            if told := list(estimates(study.values, tasks)):
                found, names = [*found, *told], [*names, study.name]
        for row in self._rows:
            if of in row["scopes"] and (share := self._share(row)) > 0:
                told_there = Estimate(**row["scopes"][of])
                found.append(told_there._replace(df=told_there.df * share))
                names.append(row["source"])
        return pooled(found, and_(list(dict.fromkeys(names))))

    def headline_df(self) -> float:
        """Return the degrees of freedom that a study without scores will borrow for its headline."""
        known = [next(iter(macro_means(study.groups).items()), None) for study in self._studies]
        of, tasks = next((one for one in known if one is not None), ("", {}))
        if not of and self._rows:
            of = next(iter(self._rows[0]["scopes"]))
        spread = self.spread(of, tasks)
        return spread.df if spread else 0.0

    @cached_property
    def _recipe(self) -> str | None:
        found = {recipe_of(spec) for spec in self._own}
        return found.pop() if len(found) == 1 else None

    @cached_property
    def _studies(self) -> list[StudyFrames]:
        """The evaluated runs of other studies, none of them twice."""
        if self._recipe is None:
            return []
        found, seen = [], {training_of(spec) for spec in self._own}
        for path in sorted(self.runs_root.glob(f"*/{files.STUDY}")):
            try:
                record = StudyRecord.read(path.parent)
            except StudyError:  # a damaged study is its own report's affair
                continue
            runs = []
            for planned in record.runs:
                if recipe_of(planned.spec) == self._recipe and training_of(planned.spec) not in seen:
                    run = read_run(self.runs_root, planned)
                    if run.is_evaluated:
                        seen.add(training_of(run.spec))
                        runs.append(run)
            if runs:
                found.append(StudyFrames(path.parent, record, tuple(runs)))
        return found

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        return [row for row in shipped() if row["recipe"] == self._recipe]

    def _share(self, row: Mapping[str, Any]) -> float:
        """Return how much of a row counts: its trainings that are not known from elsewhere."""
        known = {training_of(spec) for spec in self._own}
        known |= {training_of(run.spec) for study in self._studies for run in study.runs}
        return 1 - len(known.intersection(row["trainings"])) / len(row["trainings"])


def shipped() -> list[dict[str, Any]]:
    """Return the rows of the table that ships: recipe, source, trainings, scopes -> `Estimate`."""
    lines = packaged("pgsbench.reporting").joinpath(TABLE).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line]
