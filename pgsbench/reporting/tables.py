"""The tables of a report. Scores are percent with one decimal, differences have sign and interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pgsbench.records.run_spec import short
from pgsbench.reporting.frames import COMPLETE
from pgsbench.reporting.render import MISSING_CELL, Table, p_text, percent, points
from pgsbench.reporting.results import ALL_GROUPS, Comparison, Missing, Results
from pgsbench.reporting.stats import GapClosed, Interval

#: Metric of a masked step -> its column.
_MASK_COLUMNS = {
    "mask/objects_kept": "object shown",
    "mask/insides_kept": "insides",
    "mask/outlines_kept": "outlines",
    "mask/objects_nearly_gone": "nearly gone",
}


def scores_table(results: Results) -> Table:
    """Mean score of every arm on every group, with 95 % intervals."""
    rows = []
    for label in results.study.labels:
        done, planned = results.seeds(label)
        cells = [_interval(results.mean(label, group)) for group in results.groups]
        overlap = _number(mean_summary(results, label).get("mask_overlap"), "{:.0f}", scale=100)
        rows.append([label, str(done) if done == planned else f"{done} of {planned}", *cells, overlap])
    if rows:
        rows.append(["chance", "", *(percent(results.chance(group)) for group in results.groups), ""])
    tasks = {group: len(weights) for group, weights in results.groups.items() if group != ALL_GROUPS}
    counted = ", ".join(f"{group} {n}" for group, n in tasks.items())
    notes = [f"Percent. Group means are macro means: every task weighs the same (tasks: {counted})."]
    notes.append(_interval_note(results))
    notes.append(
        "Mask overlap: how much of a picture two draws of the trained run's mask show alike (intersection "
        "over union). 100 is the same mask every time, which leaves training no variety; two random halves "
        "overlap by 33."
    )
    return Table("Scores by group", ["arm", "seeds", *results.groups, "mask overlap"], rows, notes)


def differences_table(results: Results) -> Table:
    """Candidate minus each baseline on every group: interval, Holm's p, verdict in words."""
    return _differences("Differences by group", results.group_comparisons, "group")


def task_differences_table(results: Results) -> Table:
    """Candidate minus each baseline on every task."""
    return _differences("Differences by task", results.task_comparisons, "task")


def tasks_table(results: Results) -> Table:
    """Mean score of every arm on every task beside its number of items and its chance level."""
    metrics = {task: metric for tasks in results.study.groups.values() for task, metric in tasks.items()}
    rows = []
    for task in results.tasks:
        of_task = results.study.scores[results.study.scores["task"] == task]
        first = of_task[of_task["primary"].astype(bool)].iloc[0]
        means = [results.mean(label, task) for label in results.study.labels]
        n = str(int(first["n"]))
        rows.append([task, metrics[task], n, percent(first["chance"]), *map(_plus_minus, means)])
    header = ["task", "metric", "n", "chance", *results.study.labels]
    notes = ["Percent, mean over seeds ± half the 95 % interval. n: test items of one run."]
    return Table("Scores by task", header, rows, notes, text_columns=(1,))


def gap_table(results: Results) -> Table | None:
    """Share of the random-to-oracle gap that each mask closes; None where the study lacks the controls."""
    if not results.gaps:
        return None
    rows, reasons = [], set[str]()
    for label, group, found in results.gaps:
        if isinstance(found, Missing):
            rows.append([label, group, MISSING_CELL, MISSING_CELL])
            reasons.add(f"Missing: {found.reason}")
        elif found.undefined:
            rows.append([label, group, _difference(found.gap), "undefined"])
            reasons.add(f"Undefined: {found.undefined}")
        else:
            rows.append([label, group, _difference(found.gap), _share(found)])
    notes = [
        f"Gap: oracle minus random masks (arm {results.random_arm}), in points. "
        "0 % is random, 100 % the oracle; Fieller's 95 % interval."
    ]
    notes += [f"{reason}." for reason in sorted(reasons)]
    header = ["arm", "group", "gap", "closed"]
    return Table("Share of the random-to-oracle gap that is closed", header, rows, notes, text_columns=(1,))


def cost_table(results: Results) -> Table:
    """What each arm cost: time, tokens, throughput, memory; means over complete runs."""
    summaries = {label: mean_summary(results, label) for label in results.study.labels}
    reference = cost_reference(results)
    rows = []
    for label, cost in summaries.items():
        relative = _ratio(cost.get("train_seconds"), summaries[reference].get("train_seconds"))
        rows.append(
            [
                label,
                _number(cost.get("train_seconds"), "{:,.0f}"),
                _number(relative, "{:.2f}×"),
                _number(cost.get("mask_ratio_effective"), "{:.1%}"),
                _number(cost.get("tokens_kept"), "{:,.0f}"),
                _number(cost.get("samples_per_second"), "{:,.0f}"),
                _number(cost.get("mask_share"), "{:.2%}"),
                _number(cost.get("peak_memory_bytes"), "{:.2f}", scale=2**-30),
            ]
        )
    header = [
        "arm",
        "train s",
        "relative time",
        "effective ratio",
        "tokens kept",
        "samples/s",
        "mask share",
        "peak GiB",
    ]
    notes = [
        f"Means over seeds. Relative time: training time over that of {reference}. Effective ratio: share of "
        "patches without influence, over the whole training. Mask share: share of the step spent on the mask."
    ]
    return Table("Cost", header, rows, notes)


def mask_table(results: Results) -> Table | None:
    """What each mask shows of the objects; None where no run knows of any."""
    curves = results.study.curves
    known = {name: path for path, name in _MASK_COLUMNS.items() if path in curves}
    rows = []
    for label in results.study.labels:
        mine = curves[curves["label"] == label]
        means = [float(mine[path].mean()) if path in mine else np.nan for path in known.values()]
        if not np.isnan(means).all():
            rows.append([label, *(_share_or_blank(value) for value in means)])
    if not rows:
        return None
    notes = [
        "Percent, means over all masked steps; unmasked phases are left out. Insides and outlines: patches "
        "wholly and partly in an object. Nearly gone: pictures that show less than a tenth of their object."
    ]
    return Table("What the masks show of objects", ["arm", *known], rows, notes)


def cost_reference(results: Results) -> str:
    """Return the label that training times are relative to: the unmasked arm, else the first baseline."""
    for run in results.study.runs:
        if run.spec.config.strategy.name == "none" and run.status == COMPLETE:
            return run.label
    first = results.labels_of(results.baselines[0] if results.baselines else results.candidate)
    return first[0]


def mean_summary(results: Results, label: str) -> dict[str, float]:
    """Return the numbers of `Summary` as means over the complete runs of a label."""
    of_label = [run for run in results.study.of(label) if run.status == COMPLETE]
    summaries = [vars(run.summary) for run in of_label if run.summary]
    keys = {key for summary in summaries for key in summary}
    found = {key: [s[key] for s in summaries if s[key] is not None] for key in keys}
    return {key: float(np.mean(values)) for key, values in found.items() if values}


def sweep_table(results: Results, *, limit: int = 10) -> Table | None:
    """The best searched points by the study's metric; None where nothing was searched.

    Args:
        results: The study.
        limit: Most points to show.
    """
    points_searched = [label for label in results.study.labels if results.params_of(label)]
    if not points_searched:
        return None
    metric = results.objective.name
    scored = {label: results.objective_value(label) for label in points_searched}
    ranked = sorted(points_searched, key=lambda label: -np.nan_to_num(scored[label], nan=-np.inf))
    paths = list(dict.fromkeys(path for label in ranked for path in results.params_of(label)))
    rows = []
    for label in ranked[:limit]:
        params, (done, planned) = results.params_of(label), results.seeds(label)
        value = MISSING_CELL if np.isnan(scored[label]) else percent(scored[label])
        chosen = [short(params[path]) if path in params else "" for path in paths]
        rows.append([results.study.of(label)[0].arm, *chosen, f"{done} of {planned}", value])
    notes = [f"{min(limit, len(ranked))} of {len(ranked)} points, by {metric} (percent, mean over seeds)."]
    if len(ranked) > 1:
        notes.append("The best of many is flattered by chance: confirm it with fresh seeds.")
    if importances := results.study.record.importances:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in importances.items())
        notes.append(f"Share of the variance between the points that a parameter explains: {shares}.")
    names = [path.rpartition(".")[2] for path in paths]
    return Table("Best points of the search", ["arm", *names, "seeds", metric], rows, notes)


# ------------------------------------------------------------------------------------------------ cells


def _differences(title: str, family: Sequence[Comparison], of: str) -> Table:
    rows = []
    for one in family:
        if isinstance(one.interval, Missing):
            rows.append([one.pair, one.of, MISSING_CELL, MISSING_CELL, one.interval.reason])
        else:
            rows.append([one.pair, one.of, _difference(one.interval), p_text(one.adjusted_p), one.verdict])
    tested = [one.interval for one in family if isinstance(one.interval, Interval)]
    notes = ["Points, paired by seed and test item, 95 % interval."]
    if len(tested) > 1:
        notes.append(
            f"p and verdict: Holm's correction over the {len(tested)} comparisons of this table; each "
            "interval is for one comparison alone: it may exclude 0 and still not be significant among all."
        )
    if any(interval.num_seeds == 1 for interval in tested):
        notes.append("Comparisons with one seed cover test items only: another seed may tell otherwise.")
    header = ["comparison", of, "difference", "p (Holm)", "verdict"]
    return Table(title, header, rows, notes, text_columns=(1, 4))


def _interval(found: Interval | Missing) -> str:
    if isinstance(found, Missing):
        return MISSING_CELL
    return f"{percent(found.estimate)} ({percent(found.low)} to {percent(found.high)})"


def _plus_minus(found: Interval | Missing) -> str:
    if isinstance(found, Missing):
        return MISSING_CELL
    return f"{percent(found.estimate)} ± {percent((found.high - found.low) / 2)}"


def _difference(found: Interval) -> str:
    return f"{points(found.estimate)} ({points(found.low)} to {points(found.high)})"


def _share(found: GapClosed) -> str:
    low, high = (f"{100 * end:.0f}".replace("-", "−") for end in (found.low, found.high))
    return f"{100 * found.share:.0f} % ({low} to {high})".replace("-", "−")


def _interval_note(results: Results) -> str:
    counts = {len(run) for label in results.study.labels if (run := results.study.values[label])}
    if counts == {1}:
        return "95 % intervals cover test items only: every arm has one seed."
    return "95 % intervals cover test items and, where an arm has more than one, seeds."


def _share_or_blank(value: float) -> str:
    return "" if np.isnan(value) else percent(value)


def _number(value: float | None, form: str, *, scale: float = 1.0) -> str:
    return MISSING_CELL if value is None else form.format(value * scale)


def _ratio(value: float | None, reference: float | None) -> float | None:
    return value / reference if value is not None and reference else None
