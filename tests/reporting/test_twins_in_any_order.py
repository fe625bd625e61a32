"""No number of a report depends on what was asked before it, or on the order of the arms in the study."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from twin_study import make

from pgsbench.reporting.decision.comparisons import comparisons_frame, decisions
from pgsbench.reporting.decision.forecast import power_table
from pgsbench.reporting.effects import Effects, effects
from pgsbench.reporting.findings import Findings
from pgsbench.reporting.pareto import FLOPS, TIME, points_of
from pgsbench.reporting.ranking import ranking
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.reporting.study_frames import Frames, read_frames

#: What is asked -> its answers: what a number is of, and the number.
Answers = Iterator[tuple[str, object]]
Told = dict[str, object]


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    return read_frames(make(tmp_path_factory.mktemp("twins")))


def _frame(name: str, frame: pd.DataFrame, *keys: str) -> Answers:
    for values, row in frame.set_index(list(keys)).iterrows():
        yield from ((f"{name} {values} {column}", value) for column, value in row.items())


def _effects(results: Results) -> Answers:
    found = effects(results)
    assert isinstance(found, Effects)
    for level in found.levels:
        yield from _interval(f"effect of {level.factor} {level.level}", level.effect)
        yield f"mean of {level.factor} {level.level}", level.mean
    for term in found.terms:
        name = " × ".join(sorted(term.name.split(" × ")))
        yield from ((f"{name} {key}", getattr(term, key)) for key in ("share", "by_chance", "p_value"))
    for one in found.deviations:
        yield from _interval(f"deviation of {one.label}", one.interval)
        yield f"p of {one.label}", one.adjusted_p


def _front(results: Results) -> Answers:
    for cost in (FLOPS, TIME):
        for one in points_of(results, cost):
            yield from (
                (f"{cost.name} {one.label} {key}", getattr(one, key))
                for key in ("cost", "is_on_front", "ahead")
            )
            yield f"{cost.name} {one.label} drawn", one.on_front


def _ranks(results: Results) -> Answers:
    for one in ranking(results):
        yield f"rank of {one.label}", (one.first, one.last)
        yield f"ranked mean of {one.label}", one.mean
        yield f"{one.label} is the best drawn", one.best


def _decisions(results: Results) -> Answers:
    for one in decisions(results):
        assert isinstance(one.interval, Interval)
        name = f"{one.candidate} - {one.baseline}"
        yield from _interval(name, one.interval)
        yield f"outcome of {name}", (one.outcome, one.seeds_needed)


def _interval(name: str, one: Interval) -> Answers:
    yield from ((f"{name} {key}", value) for key, value in vars(one).items())


def _power(results: Results) -> Answers:
    return ((" ".join(row[:2]), tuple(row[2:])) for row in power_table(results).cells())


def _pairs(results: Results) -> Answers:
    for ours in results.study.labels:  # pairs that the report never asks for
        for theirs in results.study.labels:
            if ours < theirs:
                yield from _interval(f"{ours} over {theirs}", results.difference(ours, theirs, "retrieval"))


QUESTIONS: dict[str, Callable[[Results], Answers]] = {
    "comparisons": lambda results: _frame(
        "comparison", comparisons_frame(results), "candidate", "baseline", "of"
    ),
    "scores": lambda results: _frame("score", Findings(results).scores, "label", "group"),
    "effects": _effects,
    "front": _front,
    "ranks": _ranks,
    "decisions": _decisions,
    "power": _power,
    "pairs": _pairs,
}


def ask(frames: Frames, order: list[str]) -> Told:
    """Ask one `Results` in this order."""
    results = Results(frames)
    return {name: value for question in order for name, value in QUESTIONS[question](results)}


@pytest.fixture(scope="module")
def alone(frames: Frames) -> Told:
    """The answers where nothing was asked before."""
    return {name: value for question in QUESTIONS for name, value in ask(frames, [question]).items()}


def agree(told: Told, alone: Told) -> None:
    """Compare all answers."""
    assert told.keys() == alone.keys()
    for name, value in alone.items():
        if isinstance(value, float):
            assert told[name] == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True), name
        else:
            assert told[name] == value, name


def test_the_order_of_questions_changes_nothing(frames: Frames, alone: Told) -> None:
    order = np.random.default_rng(0).permutation(list(QUESTIONS)).tolist()
    agree(ask(frames, order), alone)


def test_the_order_of_arms_changes_nothing(frames: Frames, alone: Told) -> None:
    order = np.random.default_rng(0).permutation(len(frames.runs))
    runs = tuple(frames.runs[number] for number in order)
    agree(ask(replace(frames, runs=runs), list(QUESTIONS)), alone)
