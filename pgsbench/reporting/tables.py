"""The tables of a report. Scores are percent with one decimal, differences have sign and interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pgsbench.records.verdict_record import ALL_GROUPS
from pgsbench.reporting import columns
from pgsbench.reporting.decision.comparisons import group_comparisons, task_comparisons
from pgsbench.reporting.decision.forecast import detectable
from pgsbench.reporting.pareto import EQUAL, costs_of, place, points_of
from pgsbench.reporting.render import (
    COUNT,
    P_VALUE,
    PERCENT,
    POINTS,
    Estimate,
    Format,
    Header,
    Table,
    counted,
)
from pgsbench.reporting.results import Results, named
from pgsbench.reporting.statistics.comparison import ONE_RUN, Comparison, Missing, of_one_run
from pgsbench.reporting.statistics.intervals import Interval

#: Metric of a masked step -> its column.
_MASK_COLUMNS = {
    "mask/objects_kept": "object shown",
    "mask/insides_kept": "insides",
    "mask/outlines_kept": "outlines",
    "mask/objects_nearly_gone": "nearly gone",
}
#: What columns on objects say, here and in a diagnosis of masks.
OBJECTS = (
    "Insides and outlines: patches wholly and partly in an object. Nearly gone: pictures that show less than "
    "a tenth of their object."
)
#: Of shares of a gap.
_SHARE = Format(lambda share: f"{share:.0f} %".replace("-", "−"), scale=100)
#: What one seed leaves open.
_ONE_SEED = "one seed, so intervals and p-values cover test items. Another seed may tell otherwise."


def scores_table(results: Results) -> Table:
    """Mean score of every arm on every group, with 95 % intervals."""
    beside = columns.rows_of(results)
    shown = columns.known(columns.BESIDE_SCORES, list(beside.values()))
    rows: list[list[object]] = []
    for label, row in beside.items():
        done, planned = results.seeds(label)
        means = [results.mean(label, group) for group in results.groups]
        seeds = done if done == planned else f"{done} of {planned}"
        rows.append([label, seeds, *means, *(column.value(row) for column in shown)])
    if rows:
        chance = [results.chance(group) for group in results.groups]
        rows.append(["chance", "", *chance, *("" for _ in shown)])
    tasks = {group: len(weights) for group, weights in results.groups.items() if group != ALL_GROUPS}
    sizes = ", ".join(f"{group} {n}" for group, n in tasks.items())
    notes = [
        _interval_note(results),
        f"Macro means: every task counts the same in its group (tasks: {sizes}), every group in the mean.",
        *(column.note for column in shown if column.note),
    ]
    groups = [(group, PERCENT) for group in results.groups]
    header: Header = ["arm", ("seeds", COUNT), *groups, *(column.head for column in shown)]
    return Table("Scores by group", header, rows, notes)


def differences_table(results: Results) -> Table:
    """Candidate minus each baseline on every group: interval, Holm's p, verdict, smallest detectable."""
    table = _differences("Differences by group", group_comparisons(results), "group", _MAIN)
    found = [detectable(results, one.candidate, one.baseline, one.of) for one in group_comparisons(results)]
    return replace(
        table,
        header=[*table.header, ("detectable", PERCENT)],
        rows=[[*row, cell] for row, cell in zip(table.rows, found, strict=True)],
        notes=[*table.notes, _DETECTABLE],
    )


def task_differences_table(results: Results) -> Table:
    """Candidate minus each baseline on every task: exploratory, a Holm family of its own."""
    return _differences("Differences by task (exploratory)", task_comparisons(results), "task", _EXPLORATORY)


def tasks_table(results: Results) -> Table:
    """Mean score of every arm on every task beside its number of items and its chance level."""
    metrics = {task: metric for tasks in results.study.groups.values() for task, metric in tasks.items()}
    rows: list[list[object]] = []
    for task in results.tasks:
        of_task = results.study.scores[results.study.scores["task"] == task]
        first = of_task[of_task["primary"].astype(bool)].iloc[0]
        means = [results.mean(label, task) for label in results.study.labels]
        rows.append([task, metrics[task], int(first["n"]), float(first["chance"]), *means])
    arms = [(label, PERCENT) for label in results.study.labels]
    header: Header = ["task", "metric", ("n", COUNT), ("chance", PERCENT), *arms]
    notes = [_interval_note(results), "n: test items of one run."]
    return Table("Scores by task", header, rows, notes)


def gap_table(results: Results) -> Table | None:
    """Share of the random-to-oracle gap that each mask closes; None where the study lacks the controls."""
    if not results.gaps:
        return None
    rows: list[list[object]] = []
    reasons, one_seed = set[str](), False
    for label, group, found in results.gaps:
        if isinstance(found, Missing):
            rows.append([label, group, None, None])
            reasons.add(f"Missing: {found.reason}")
            continue
        one_seed = one_seed or found.gap.num_seeds == 1
        if found.undefined:  # whatever the mask: one row for the group
            rows.append(["every mask", group, found.gap, "undefined"])
            reasons.add(f"Undefined: {found.undefined}")
        else:
            rows.append([label, group, found.gap, Estimate(found.share, found.low, found.high)])
    rows = [row for number, row in enumerate(rows) if row not in rows[:number]]
    notes = [of_one_run("one seed.", 1)] if one_seed else []
    notes += [
        f"Gap: oracle minus random masks (arm {results.random_arm}), in points. "
        "0 % is random, 100 % the oracle; Fieller's 95 % interval.",
        *(f"{reason}." for reason in sorted(reasons)),
    ]
    header: Header = ["arm", "group", ("gap", POINTS), ("closed", _SHARE)]
    title = "Share of the random-to-oracle gap that is closed"
    return Table(title, header, rows, notes, num_keys=2)


def cost_table(results: Results) -> Table:
    """What each arm cost, means over complete runs, and which are on the Pareto front.

    `columns.COST` says which columns there are.
    """
    rows = columns.rows_of(results)
    shown = columns.known(columns.COST, list(rows.values()))
    cells = [[label, *(column.value(row) for column in shown)] for label, row in rows.items()]
    reference = columns.reference_label(results)
    seeds = {len(row.runs) for row in rows.values() if row.runs}
    means = of_one_run("one seed.", 1) if seeds == {1} else "Means over seeds."
    notes = [means, *(c.note.format(reference=reference) for c in shown if c.note)]
    if not shown:
        notes = ["No run has left a record of what its training cost."]
    header: Header = ["arm", *(column.head for column in shown)]
    cost, other = costs_of(results)
    front = {one.label: one for one in points_of(results, cost)}
    on_other = {one.label for one in points_of(results, other) if one.is_on_front}
    if not front:
        return Table("Cost", header, cells, notes)
    for row in cells:
        one = front.get(str(row[0]))
        chance = "" if one is None or one.on_front is None else one.on_front
        row += [chance, "" if one is None else place(results, one), "front" if row[0] in on_other else ""]
    notes += [
        f"By {cost.name}: front, where nothing that costs no more has a higher score on "
        f"{named(results.scope)}; costs up to {100 * (EQUAL - 1):.0f} % apart count as equal. Behind: the "
        "best that is ahead, and by how many points (95 % interval). On front: in so many percent of draws "
        "of other test items and seeds (of one seed: other test items)."
    ]
    if results.too_costly:
        notes.append(
            f"{counted(len(results.too_costly), 'point')} above search.at_most left out of the front."
        )
    header += [("on front", Format("{:.0f}", scale=100)), f"by {cost.name}", f"by {other.name}"]
    return Table("Cost", header, cells, notes)


def mask_table(results: Results) -> Table | None:
    """What each mask shows of the objects; None where no run knows of any."""
    curves = results.study.curves
    known = {name: path for path, name in _MASK_COLUMNS.items() if path in curves}
    rows: list[list[object]] = []
    for label in results.study.labels:
        mine = curves[curves["label"] == label]
        means = [float(mine[path].mean()) if path in mine else np.nan for path in known.values()]
        if not np.isnan(means).all():
            rows.append([label, *("" if np.isnan(value) else value for value in means)])
    if not rows:
        return None
    notes = [f"Percent, means over all masked steps; unmasked phases are left out. {OBJECTS}"]
    return Table("What the masks show of objects", ["arm", *((name, PERCENT) for name in known)], rows, notes)


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
    rows: list[list[object]] = []
    for one in family:
        if isinstance(one.interval, Missing):
            rows.append([one.pair, one.of, None, None, one.interval.reason])
        else:
            rows.append([one.pair, one.of, one.interval, one.adjusted_p, one.verdict])
    notes = [of_one_run(_ONE_SEED, 1)] if any(one.has_one_seed for one in family) else []
    notes.append("Points, paired by seed and test item, 95 % interval.")
    tested = sum(isinstance(one.interval, Interval) for one in family)
    if tested > 1:
        notes += [
            families.format(n=tested),
            "Each interval is for one comparison: it may exclude 0 where the verdict is undecided.",
        ]
    header: Header = ["comparison", of, ("difference", POINTS), ("p (Holm)", P_VALUE), "verdict"]
    return Table(title, header, rows, notes, num_keys=2)


def _interval_note(results: Results) -> str:
    counts = {results.seeds(label)[0] for label in results.study.labels} - {0}
    if counts == {1}:
        return of_one_run("percent, with 95 % intervals over test items; every arm has one seed.", 1)
    found = "Percent, with 95 % intervals over test items and seeds."
    return found + (f" Arms with one seed: {ONE_RUN}, over test items." if 1 in counts else "")
