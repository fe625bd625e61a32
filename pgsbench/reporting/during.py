"""Scores of runs while they were trained (`evaluation.during`): who is ahead when, and who overtakes whom."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pgsbench.errors import StudyError
from pgsbench.reporting.render import COUNT, PERCENT, Format, Header, Table, and_
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.overtaking import (
    CAUTION,
    UNITS,
    Overtaking,
    mean_curves,
    overtaking,
    three_digits,
)
from pgsbench.reporting.style import (
    FIRST_WIDTH,
    label_lines,
    new_figure,
    pens,
    percent_tick,
    themed,
    thousands,
)

#: Budgets of the tables, of `UNITS`.
_SHOWN = ("samples", "flops", "seconds")
#: More measurements of an arm are not all in the table, and more pairs of arms not all in the sentences.
MAX_ROWS, MAX_TOLD = 10, 3


def _means(results: Results) -> pd.DataFrame:
    """Return `mean_curves` of the labels that stand for their arms, those alone that were measured."""
    curves = results.study.score_curves
    measured = set(curves["label"])
    return mean_curves(curves, [label for label in results.best_of.values() if label in measured])


def during_figure(results: Results) -> Figure | None:
    """Draw score against pairs seen: a line per arm, the mean of its seeds, in a band from lowest to highest.

    None where no run was measured on the way.
    """
    means, pen_of = _means(results), pens(results.study.arms)
    if means.empty:
        return None
    with themed():
        figure = new_figure(3.6, width=FIRST_WIDTH)
        axes, ends = figure.subplots(), []
        for arm, label in results.best_of.items():
            rows, pen = means[means["label"] == label], pen_of[arm]
            seeds = rows.pivot(index="samples", columns="seed", values="score").dropna()
            if seeds.empty:
                continue
            axes.fill_between(
                seeds.index, seeds.min(axis=1), seeds.max(axis=1), color=pen.colour, alpha=0.15, linewidth=0
            )
            line = seeds.mean(axis=1)
            axes.plot(line.index, line, color=pen.colour, linestyle=pen.dashes, marker=pen.marker, label=arm)
            ends.append((float(line.iloc[-1]), arm, pen.colour))
        tasks = _tasks(results)
        axes.set(xlabel="training pairs seen", ylabel=f"{tasks[0] if len(tasks) == 1 else 'score'} (%)")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.xaxis.set_major_formatter(FuncFormatter(thousands))
        axes.yaxis.set_major_formatter(FuncFormatter(percent_tick))
        axes.margins(x=0.02)
        label_lines(axes, ends)
    return figure


def _tasks(results: Results) -> list[str]:
    return list(dict.fromkeys(results.study.score_curves["task"]))


def during_tables(results: Results) -> list[Table]:
    """Return scores against pairs, operations and seconds, and who overtakes whom in each of these."""
    means = _means(results)
    if means.empty:
        return []
    rows: list[list[object]] = []
    for arm, label in results.best_of.items():
        of_arm = means[means["label"] == label].groupby("step")
        points = of_arm.agg({**dict.fromkeys(_SHOWN, "mean"), "score": "mean", "seed": "count"})
        kept = np.unique(np.linspace(0, len(points) - 1, min(len(points), MAX_ROWS)).round().astype(int))
        for *budgets, score, seeds in points.iloc[kept].to_numpy(float):
            costs = [UNITS[unit][1] * spent or None for unit, spent in zip(_SHOWN, budgets, strict=True)]
            rows.append([arm, *costs, score, int(seeds)])
    whole, rough = Format("{:,.0f}"), Format(three_digits)
    header: Header = ["arm", *((UNITS[unit][0], whole if unit == "samples" else rough) for unit in _SHOWN)]
    header += [("score", PERCENT), ("seeds", COUNT)]
    notes = [f"Mean of {and_(_tasks(results))}, in percent, and of the seeds that were measured there."]
    found = [Table("Budgets and scores during training", header, rows, notes)]
    pairs = [[one for unit in _SHOWN if (one := _leader(results, *pair, unit))] for pair in results.pairs]
    crossings = [
        [of_pair[0].candidate, of_pair[0].baseline, *_budgets(of_pair)] for of_pair in pairs if of_pair
    ]
    if crossings:
        names: Header = ["ahead at the end", "of", *(UNITS[unit][0] for unit in _SHOWN)]
        notes = [
            "From which budget on the mean of the seeds is ahead, with the 95 % interval of a t test over "
            f"them; test items are taken as given. {CAUTION}"
        ]
        found.append(Table("Who overtakes whom during training", names, crossings, notes, num_keys=2))
    return found


def during_words(results: Results) -> str:
    """Return at which budget arms overtake others, in sentences; empty where none were measured on the way.

    Budgets are operations, or pairs where operations cannot be told.
    """
    told = []
    for pair in results.pairs:
        one = _leader(results, *pair, "flops") or _leader(results, *pair, "samples")
        told += [one.finding] if one else []
    more = f" The table has {len(told) - MAX_TOLD} more." if len(told) > MAX_TOLD else ""
    return f"{' '.join(told[:MAX_TOLD])}{more} {CAUTION}" if told else ""


def _leader(results: Results, ours: str, theirs: str, unit: str) -> Overtaking | None:
    """Return where the one of two that is ahead at the end overtakes the other; None: not known."""
    curves = results.study.score_curves
    try:
        found = overtaking(curves, ours, theirs, unit=unit)
    except StudyError:  # no seed of the two was measured
        return None
    return found if found.at is not None else overtaking(curves, theirs, ours, unit=unit)


def _budgets(of_pair: list[Overtaking]) -> list[str]:
    """Return the budget in each unit that is known; who leads does not depend on the unit at equal ends."""
    said = {
        one.unit: (one.candidate == of_pair[0].candidate and one.budget) or "not ahead" for one in of_pair
    }
    return [said.get(unit, "not known") for unit in _SHOWN]
