"""Main effects and interactions of a grid search: what each factor does alone, and what only together.

The factors are the arm, where several are searched, and each searched path. Scores of runs are split up by
analysis of variance (ordinary least squares, sum coding, seeds as blocks), which asks what other seeds would
give on these test items. The intervals of single effects are those of every difference of a report: they
cover other test items, too (`pgsbench.reporting.statistics.intervals.contrast`).
"""

from __future__ import annotations

import itertools
import math
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd

from pgsbench.config.search import SearchConfig
from pgsbench.records.run_spec import short, short_paths
from pgsbench.reporting.render import P_VALUE, PERCENT, POINTS, Header, Table, counted
from pgsbench.reporting.results import Results, named
from pgsbench.reporting.statistics.comparison import Missing
from pgsbench.reporting.statistics.intervals import Interval, contrast, holm
from pgsbench.reporting.statistics.paired_values import PairedValues

ARM, SEEDS, REST = "arm", "seeds", "rest"

#: Factor -> its level, of one cell of the grid.
Cell = Mapping[str, str]


@dataclass(frozen=True)
class Level:
    """One level of a factor.

    Attributes:
        factor: The factor.
        level: The level.
        mean: Mean score of its runs.
        effect: This mean minus the mean of all runs.
    """

    factor: str
    level: str
    mean: float
    effect: Interval


@dataclass(frozen=True)
class Term:
    """A line of the analysis of variance.

    Attributes:
        name: A factor, factors joined by ×, `SEEDS`, or `REST`: what seeds do to single cells.
        share: Of the sum of squares.
        by_chance: The share that chance alone gives it on average, by its degrees of freedom and `REST`.
        p_value: Of the F-test against `REST`; NaN where nothing is tested.
    """

    name: str
    share: float
    by_chance: float
    p_value: float = math.nan


@dataclass(frozen=True)
class Deviation:
    """How far a cell lies from the sum of the effects of its levels.

    Attributes:
        label: The label of the cell.
        interval: Its mean minus that sum.
        adjusted_p: Holm's p-value over all cells.
    """

    label: str
    interval: Interval
    adjusted_p: float = math.nan


@dataclass(frozen=True)
class Effects:
    """What moved the scores of a grid search.

    Attributes:
        of: What the scores are of: a group or a task.
        num_seeds: Seeds of every cell.
        levels: All levels of all factors.
        terms: The analysis of variance, in the order of the factors.
        deviations: All cells, the farthest from additivity first; none where there is one factor.
    """

    of: str
    num_seeds: int
    levels: tuple[Level, ...]
    terms: tuple[Term, ...]
    deviations: tuple[Deviation, ...]


@lru_cache(maxsize=4)  # a page asks for tables and for sentences
def effects(results: Results) -> Effects | Missing | None:
    """Return the effects of a grid search, or why they cannot be told; None where there is no such search.

    Nor where the search is over data: it would say which world is hard.
    """
    search = results.study.record.config.search
    if search is None or search.sampler != "grid" or results.is_over_data or not results.study.groups:
        return None
    cells = _cells(results, search)
    factors = _factors(list(cells.values()))
    full = math.prod(len(levels) for levels in factors.values())
    if not factors:
        return None
    seeds = {frozenset(results.study.values[label]) for label in cells}
    paired = results.pair_up(list(cells), results.scope)
    if len(cells) < full:
        return Missing(f"the grid has {len(cells)} of {counted(full, 'point')}")
    if len(seeds) > 1 or not all(seeds):
        return Missing("not every point of the grid has runs of the same seeds")
    if len(next(iter(seeds))) == 1:
        return Missing("with one seed nothing tells what settings do from what chance does")
    if isinstance(paired, Missing):
        return paired
    scores = paired.means.loc[list(cells)]
    if np.ptp(scores.to_numpy()) == 0:
        return Missing("all runs have the same score")
    if len(paired.seeds) < len(next(iter(seeds))):
        return Missing("some runs lack a task")
    return Effects(
        results.scope,
        len(paired.seeds),
        tuple(level_effects(paired, cells, factors)),
        tuple(analysis_of_variance(cells, scores)),
        tuple(deviations(paired, cells, factors)) if len(factors) > 1 else (),
    )


def analysis_of_variance(cells: Mapping[str, Cell], scores: pd.DataFrame) -> list[Term]:
    """Split the sum of squares of a complete grid.

    Args:
        cells: Label -> cell: all combinations of the levels of the factors.
        scores: Label x seed: one score a run.
    """
    from statsmodels.formula.api import ols  # it takes a second to load, and few reports need it
    from statsmodels.stats.anova import anova_lm

    # A formula has letters for the factors, whose own names may hold dots.
    letters = dict(zip(string.ascii_lowercase, _factors(list(cells.values())), strict=False))
    rows = [
        {**{letter: cell[name] for letter, name in letters.items()}, "seed": seed, "score": score}
        for label, cell in cells.items()
        for seed, score in scores.loc[label].items()
    ]
    table = anova_lm(ols(f"score ~ {' * '.join(letters)} + C(seed)", pd.DataFrame(rows)).fit(), typ=2)
    total, rest = table["sum_sq"].sum(), table.loc["Residual"]
    noise = rest["sum_sq"] / rest["df"] / total
    found = []
    for line in sorted(table.index.drop("Residual"), key=lambda line: (line == "C(seed)", line.count(":"))):
        name = SEEDS if line == "C(seed)" else " × ".join(letters[letter] for letter in line.split(":"))
        of = table.loc[line]
        found.append(Term(name, of["sum_sq"] / total, of["df"] * noise, float(of["PR(>F)"])))
    return [*found, Term(REST, rest["sum_sq"] / total, rest["sum_sq"] / total)]


def _cells(results: Results, search: SearchConfig) -> dict[str, Cell]:
    """Return label -> cell of the points that lie in the search's space; older searches left others."""
    names = short_paths(search.space, taken=(ARM, SEEDS, REST))
    listed = {path: domain for path, domain in search.space.items() if isinstance(domain, list)}
    found: dict[str, Cell] = {}
    for label in results.study.labels:
        arm, params = results.study.arm_of[label], results.params_of(label)
        is_inside = params.keys() == names.keys() and all(params[path] in listed[path] for path in listed)
        if is_inside and arm in results.study.record.config.searched_arms:
            found[label] = {ARM: arm} | {names[path]: short(value) for path, value in params.items()}
    return found


def _factors(cells: Sequence[Cell]) -> dict[str, list[str]]:
    """Return each factor that has several levels, with them."""
    names = dict.fromkeys(name for cell in cells for name in cell)
    found = {name: list(dict.fromkeys(cell[name] for cell in cells)) for name in names}
    return {name: levels for name, levels in found.items() if len(levels) > 1}


def level_effects(
    paired: PairedValues, cells: Mapping[str, Cell], factors: Mapping[str, Sequence[str]]
) -> Iterator[Level]:
    """Yield every level of every factor with its effect.

    Args:
        paired: The scores of all cells.
        cells: Label -> cell, a complete grid.
        factors: Factor -> its levels.
    """
    everywhere = 1 / len(cells)
    for factor, level in ((factor, level) for factor, levels in factors.items() for level in levels):
        inside = {label for label, cell in cells.items() if cell[factor] == level}
        weights = {label: (label in inside) / len(inside) - everywhere for label in cells}
        mean = float(paired.scores(sorted(inside)).mean())
        yield Level(factor, level, mean, contrast(paired, weights))


def deviations(
    paired: PairedValues, cells: Mapping[str, Cell], factors: Mapping[str, Sequence[str]]
) -> list[Deviation]:
    """Return how far each cell lies from additivity, the farthest first; arguments as in `level_effects`."""
    found = []
    for label, own in cells.items():
        # The cell, minus the mean of all, minus what each of its levels adds to that.
        weights = dict.fromkeys(cells, (len(factors) - 1) / len(cells))
        weights[label] += 1
        for other, factor in itertools.product(cells, factors):
            if cells[other][factor] == own[factor]:
                weights[other] -= len(factors[factor]) / len(cells)
        found.append(Deviation(label, contrast(paired, weights)))
    adjusted = holm([one.interval.p_value for one in found])
    found = [replace(one, adjusted_p=p) for one, p in zip(found, adjusted, strict=True)]
    return sorted(found, key=lambda one: -abs(one.interval.estimate))


# ------------------------------------------------------------------------------------------------ tables

#: Most cells that are shown of those that deviate from additivity.
MAX_DEVIATIONS = 8


def effects_tables(results: Results) -> list[Table]:
    """Main effects, shares of the variance, interactions of a grid search; none where they are not known."""
    found = effects(results)
    if not isinstance(found, Effects):
        return []
    tables = [_main_effects(found), _variance(found)]
    return [*tables, _interactions(found)] if found.deviations else tables


def _main_effects(found: Effects) -> Table:
    rows = [[one.factor, one.level, one.mean, one.effect] for one in found.levels]
    notes = [
        f"Score on {named(found.of)}, mean over all other factors and seeds. Effect: minus the mean of all "
        "runs, in points, with a 95 % interval over test items and seeds, each for itself.",
    ]
    header: Header = ["factor", "level", ("mean", PERCENT), ("effect", POINTS)]
    return Table("Main effects", header, rows, notes, num_keys=2)


def _variance(found: Effects) -> Table:
    rows: list[list[object]] = []
    for term in found.terms:
        p = "" if term.name == REST else term.p_value
        by_chance = "" if term.name == REST else term.by_chance
        rows.append([term.name, term.share, by_chance, p])
    notes = [
        f"Analysis of variance of the scores of runs on {named(found.of)}, in percent, seeds as blocks. "
        "Rest: what seeds do to single points. By chance: the share that a source without effect has on "
        "average. p: F-test against the rest; about these test items, not about others.",
    ]
    if found.num_seeds == 2:
        notes.append("Two seeds find large interactions only.")
    header: Header = ["source", ("share", PERCENT), ("by chance", PERCENT), ("p", P_VALUE)]
    return Table("Shares of the variance", header, rows, notes)


def _interactions(found: Effects) -> Table:
    rows = [[one.label, one.interval, one.adjusted_p] for one in found.deviations[:MAX_DEVIATIONS]]
    notes = [
        f"{len(rows)} of {len(found.deviations)} points, those that lie farthest from the mean plus the "
        "effects of their levels, in points, with 95 % intervals. Having been picked flatters them; p is "
        "Holm's over all points.",
    ]
    return Table("Largest interactions", ["point", ("deviation", POINTS), ("p (Holm)", P_VALUE)], rows, notes)
