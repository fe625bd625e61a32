"""What a command prints of a study that was trained, compared or searched; its report has the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from pgsbench.reporting.render import Table
from pgsbench.reporting.search.effects_tables import effects_missing, effects_tables
from pgsbench.reporting.search.sweep_tables import importance_table, sweep_table
from pgsbench.reporting.search.where import where_table
from pgsbench.reporting.study_results import StudyResults
from pgsbench.reporting.tables import cost_table, differences_table, gap_table, scores_table
from pgsbench.reporting.verdict.answer import answer, certainty
from pgsbench.reporting.verdict.arm_ranking import ranking_table
from pgsbench.reporting.verdict.fairness import fairness_sentence
from pgsbench.reporting.verdict.sentences import caveats, guessing
from pgsbench.reporting.verdict.short_table import verdict_table

#: Tables, and the sentences below them, a line each; empty: there are none.
Printout: TypeAlias = tuple[list[Table], str]


def of_training(results: StudyResults) -> Printout:
    """Return what is printed of arms that were trained: scores, order and costs, and who learnt nothing."""
    found = results.statistics
    return _printout([scores_table(found), ranking_table(found), cost_table(found)], guessing(found))


def of_comparison(results: StudyResults) -> Printout:
    """Return what is printed of a comparison: the verdict first, below it how sure and how fair it is."""
    found = results.statistics
    tables = [verdict_table(found), scores_table(found), ranking_table(found), differences_table(found)]
    words = [answer(found), certainty(found), fairness_sentence(found), *caveats(found)]
    return _printout([*tables, gap_table(found), cost_table(found)], words)


def of_sweep(results: StudyResults, confirmed: StudyResults | None = None) -> Printout:
    """Return what is printed of a search: best points, what mattered, and where a mask pays.

    Args:
        results: The search.
        confirmed: Its winner against rivals on fresh seeds (`session.confirming`); None: not asked for.
    """
    found = results.statistics
    tables = [scores_table(found), where_table(found), sweep_table(found), importance_table(found)]
    tables += effects_tables(found)
    words = [answer(found), certainty(found), effects_missing(found)] if found.pairs else []
    if confirmed is not None:
        fresh = confirmed.statistics
        tables.append(replace(verdict_table(fresh), title="Verdict with fresh seeds"))
        words += [f"With fresh seeds (reports/{fresh.study.name}): {answer(fresh)}", certainty(fresh)]
    return _printout(tables, words)


def _printout(tables: Sequence[Table | None], words: Sequence[str] = ()) -> Printout:
    return [table for table in tables if table is not None], "\n".join(filter(None, words))
