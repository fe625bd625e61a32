"""Planning: how many seeds and test items a difference takes, from what a pilot says of both."""

from __future__ import annotations

import numpy as np

from pgsbench.errors import StudyError
from pgsbench.reporting.decision.forecast import MOST_SEEDS, POWER, Forecast
from pgsbench.reporting.render import COUNT, Format, Header, Table, counted
from pgsbench.reporting.results import Results, named
from pgsbench.reporting.statistics.comparison import Comparison, Missing
from pgsbench.reporting.statistics.paired_values import lead
from pgsbench.reporting.study_frames import COMPLETE

#: Differences that are planned for, as shares.
DIFFERENCES = (0.005, 0.01, 0.02)


def detectable(results: Results, ours: str, theirs: str, of: str) -> float | None:
    """Return the smallest true difference of a pair that its seeds and items find; None: not known.

    With one seed it is about this training run: what other seeds would give is not in it.
    """
    forecast = _forecast(results, ours, theirs, of)
    return None if forecast is None else forecast.detectable(len(forecast.paired.seeds))


def power_table(results: Results) -> Table:
    """Return the seeds, hours and test items that differences of 0.5, 1 and 2 points take, for each pair."""
    headline, rows = next(iter(results.groups), ""), []
    if not results.pairs:
        way_out = "name another arm in --candidate or --baselines, or run a study that has two"
        raise StudyError("the study compares no two arms", where=results.study.name, way_out=way_out)
    for ours, theirs in results.pairs:
        forecast = _forecast(results, ours, theirs, headline) if headline else None
        pair = Comparison(ours, theirs, headline, Missing("")).pair
        for difference in DIFFERENCES:
            said = [None] * 3 if forecast is None else _needed(results, (ours, theirs), forecast, difference)
            rows.append([pair, difference, *said])
    seeds = min((results.seeds(label)[0] for pair in results.pairs for label in pair), default=0)
    notes = [
        f"A true difference of so many points on {named(headline)} is then found with a chance of "
        f"{POWER:.0%} (two-sided test at 5 %, one comparison). From the variances of this pilot; with "
        f"{counted(seeds, 'seed')} they are rough.",
        f"Seeds: with today's test pictures; hours: of training and evaluating both arms, one after another. "
        f"Test pictures: with today's seeds. none: not with {MOST_SEEDS} seeds, or any number of pictures.",
    ]
    if seeds == 1:
        notes.insert(0, "One seed tells nothing of how much seeds matter: train the pilot with two or more.")
    points, hours = ("points", Format("{:g}", scale=100)), ("hours", Format("{:,.1f}"))
    header: Header = ["comparison", points, ("seeds", COUNT), hours, ("test pictures", COUNT)]
    return Table("What a difference takes", header, rows, notes, num_keys=2)


def _needed(
    results: Results, pair: tuple[str, str], forecast: Forecast, difference: float
) -> tuple[object, object, object]:
    seeds = forecast.seeds_for(difference)
    if forecast.has_one_seed:
        return None, None, None
    items = forecast.items_for(difference, seeds=len(forecast.paired.seeds))
    seconds = sum(_seconds(results, label) for label in pair)
    hours = "none" if seeds is None else seeds * seconds / 3600
    return seeds or "none", hours, "none" if items is None else items


def _seconds(results: Results, label: str) -> float:
    """Return what a run of a label takes to train and evaluate, mean over its runs."""
    summaries = [run.summary for run in results.study.of(label) if run.status == COMPLETE and run.summary]
    return float(np.mean([one.train_seconds + (one.eval_seconds or 0.0) for one in summaries] or [np.nan]))


def _forecast(results: Results, ours: str, theirs: str, of: str) -> Forecast | None:
    paired = results.pair_up([ours, theirs], of)
    if isinstance(paired, Missing) or paired.is_one_training(ours, theirs):
        return None
    return Forecast(paired, lead(ours, theirs))
