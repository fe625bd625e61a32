"""The tables of a report. Scores are percent with one decimal, differences have sign and interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pgsbench.records.verdict_record import ALL_GROUPS
from pgsbench.reporting import columns
from pgsbench.reporting.decision.comparisons import group_comparisons, task_comparisons
from pgsbench.reporting.decision.power import detectable
from pgsbench.reporting.render import MISSING_CELL, Table, interval_cell, p_text, percent
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.comparison import ONE_RUN, Comparison, Missing
from pgsbench.reporting.statistics.intervals import GapClosed, Interval

#: Metric of a masked step -> its column.
_MASK_COLUMNS = {
    "mask/objects_kept": "object shown",
    "mask/insides_kept": "insides",
    "mask/outlines_kept": "outlines",
    "mask/objects_nearly_gone": "nearly gone",
}


#: What one seed leaves open.
_ONE_SEED = "one seed, so intervals and p-values cover test items. Another seed may tell otherwise."


def scores_table(results: Results) -> Table:
    """Mean score of every arm on every group, with 95 % intervals."""
    beside = columns.rows_of(results)
    shown = columns.known(columns.BESIDE_SCORES, list(beside.values()))
    rows = []
    for label, row in beside.items():
        done, planned = results.seeds(label)
        cells = [_interval(results.mean(label, group)) for group in results.groups]
        seeds = str(done) if done == planned else f"{done} of {planned}"
        rows.append([label, seeds, *cells, *(column.cell(row) for column in shown)])
    if rows:
        chance = [percent(results.chance(group)) for group in results.groups]
        rows.append(["chance", "", *chance, *("" for _ in shown)])
    tasks = {group: len(weights) for group, weights in results.groups.items() if group != ALL_GROUPS}
    counted = ", ".join(f"{group} {n}" for group, n in tasks.items())
    notes = [
        _interval_note(results),
        f"Macro means: every task counts the same in its group (tasks: {counted}), every group in the mean.",
        *(column.note for column in shown if column.note),
    ]
    header = ["arm", "seeds", *results.groups, *(column.name for column in shown)]
    return Table("Scores by group", header, rows, notes)


def differences_table(results: Results) -> Table:
    """Candidate minus each baseline on every group: interval, Holm's p, verdict, smallest detectable."""
    table = _differences("Differences by group", group_comparisons(results), "group", _MAIN)
    found = [detectable(results, one.candidate, one.baseline, one.of) for one in group_comparisons(results)]
    cells = [MISSING_CELL if one is None else percent(one) for one in found]
    return replace(
        table,
        header=[*table.header, "detectable"],
        rows=[[*row, cell] for row, cell in zip(table.rows, cells, strict=True)],
        notes=[*table.notes, _DETECTABLE],
    )


def task_differences_table(results: Results) -> Table:
    """Candidate minus each baseline on every task: exploratory, a Holm family of its own."""
    return _differences("Differences by task (exploratory)", task_comparisons(results), "task", _EXPLORATORY)


def tasks_table(results: Results) -> Table:
    """Mean score of every arm on every task beside its number of items and its chance level."""
    metrics = {task: metric for tasks in results.study.groups.values() for task, metric in tasks.items()}
    rows = []
    for task in results.tasks:
        of_task = results.study.scores[results.study.scores["task"] == task]
        first = of_task[of_task["primary"].astype(bool)].iloc[0]
        means = [_interval(results.mean(label, task)) for label in results.study.labels]
        n = str(int(first["n"]))
        rows.append([task, metrics[task], n, percent(first["chance"]), *means])
    header = ["task", "metric", "n", "chance", *results.study.labels]
    notes = [_interval_note(results), "n: test items of one run."]
    return Table("Scores by task", header, rows, notes, text_columns=(1,))


def gap_table(results: Results) -> Table | None:
    """Share of the random-to-oracle gap that each mask closes; None where the study lacks the controls."""
    if not results.gaps:
        return None
    rows, reasons, one_seed = [], set[str](), False
    for label, group, found in results.gaps:
        if isinstance(found, Missing):
            rows.append([label, group, MISSING_CELL, MISSING_CELL])
            reasons.add(f"Missing: {found.reason}")
            continue
        one_seed = one_seed or found.gap.num_seeds == 1
        if found.undefined:  # whatever the mask: one row for the group
            label, closed = "every mask", "undefined"
            reasons.add(f"Undefined: {found.undefined}")
        else:
            closed = _share(found)
        rows.append([label, group, _difference(found.gap), closed])
    rows = [row for number, row in enumerate(rows) if row not in rows[:number]]
    notes = [f"{ONE_RUN.capitalize()}: one seed."] if one_seed else []
    notes += [
        f"Gap: oracle minus random masks (arm {results.random_arm}), in points. "
        "0 % is random, 100 % the oracle; Fieller's 95 % interval.",
        *(f"{reason}." for reason in sorted(reasons)),
    ]
    header = ["arm", "group", "gap", "closed"]
    title = "Share of the random-to-oracle gap that is closed"
    return Table(title, header, rows, notes, text_columns=(1,), num_keys=2)


def cost_table(results: Results) -> Table:
    """What each arm cost, means over complete runs; `columns.COST` says which columns there are."""
    rows = columns.rows_of(results)
    shown = columns.known(columns.COST, list(rows.values()))
    cells = [[label, *(column.cell(row) for column in shown)] for label, row in rows.items()]
    reference = columns.reference_label(results)
    seeds = {len(row.runs) for row in rows.values() if row.runs}
    means = f"{ONE_RUN.capitalize()}: one seed." if seeds == {1} else "Means over seeds."
    notes = [means, *(c.note.format(reference=reference) for c in shown if c.note)]
    return Table("Cost", ["arm", *(column.name for column in shown)], cells, notes)


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


# ------------------------------------------------------------------------------------------------ cells


_MAIN = (
    "p and verdict: Holm's correction, over the pairs for the first group, which is the study's verdict, and "
    "over all other comparisons of this table together. Tasks are a family of their own."
)
_DETECTABLE = (
    "Detectable: the smallest true difference, in points, that these seeds and items find with a chance of "
    "80 % (one comparison)."
)
_EXPLORATORY = (
    "Exploratory: p and verdict are corrected over the {n} comparisons of this table alone, not together "
    "with those of groups. Take what stands out here as a hint to be tested with fresh seeds."
)


def _differences(title: str, family: Sequence[Comparison], of: str, families: str) -> Table:
    rows = []
    for one in family:
        if isinstance(one.interval, Missing):
            rows.append([one.pair, one.of, MISSING_CELL, MISSING_CELL, one.interval.reason])
        else:
            rows.append([one.pair, one.of, _difference(one.interval), p_text(one.adjusted_p), one.verdict])
    notes = [f"{ONE_RUN.capitalize()}: {_ONE_SEED}"] if any(one.has_one_seed for one in family) else []
    notes.append("Points, paired by seed and test item, 95 % interval.")
    tested = sum(isinstance(one.interval, Interval) for one in family)
    if tested > 1:
        notes += [
            families.format(n=tested),
            "Each interval is for one comparison: it may exclude 0 where the verdict is undecided.",
        ]
    header = ["comparison", of, "difference", "p (Holm)", "verdict"]
    return Table(title, header, rows, notes, text_columns=(1, 4), num_keys=2)


def _interval(found: Interval | Missing) -> str:
    if isinstance(found, Missing):
        return MISSING_CELL
    return interval_cell(found.estimate, found.low, found.high)


def _difference(found: Interval) -> str:
    return interval_cell(found.estimate, found.low, found.high, signed=True)


def _share(found: GapClosed) -> str:
    low, high = (f"{100 * end:.0f}".replace("-", "−") for end in (found.low, found.high))
    return f"{100 * found.share:.0f} % ({low} to {high})".replace("-", "−")


def _interval_note(results: Results) -> str:
    counts = {results.seeds(label)[0] for label in results.study.labels} - {0}
    if counts == {1}:
        return (
            f"{ONE_RUN.capitalize()}: percent, with 95 % intervals over test items; every arm has one seed."
        )
    found = "Percent, with 95 % intervals over test items and seeds."
    return found + (f" Arms with one seed: {ONE_RUN}, over test items." if 1 in counts else "")


def _share_or_blank(value: float) -> str:
    return "" if np.isnan(value) else percent(value)
