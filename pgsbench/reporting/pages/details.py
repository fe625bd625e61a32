"""What stands behind the answer of a study: every task, every difference, every run, and how to repeat it."""

from __future__ import annotations

from pathlib import Path

from pgsbench.reporting.badges import seed_spread
from pgsbench.reporting.decision.comparisons import group_comparisons, task_comparisons
from pgsbench.reporting.during import during_tables
from pgsbench.reporting.effects import effects_tables
from pgsbench.reporting.fairness import fairness_sentence, fairness_table
from pgsbench.reporting.pages.published import paper_table
from pgsbench.reporting.render import COUNT, MARKS, PERCENT, POINTS, Estimate, Header, Table
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.comparison import Comparison
from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.reporting.sweep import importance_table, searched_labels, sweep_table
from pgsbench.reporting.tuned import tuned_table


def detail_tables(results: Results) -> list[Table]:
    """Return all tables that stand behind the answer; those of the first screen are among them."""
    found = [
        tasks_table(results),
        differences_table(results),
        tuned_table(results),
        *effects_tables(results),
        *during_tables(results),
        importance_table(results),
        sweep_table(results, max_points=len(searched_labels(results))),
        paper_table(results),
        fairness_table(results),
    ]
    return [table for table in found if table is not None]


def tasks_table(results: Results) -> Table | None:
    """Mean score of every arm on every group and task; None where nothing is scored."""
    if not results.groups:
        return None
    primary = results.study.primary.drop_duplicates("task").set_index("task")
    rows: list[list[object]] = []
    for of in dict.fromkeys([*results.groups, *results.tasks]):
        means = [results.mean(label, of) for label in results.study.labels]
        is_task = of in results.tasks
        facts = [primary["metric"][of], int(primary["n"][of])] if is_task else ["macro mean", ""]
        rows.append([of, *facts, results.chance(of), *means])
    arms = [(label, PERCENT) for label in results.study.labels]
    header: Header = ["group or task", "metric", ("n", COUNT), ("chance", PERCENT), *arms]
    notes = ["Percent, ± 95 %. Every task counts the same in its group, every group in the mean of groups."]
    return Table("Scores by group and task", header, rows, notes)


def differences_table(results: Results) -> Table | None:
    """The candidate's lead on every group and task, with its verdict; None where nothing is compared."""
    found = [*group_comparisons(results), *task_comparisons(results)]
    if not found:
        return None
    by_scope: dict[str, dict[str, Comparison]] = {}
    for one in found:
        by_scope.setdefault(one.of, {})[one.pair] = one
    pairs = list(dict.fromkeys(one.pair for one in found))
    rows = [[of, *(_marked(ones[pair]) for pair in pairs)] for of, ones in by_scope.items()]
    notes = [
        "Points, ± 95 %, paired by seed and test item. ▲ better, ▼ worse, = as good, ? not decided. The "
        "first row is the verdict; groups, and tasks (exploratory), are each corrected together."
    ]
    return Table(
        "Differences by group and task", ["group or task", *((pair, POINTS) for pair in pairs)], rows, notes
    )


def _marked(one: Comparison) -> Estimate | None:
    lead = one.interval
    if not isinstance(lead, Interval):
        return None
    return Estimate(lead.estimate, lead.low, lead.high, MARKS[one.outcome])


def runs_table(results: Results) -> Table:
    """Every planned run: its state, its id and where it lies."""
    rows = [
        [run.label, run.seed, run.state, run.spec.id, Path("runs", *run.path.parts[-2:]).as_posix()]
        for run in results.study.runs
    ]
    return Table("Runs", ["arm", ("seed", COUNT), "state", "id", "directory"], rows)


def facts(results: Results) -> dict[str, str]:
    """Return what it takes to repeat the study and to judge it, each value as found in the runs."""
    found: dict[str, dict[str, None]] = {}

    def note(name: str, value: object) -> None:
        if value not in (None, ""):
            found.setdefault(name, {})[str(value)] = None

    note("fairness", fairness_sentence(results))
    note("seed spread", seed_spread(results))
    for run in results.study.runs:
        config = run.spec.config
        note("training data", config.data.source)
        note("content of the data", run.spec.data)
        if run.summary and run.summary.bad_samples:
            bad = [f"{count:,} {reason}" for reason, count in run.summary.bad_samples.items()]
            note("samples that could not be used", ", ".join(bad))
        note("model", config.model.name)
        note("training pairs seen", config.training.samples)
        note("batch size", config.training.batch_size)
        note("suite", f"{run.scores.suite}, version {run.scores.suite_version}" if run.scores else "")
        note("numerics", run.spec.numerics)
        if run.environment:
            note("device", run.environment.device)
            note("source", run.environment.git and f"commit {run.environment.git}")
            note("versions", ", ".join(f"{name} {is_}" for name, is_ in run.environment.versions.items()))
    return {name: "; ".join(values) for name, values in found.items()}
