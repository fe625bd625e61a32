"""What a study says, for people in a notebook: DataFrames, figures, and the verdict in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pgsbench.errors import StudyError, nearest
from pgsbench.reporting import columns, figures
from pgsbench.reporting.answer import basis, comparison, first_table, headline
from pgsbench.reporting.badges import badges
from pgsbench.reporting.columns import arms_table
from pgsbench.reporting.decision.comparisons import comparisons_frame
from pgsbench.reporting.fairness import fairness_sentence
from pgsbench.reporting.notebook import InNotebook, Part
from pgsbench.reporting.render import Table
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.comparison import Missing
from pgsbench.reporting.statistics.overtaking import Overtaking, overtaking


@dataclass(frozen=True)
class Findings(InNotebook):
    """The results of a study; scores are shares in [0, 1], differences of such.

    Attributes:
        statistics: The statistics behind it.
    """

    statistics: Results

    @property
    def scores(self) -> pd.DataFrame:
        """Mean and 95 % interval of each arm on each group: label, group, score, low, high, seeds, chance."""
        found, rows = self.statistics, []
        for label in found.study.labels:
            for group in found.groups:
                mean, seeds = found.mean(label, group), found.seeds(label)[0]
                ends = [np.nan] * 3 if isinstance(mean, Missing) else [mean.estimate, mean.low, mean.high]
                rows.append([label, group, *ends, seeds, found.chance(group)])
        return pd.DataFrame(rows, columns=["label", "group", "score", "low", "high", "seeds", "chance"])

    @property
    def differences(self) -> pd.DataFrame:
        """Candidate minus each baseline by group and task: estimate, interval, p-values, verdict."""
        return comparisons_frame(self.statistics)

    @property
    def outcomes(self) -> pd.DataFrame:
        """The value of every test item under each run: label, seed, task, item, value."""
        frames = {
            (label, seed, task): pd.DataFrame({"item": values.items, "value": values.values})
            for label, seeds in self.statistics.study.values.items()
            for seed, tasks in seeds.items()
            for task, values in tasks.items()
        }
        if not frames:
            return pd.DataFrame(columns=["label", "seed", "task", "item", "value"])
        return pd.concat(frames, names=["label", "seed", "task"]).droplevel(-1).reset_index()

    @property
    def costs(self) -> pd.DataFrame:
        """What each arm cost, means over its complete runs; see `pgsbench.records.run_records.Summary`."""
        rows = columns.rows_of(self.statistics)
        return pd.DataFrame([{"label": label, **row.summary} for label, row in rows.items()])

    @property
    def curves(self) -> pd.DataFrame:
        """The lines that training logged: arm, label, seed, step, samples, loss, ..."""
        return self.statistics.study.curves

    @property
    def score_curves(self) -> pd.DataFrame:
        """Scores while runs were trained: arm, label, seed, step, samples, seconds, flops, task, score."""
        return self.statistics.study.score_curves

    def overtaking(self, baseline: str, *, unit: str = "flops") -> Overtaking:
        """Return at which budget the candidate overtakes a baseline, by `score_curves`.

        Args:
            baseline: Its label.
            unit: ``flops``, ``samples``, ``seconds`` or ``cpu_seconds``.

        Raises:
            StudyError: The two share no seed or no budget that was measured.
        """
        return overtaking(self.score_curves, self.statistics.candidate, baseline, unit=unit)

    @property
    def arms(self) -> pd.DataFrame:
        """All that is known of each arm, a row each, as the report's table has it; not rounded."""
        return arms_table(self.statistics, max_rows=len(self.statistics.study.labels)).frame

    @property
    def verdict(self) -> str:
        """The answer, what it rests on, and what limits it, a sentence each."""
        found = self.statistics
        limits = [f"{short}: {sentence}" for short, sentence in badges(found)]
        return "\n".join(filter(None, [headline(found), basis(found), fairness_sentence(found), *limits]))

    def printout(self, *, compared: bool = False) -> tuple[list[Table], str]:
        """Return what a command prints of the study: its table, the table of arms, and the verdict below.

        Args:
            compared: A comparison was asked for, whatever else the study asks.
        """
        found = self.statistics
        if compared:
            return [arms_table(found)], f"{comparison(found)}\n{self.verdict.partition(chr(10))[2]}"
        tables = [first_table(found), arms_table(found)]
        return [table for table in tables if table is not None], self.verdict

    @property
    def problems(self) -> list[str]:
        """One line for each planned run that is not there in full."""
        return self.statistics.study.problems

    def figure(self, name: str) -> Figure | None:
        """Draw a figure of the report, ``differences`` for example; None where there is nothing to draw.

        Raises:
            StudyError: The report has no such figure.
        """
        if name not in figures.ALL:
            raise StudyError("no such figure", value=name, way_out=nearest(name, figures.ALL))
        return figures.ALL[name](self.statistics)

    def in_notebook(self) -> Iterable[Part]:
        """Yield the answer, the tables and the figures of the report."""
        tables, said = self.printout()
        yield said
        yield from tables
        yield from map(self.figure, figures.names_for(self.statistics))
