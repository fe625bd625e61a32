"""The first screen of a report: answer, how sure, on what data, at most seven rows, one figure."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from pgsbench.records.verdict_record import ScoreInterval, VerdictRecord
from pgsbench.reporting.decision.decide import Decision, decisions, is_planned
from pgsbench.reporting.render import Table, and_, counted, points
from pgsbench.reporting.results import Results, named
from pgsbench.reporting.search.where import where_sentences
from pgsbench.reporting.statistics.comparison import Comparison, of_one_run
from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.reporting.style import DARK, LIGHT, label_pens
from pgsbench.reporting.verdict.answer import MAX_TOLD, answer, certainty
from pgsbench.reporting.verdict.short_table import MARKS, shown_decisions, verdict_table

_ROW, _FOOT = 40, 26


@dataclass(frozen=True)
class Bar:
    """A row of the figure; positions are percent of its width.

    Attributes:
        name: The pair.
        said: Its difference and verdict.
        y: Where it is, in pixels.
        low: Lower end of the interval.
        middle: The difference.
        high: Upper end of the interval.
        light: Colour of the better arm on light paper; empty where none is known to be better.
        dark: The same on dark paper.
    """

    name: str
    said: str
    y: int
    low: float
    middle: float
    high: float
    light: str = ""
    dark: str = ""


@dataclass(frozen=True)
class Forest:
    """The figure: differences with their intervals, the margin of equivalence as a band.

    Attributes:
        bars: Its rows.
        ticks: (position in percent, text) below.
        zero: Position of no difference.
        band: Position and width of the margin.
        height: Of the whole, in pixels.
        alt: What it shows, in words.
        reading: How to read it.
    """

    bars: list[Bar]
    ticks: list[tuple[float, str]]
    zero: float
    band: tuple[float, float]
    height: int
    alt: str
    reading: str


@dataclass(frozen=True)
class FirstScreen:
    """What stands on the first screen; see `first_screen`."""

    answer: str
    certainty: str
    setting: str
    table: Table
    forest: Forest | None


def first_screen(results: Results) -> FirstScreen:
    """Return the first screen of a study's report."""
    said = answer(results)
    if results.is_over_data:
        said = next(iter(where_sentences(results)), said)
    return FirstScreen(said, certainty(results), setting(results), verdict_table(results), forest(results))


def setting(results: Results) -> str:
    """Return what was trained on what, and tested on what, in one line."""
    configs = [run.spec.config for run in results.study.runs]
    models = dict.fromkeys(config.model.name for config in configs)
    samples = list(dict.fromkeys(config.training.samples for config in configs))
    pairs = and_([f"{number:,}" for number in samples])
    if len(samples) > MAX_TOLD:
        pairs = f"{min(samples):,} to {max(samples):,}"
    sources = list(dict.fromkeys(config.data.source for config in configs))
    if results.is_over_data and len(sources) > 1:
        names = list(dict.fromkeys(source.partition("?")[0] for source in sources))
        sources = [f"{and_(names)} by {counted(len(sources), 'recipe')}"]
    suites = dict.fromkeys(
        f"{run.scores.suite}, version {run.scores.suite_version}" for run in results.study.runs if run.scores
    )
    tested = f" Tested: suite {and_(list(suites))}." if suites else ""
    return f"Trained: {and_(list(models))} on {pairs} pairs of {and_(sources)}.{tested}"


def verdict_record(results: Results) -> VerdictRecord:
    """Return what others show of a study's verdict: its site and MLflow."""
    study = results.study
    found = {
        Comparison(one.candidate, one.baseline, one.of, one.interval).pair: one for one in decisions(results)
    }
    environments = [run.environment for run in study.runs if run.environment]
    means = {label: {group: results.mean(label, group) for group in results.groups} for label in study.labels}
    return VerdictRecord(
        study=study.name,
        question=study.record.config.question.strip(),
        answer=first_screen(results).answer,
        certainty=certainty(results),
        setting=setting(results),
        arms=tuple(study.arms),
        date=max((one.started for one in environments), default=""),
        versions=dict(environments[-1].versions) if environments else {},
        headline=next(iter(results.groups), ""),
        outcomes={pair: one.verdict for pair, one in found.items()},
        compared={pair: (one.candidate, one.baseline) for pair, one in found.items()},
        scores={
            label: {
                group: ScoreInterval(one.estimate, one.low, one.high)
                for group, one in of_label.items()
                if isinstance(one, Interval)
            }
            for label, of_label in means.items()
        },
    )


def forest(results: Results) -> Forest | None:
    """Return the figure of what the table compares, in its order; None where nothing has an interval."""
    found = shown_decisions(results)
    if not found:
        return None
    margin = min(one.margin for one in found)  # a relative one differs by baseline
    ends = [0.0, margin, -margin]
    for one in found:
        assert isinstance(one.interval, Interval)
        ends += [one.interval.low, one.interval.high]
    step = _step(max(ends) - min(ends))
    low, high = step * math.floor(min(ends) / step), step * math.ceil(max(ends) / step)

    def at(value: float) -> float:
        return round(3 + 94 * (value - low) / (high - low), 2)

    pens = {theme.name: label_pens(results.study.arm_of, theme) for theme in (LIGHT, DARK)}
    compared = [Comparison(one.candidate, one.baseline, one.of, one.interval) for one in found]
    names = [one.pair for one in compared]
    if results.is_over_data and len(results.baselines) == 1:  # then all bars are of the same two arms
        names = [one.names[2] for one in compared]
    bars = []
    for number, one in enumerate(found):
        better = {"better": one.candidate, "worse": one.baseline}.get(one.outcome)
        colours = [pens[theme.name][better].colour if better else "" for theme in (LIGHT, DARK)]
        bars.append(_bar(names[number], one, number, at, colours))
    ticks = [(at(low + k * step), points(low + k * step)) for k in range(round((high - low) / step) + 1)]
    alt = f"Differences on {named(found[0].of)}: " + "; ".join(f"{bar.name} {bar.said}" for bar in bars) + "."
    alt, reading = (
        of_one_run(said, min(one.num_seeds for one in found)) for said in (alt, _reading(results))
    )
    band = at(-margin), round(at(margin) - at(-margin), 2)
    return Forest(bars, ticks, at(0.0), band, _ROW * len(bars) + _FOOT, alt, reading)


def _reading(results: Results) -> str:
    """Return how the figure is to be read."""
    found = [one for one in decisions(results) if one.outcome != "missing"]
    families = Counter(is_planned(results, one.baseline) for one in found)
    pairs = max(families.values(), default=0)
    alone = (
        f" of each pair alone; verdicts are corrected for {pairs} and so are stricter" if pairs > 1 else ""
    )
    return (
        f"Points with 95 % intervals{alone}. Right of the line {results.candidate} is better; "
        "within the grey band a difference does not matter."
    )


def _bar(name: str, one: Decision, number: int, at: object, colours: list[str]) -> Bar:
    assert isinstance(one.interval, Interval)
    assert callable(at)
    found = one.interval
    positions = at(found.low), at(found.estimate), at(found.high)
    said = f"{points(found.estimate)} {MARKS[one.outcome]}"
    return Bar(name, said, _ROW * number, *positions, *colours)


def _step(span: float) -> float:
    """Return a round distance of ticks, so that there are three to seven."""
    raw = span / 5
    power = 10.0 ** math.floor(math.log10(raw))
    return float(next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw))
