"""What the numbers say, in sentences, and what they do not say."""

from __future__ import annotations

import math

from pgsbench.records.verdict_record import ALL_GROUPS
from pgsbench.reporting.columns import reference_label, rows_of
from pgsbench.reporting.decision.comparisons import group_comparisons, task_comparisons
from pgsbench.reporting.pareto import pareto_sentences
from pgsbench.reporting.render import and_, percent, points
from pgsbench.reporting.results import Results, named
from pgsbench.reporting.search.effects_tables import effects_sentences
from pgsbench.reporting.search.where import where_sentences
from pgsbench.reporting.statistics.comparison import ALPHA, ONE_RUN, Missing, of_one_run
from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.reporting.statistics.paired_values import PairedValues
from pgsbench.reporting.statistics.variance import equal_spread_p, seeds_of_one_arm
from pgsbench.reporting.study_frames import PlannedRun
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


def _best(results: Results) -> list[str]:
    searched = [label for label in results.study.labels if results.params_of(label)]
    scored = {label: results.objective_value(label) for label in searched if label not in results.too_costly}
    order = sorted((-value, label) for label, value in scored.items() if value == value)
    if len(order) < 2:
        return []
    (value, best), (_, second) = order[:2]
    objective = results.objective
    on = named(ALL_GROUPS) if objective.is_mean else objective.name
    limited = " within search.at_most" if results.too_costly else ""
    said = f"Of {len(searched)} searched points {best} scores highest{limited} ({percent(-value)} on {on})"
    is_mean = objective.is_mean and ALL_GROUPS in results.groups
    lead = results.difference(best, second, ALL_GROUPS) if is_mean else None
    if isinstance(lead, Interval):
        ends = f"95 % interval {points(lead.low)} to {points(lead.high)}, flattered by choosing the best"
        said += f"; it leads the second, {second}, by {points(lead.estimate)} points ({ends})"
    return [of_one_run(f"{said}.", results.seeds(best)[0])]


def _gap(results: Results) -> list[str]:
    ours, headline = results.labels_of(results.candidate), results.headline
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
            sentences.append(of_one_run(said, min(len(rows[one].runs) for one in (label, reference))))
    return sentences


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
    found += _one_world(results)
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
        is_one = len(study.oracles) == 1
        are = "it is a ceiling, not a method" if is_one else "they are ceilings, not methods"
        found.append(f"{and_(study.oracles)} know{'s' * is_one} where the objects are: {are}.")
    found += guessing(results)
    scores = [score for run in study.runs if run.scores for score in run.scores.scores]
    return [*found, *sorted({f"{score.task}: {note}" for score in scores for note in score.notes})]


def _one_world(results: Results) -> list[str]:
    specs = [run.spec for run in results.study.runs]
    if len({(spec.config.data.source, spec.data) for spec in specs}) > 1:
        return []
    budgets = {spec.config.budget or spec.config.training.samples for spec in specs}
    spent = " with one budget" if len(budgets) == 1 else ""
    said = f"All arms were trained on one data set ({specs[0].config.data.source}){spent}. "
    return [said + "Others may tell otherwise."]


def seed_sentences(results: Results) -> list[str]:
    """Return how much seeds matter on the headline and whether arms vary alike; none where no pair tells."""
    for pair in results.pairs:
        paired = results.pair_up(list(pair), results.headline)
        if not isinstance(paired, Missing) and len(paired.seeds) > 1:
            return [_spread(paired, results.headline), *_alike(paired)]
    return []


def _spread(paired: PairedValues, headline: str) -> str:
    own_df = (len(paired.arms) - 1) * (len(paired.seeds) - 1)
    square, noise, df = (float(one) for one in seeds_of_one_arm(*paired.arrays({})[:2], paired.borrowed))
    points = 100 * math.sqrt(max(0.0, square - noise))
    size = f"{points:.2f} points" if points else "not seen beside the noise of test items"
    source = "nothing is borrowed, as no other study of this recipe is known"
    if paired.borrowed:
        source = f"{df - own_df:.0f} are borrowed from {paired.borrowed.source}"
    return (
        f"Seed spread on {named(headline)}, which is what a seed does to one arm alone: {size} (one standard "
        f"deviation). {own_df} degrees of freedom of it are this study's own; {source}."
    )


def _alike(paired: PairedValues) -> list[str]:
    p = float(equal_spread_p(paired.arrays({})[0]))
    if math.isnan(p):
        return []
    if p >= ALPHA:
        return [f"No arm is seen to vary more with the seed than others (Bartlett's test, p = {p:.2f})."]
    return [
        f"Arms do not vary alike with the seed (Bartlett's test, p = {p:.3f}), but intervals take them to: "
        "those of the arm that varies most are too narrow. More seeds of it would tell."
    ]


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
