"""What the arms of a study were tuned to before they were compared, and all that was tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from pgsbench.config.search import TuneConfig
from pgsbench.errors import StudyError
from pgsbench.records.run_spec import short, short_paths
from pgsbench.records.study_record import Tried, Tuning
from pgsbench.reporting.render import COUNT, PERCENT, Header, Table, and_
from pgsbench.reporting.results import Results
from pgsbench.reporting.style import label_lines, new_figure, pens, percent_tick, star, themed
from pgsbench.reporting.words import Badge, badge

#: Tried values that have room below an axis.
MAX_TICKS = 8


def tuned_paths(results: Results) -> list[str]:
    """Return the dotted paths that were chosen for each arm by itself; none where nothing was tuned."""
    return list(dict.fromkeys(path for one in results.study.record.tunings for path in one.params))


def tuned_table(results: Results) -> Table | None:
    """What each arm was tuned to; None where nothing was tuned."""
    record, names = results.study.record, short_paths(tuned_paths(results))
    tune = record.config.tune
    if tune is None or not record.tunings:
        return None
    rows: list[list[object]] = []
    for one in record.tunings:
        scores = [point.score for point in one.tried if point.score is not None]
        values = [short(one.params[path]) if path in one.params else "" for path in names]
        borders = and_([names[path] for path in one.at_border])
        rows.append([one.arm, *values, max(scores), len(one.tried), len(one.tried) - len(scores), borders])
    header: Header = [
        "arm",
        *names.values(),
        ("score", PERCENT),
        ("points", COUNT),
        ("failed", COUNT),
        "at the border",
    ]
    return Table("What each arm was tuned to", header, rows, [_how(results.study.name, tune)])


def _how(study: str, tune: TuneConfig) -> str:
    seeds = f"seed{'s' * (len(tune.seeds) > 1)} {and_(list(map(str, tune.seeds)))}"
    items = "test items that are not compared" if tune.on == "dev" else f"suite {tune.on}"
    return f"Every arm had the same points and budget, on {seeds} and on {items}: report {study}-tune."


def tuned_badges(results: Results) -> list[Badge]:
    """Return that arms were tuned, and which of them lie at a border of what was tried."""
    tune, found = results.study.record.config.tune, list[Badge]()
    tunings = results.study.record.tunings
    if tune is None or not tunings:
        return []
    names = short_paths(tuned_paths(results))
    found.append(badge("tuned", paths=and_(list(names.values())), how=_how(results.study.name, tune)))
    for path, name in names.items():
        arms = [one.arm for one in tunings if path in one.at_border]
        if arms:
            values = [point.params[path] for one in tunings for point in one.tried]
            ends = f"{short(min(values))} to {short(max(values))}"
            found.append(badge("on the border", arms=and_(arms), path=name, ends=ends))
    return found


def tuned_figure(results: Results) -> Figure | None:
    """Score against the tuned value, a line per arm, its best starred; None without one path of numbers."""
    paths, tunings = tuned_paths(results), results.study.record.tunings
    values: list[Any] = [point.params.get(path) for path in paths for one in tunings for point in one.tried]
    if len(paths) != 1 or not all(isinstance(value, int | float) for value in values):
        return None
    with themed():
        figure = new_figure(3.2)
        axes, ends = figure.subplots(), []
        of_arm = pens(results.study.arms)
        for one in tunings:
            pen = of_arm.get(one.arm)
            if pen is None:  # tuned, and not trained by now
                continue
            curve = sorted(
                (point.params[paths[0]], point.score) for point in one.tried if point.score is not None
            )
            axes.plot(*zip(*curve, strict=True), color=pen.colour, marker=pen.marker)
            best = one.params[paths[0]]
            star(axes, best, dict(curve)[best], pen.colour)
            ends.append((curve[-1][1], one.arm, pen.colour))
        if min(values) > 0 and max(values) >= 4 * min(values):
            axes.set_xscale("log")
            if len(tried := sorted(set(values))) <= MAX_TICKS:  # a decade has no room for all
                axes.set_xticks(tried, [short(value) for value in tried])
                axes.minorticks_off()
        axes.set_xlabel(short_paths(paths)[paths[0]])
        axes.set_ylabel("score on dev items (%)")
        axes.yaxis.set_major_formatter(FuncFormatter(percent_tick))
        label_lines(axes, ends)
        return figure


def tuning(results: Results, arm: str) -> Tuning:
    """Return what an arm was tuned to, and all that was tried.

    A point that failed, as a training does whose rate is too high, has no score.

    Args:
        results: What the study ``NAME-tune`` found.
        arm: The arm.

    Raises:
        StudyError: No point of the arm has a score.
    """
    tried = []
    for label in results.labels_of(arm):
        score = results.objective_value(label)
        tried.append(Tried(results.params_of(label), None if score != score else score))
    scored = [(one.score, one.params) for one in tried if one.score is not None]
    if not scored:
        raise StudyError(
            "no point of this arm has a score, so it cannot be tuned",
            where=f"{results.study.name}, {arm}",
            way_out="see why its runs failed: `pgsbench study status`; mend it and repeat the command",
        )
    _, params = max(scored, key=lambda one: one[0])  # of equal ones the first
    return Tuning(arm, params, tuple(tried), tuple(_at_border(params, tried)))


def _at_border(params: dict[str, Any], tried: Sequence[Tried]) -> Iterator[str]:
    """Yield the paths whose value is the lowest or the highest number that was tried, of three or more."""
    for path, value in params.items():
        values = {one.params[path] for one in tried if path in one.params}
        are_numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)
        if are_numbers and len(values) > 2 and value in (min(values), max(values)):
            yield path
