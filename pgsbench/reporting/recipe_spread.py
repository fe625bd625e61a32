"""How much seeds matter to a recipe, by other studies of it: what a study of few arms borrows.

A recipe is the data, the model, the pairs or the budget of a training with their batch size, and the suite.
Arms vary alike with the seed within a recipe, and studies of one recipe agree on how much. Lenders are runs
of other studies in the same folder, and the table that ships (``seed_spreads.jsonl``), a row of which
``python -m research.spread_row runs/STUDY`` prints.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from importlib.resources import files as packaged
from pathlib import Path
from typing import Any

from pgsbench.errors import StudyError
from pgsbench.hashing import digest
from pgsbench.records import files
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.study_record import StudyRecord
from pgsbench.reporting.render import and_
from pgsbench.reporting.statistics.paired_values import PairedValues, SeedSpread
from pgsbench.reporting.statistics.task_values import ArmValues, shared_seeds
from pgsbench.reporting.statistics.variance import seeds_of_one_arm
from pgsbench.reporting.study_frames import Frames, macro_means, read_run

TABLE = "seed_spreads.jsonl"

#: In a folder of studies that was made from a report's evidence: what that report borrowed, and from whom.
LENT = "lent.json"

#: No more degrees of freedom are borrowed. With 20 an interval is 6 % wider than with endless ones, so more
#: would hardly narrow it; and studies of a recipe may differ a little in truth, so its own must soon count.
MAX_BORROWED_DF = 20.0


def recipe_of(spec: RunSpec) -> str:
    """Return a hash of what runs must have in common for one to tell how much seeds matter to the other."""
    config = spec.config
    spent = config.budget.model_dump(mode="json") if config.budget else config.training.samples
    model = spec.training["model"]
    tested = f"{spec.evaluation.suite}{f' {half}' if (half := spec.evaluation.half) else ''}"
    return digest([spec.data, model, spent, config.training.batch_size, tested])[:16]


def training_of(spec: RunSpec) -> str:
    """Return a hash of a training, on whatever machine: it counts once wherever it stands."""
    return digest(spec.training)[:10]


def estimates(values: Mapping[str, ArmValues], tasks: Mapping[str, float], source: str) -> list[SeedSpread]:
    """Return what arms say that have two seeds or more, those with the same seeds together.

    Args:
        values: Label -> seed -> task -> values.
        tasks: Task -> weight.
        source: Whose arms they are.
    """
    by_seeds: dict[frozenset[int], list[str]] = {}
    for label, arm in values.items():
        by_seeds.setdefault(shared_seeds([arm], tasks), []).append(label)
    found = []
    for seeds, labels in by_seeds.items():
        if len(seeds) < 2 or len(labels) < 2:
            continue
        with suppress(StudyError):  # tested on different items
            paired = PairedValues.build({label: values[label] for label in labels}, tasks, labels)
            square, noise, df = (float(one) for one in seeds_of_one_arm(*paired.arrays({})[:2]))
            found.append(SeedSpread(square - noise, df, source, noise))
    return found


def pooled(found: Iterable[SeedSpread]) -> SeedSpread | None:
    """Return what estimates say together, of at most `MAX_BORROWED_DF`; None where they say nothing."""
    every = list(found)
    known = [one for one in every if one.df > 0]
    if not known:
        return None
    df = sum(one.df for one in known)
    variance = sum(one.df * float(one.variance) for one in known) / df
    noise = sum(one.df * one.noise for one in known) / df
    sources = and_(list(dict.fromkeys(one.source for one in every)))
    return SeedSpread(max(0.0, variance), min(df, MAX_BORROWED_DF), sources, noise)


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
        found = [one for study in self._studies for one in estimates(study.values, tasks, study.name)]
        for row in self._rows:
            if of in row["scopes"] and (share := self._share(row)) > 0:
                told = SeedSpread(**row["scopes"][of], source=row["source"])
                found.append(replace(told, df=told.df * share))
        return pooled(found)

    def headline_df(self) -> float:
        """Return the degrees of freedom that a study without scores will borrow for its headline."""
        known = [item for study in self._studies for item in macro_means(study.groups).items()]
        known += [(of, {}) for row in self._rows for of in row["scopes"]]
        spread = self.spread(*known[0]) if known else None
        return spread.df if spread else 0.0

    @cached_property
    def _recipe(self) -> str | None:
        found = {recipe_of(spec) for spec in self._own}
        return found.pop() if len(found) == 1 else None

    @cached_property
    def _studies(self) -> list[Frames]:
        """The evaluated runs of other studies, none of them twice."""
        if self._recipe is None:
            return []
        found, seen = [], {training_of(spec) for spec in self._own}
        for path in sorted(self.runs_root.glob(f"*/{files.STUDY}")):
            with suppress(StudyError):  # a damaged study is its own report's affair
                record, runs = StudyRecord.read(path.parent), []
                for planned in record.runs:
                    training = training_of(planned.spec)
                    if recipe_of(planned.spec) == self._recipe and training not in seen:
                        run = read_run(self.runs_root, planned)
                        if run.is_evaluated:
                            seen.add(training)
                            runs.append(run)
                found += [Frames(path.parent, record, tuple(runs))] if runs else []
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
    """Return the rows of the table that ships: recipe, source, trainings, scopes -> of `SeedSpread`."""
    lines = packaged("pgsbench.reporting").joinpath(TABLE).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line]
