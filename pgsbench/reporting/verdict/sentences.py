"""What the numbers say, in sentences, and what they do not say."""

from __future__ import annotations

from pgsbench.records.verdict_record import ALL_GROUPS
from pgsbench.reporting.columns import reference_label, rows_of
from pgsbench.reporting.cost.choice import pareto_sentences
from pgsbench.reporting.decision.comparisons import group_comparisons, task_comparisons
from pgsbench.reporting.render import and_, percent, points
from pgsbench.reporting.results import Results, named
from pgsbench.reporting.search.effects_tables import effects_sentences
from pgsbench.reporting.search.where import where_sentences
from pgsbench.reporting.statistics.comparison import ONE_RUN, Missing, of_one_run
from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.reporting.study_frames import PlannedRun
from pgsbench.reporting.verdict.seeds import seed_sentences
from pgsbench.tracking.rundir import RunDir

#: A loss of so many times that of guessing, or more. Of 137 trainings on scenes and photos none ended
#: above 0.96 of it.
_AS_GUESSING = 0.995


def verdict(results: Results) -> list[str]:
    """Return the findings beside the verdict: of a grid, the front, the best point, the gap and the cost.

    Of a search over data: where the candidate gains over further baselines; the first is the verdict.
    """
    if results.is_over_data:
        found = where_sentences(results)[1:]
    else:
        found = [*effects_sentences(results), *pareto_sentences(results)]
        found += [*_best(results), *_gap(results), *_cost(results)]
    if not results.pairs:
        found.append("There is nothing to compare: the study has one arm, or none of the pairs fits.")
    return found


def caveats(results: Results) -> list[str]:
    """Return what a reader must keep in mind; each from what this study is, none by habit."""
    study, found = results.study, []
    seeds = {results.seeds(label)[0] for label in study.labels} - {0}
    if 1 in seeds:
        whom = "" if seeds == {1} else " where an arm has one seed"
        found.append(
            f"{ONE_RUN.capitalize()}{whom}: intervals and p-values cover test items. Another seed moves "
            "scores, too, often by more than the interval. Three seeds or more show by how much."
        )
    found += seed_sentences(results)
    if any(one.outcome == "undecided" for one in group_comparisons(results)):
        found.append('"Undecided" is not "equal": the interval says how large the difference may be.')
    if any(one.is_significant for one in task_comparisons(results)):
        found.append(
            "Single tasks are exploratory: they are corrected as a family of their own. The sentences above "
            "are about groups, the main family."
        )
    specs = [run.spec for run in study.runs]
    if len({(spec.config.data.source, spec.data) for spec in specs}) == 1:
        budgets = {spec.config.budget or spec.config.training.samples for spec in specs}
        spent = " with one budget" if len(budgets) == 1 else ""
        found.append(
            f"All arms were trained on one data set ({specs[0].config.data.source}){spent}. "
            "Others may tell otherwise."
        )
    found += [
        f"{and_(arms)} are one training: they count once, and nothing is tested between them."
        for arms in results.copies
    ]
    if results.not_compared:
        found.append(
            f"Shown, but not compared here: {and_(results.not_compared)}, of earlier commands. "
            f"`pgsbench report {study.name}` compares all arms."
        )
    if results.chosen_by_score:
        found.append(
            "The compared point was chosen by these very scores, which flatters it: "
            "confirm it with fresh seeds."
        )
    if study.oracles:
        know, are = ("know", "they are ceilings, not methods")
        if len(study.oracles) == 1:
            know, are = ("knows", "it is a ceiling, not a method")
        found.append(f"{and_(study.oracles)} {know} where the objects are: {are}.")
    found += guessing(results)
    scores = [score for run in study.runs if run.scores for score in run.scores.scores]
    notes = {f"{score.task}: {note}" for score in scores for note in score.notes}
    return [*found, *sorted(notes)]


def guessing(results: Results) -> list[str]:
    """Return which runs ended with a loss like that of guessing or above, if any: they have learnt nothing.

    It is no reason to stop a training, as a loss may fall again.
    """
    found = []
    for run in results.study.runs:
        guess, loss = run.spec.config.training.guessing_loss, _last_loss(run)
        if loss is not None and loss >= _AS_GUESSING * guess:
            found.append(f"{run.label}, seed {run.seed} ({loss:.2f}, and guessing has {guess:.2f})")
    if not found:
        return []
    shown = "; ".join(found[:3]) + (f"; and {len(found) - 3} others" if len(found) > 3 else "")
    return [
        f"The loss ended no better than guessing: {shown}. Such a training has exploded or collapsed, or is "
        "far too short. Lower training.learning_rate, or lengthen the warm-up."
    ]


def _last_loss(run: PlannedRun) -> float | None:
    """Return the mean loss of the last tenth of a training, where it may be one of `guessing`."""
    final = run.summary.final_loss if run.summary else None
    if final is None or final < 0.9 * run.spec.config.training.guessing_loss:  # most runs; no file is read
        return None
    losses = [float(line["loss"]) for line in RunDir(run.path).metrics() if line.get("loss")]
    last = losses[-max(1, len(losses) // 10) :]
    return sum(last) / len(last) if last else None


def _best(results: Results) -> list[str]:
    searched = [label for label in results.study.labels if results.params_of(label)]
    scored = sorted((-results.objective_value(label), label) for label in searched)
    scored = [(value, label) for value, label in scored if value == value and label not in results.too_costly]
    if len(scored) < 2:
        return []
    (value, best), (_, second) = scored[:2]
    objective = results.objective
    on = named(ALL_GROUPS) if objective.is_mean else objective.name
    limited = " within search.at_most" if results.too_costly else ""
    said = f"Of {len(searched)} searched points {best} scores highest{limited} ({percent(-value)} on {on})"
    if objective.is_mean and ALL_GROUPS in results.groups:
        said += _lead(results, best, second)
    return [of_one_run(f"{said}.", results.seeds(best)[0])]


def _lead(results: Results, best: str, second: str) -> str:
    lead = results.difference(best, second, ALL_GROUPS)
    if not isinstance(lead, Interval):
        return ""
    ends = f"95 % interval {points(lead.low)} to {points(lead.high)}, flattered by choosing the best"
    return f"; it leads the second, {second}, by {points(lead.estimate)} points ({ends})"


def _gap(results: Results) -> list[str]:
    ours = set(results.labels_of(results.candidate))
    headline = next(iter(results.groups), "")
    sentences = []
    for label, group, found in results.gaps:
        if label not in ours or group != headline or isinstance(found, Missing):
            continue
        if found.undefined:
            said = f"The gap between random and oracle masks cannot be told for {label}: {found.undefined}."
        else:
            share, low, high = (f"{100 * each:.0f}" for each in (found.share, found.low, found.high))
            said = (
                f"{label} closes {share} % (95 % interval {low} to {high}) of the gap between random and "
                f"oracle masks on {named(group)}."
            ).replace(" -", " −")
        sentences.append(of_one_run(said, found.gap.num_seeds))
    return sentences


def _cost(results: Results) -> list[str]:
    rows, reference = rows_of(results), reference_label(results)
    base = rows[reference].seconds
    sentences = []
    for label in dict.fromkeys(ours for ours, _ in results.pairs):
        seconds = rows[label].seconds
        if base and seconds and label != reference:
            said = (
                f"Training with {label} took {seconds / base:.2f} times as long as with {reference} "
                f"({seconds:,.0f} s against {base:,.0f} s a run)."
            )
            num_seeds = min(len(rows[label].runs), len(rows[reference].runs))
            sentences.append(of_one_run(said, num_seeds))
    return sentences
