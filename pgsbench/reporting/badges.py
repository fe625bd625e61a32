"""What limits the answer of a study: short badges beside the headline, each from what this study is."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pgsbench.masking import chosen_by
from pgsbench.reporting import words
from pgsbench.reporting.decision.comparisons import decisions, margin_of, plan_of
from pgsbench.reporting.effects import effects
from pgsbench.reporting.fairness import masks_that_differ, other_differences
from pgsbench.reporting.render import and_, counted, percent
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.comparison import ALPHA, Missing
from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.reporting.statistics.paired_values import PairedValues
from pgsbench.reporting.statistics.variance import equal_spread_p, seeds_of_one_arm
from pgsbench.reporting.study_frames import PlannedRun
from pgsbench.reporting.sweep import is_line, on_borders, searched_labels
from pgsbench.reporting.tuned import tuned_badges
from pgsbench.reporting.words import Badge, badge, first_three
from pgsbench.tracking.rundir import RunDir

#: A loss of so many times that of guessing, or more. Of 137 trainings on scenes and photos none ended
#: above 0.96 of it.
_AS_GUESSING = 0.995
#: A margin that is a larger share of a baseline's score is said to be large.
MAX_MARGIN_SHARE = 0.1


def badges(results: Results) -> list[Badge]:
    """Return what a reader must keep in mind, the most important first; none by habit."""
    return [
        *_of_seeds(results),
        *_of_choice(results),
        *_of_comparison(results),
        *guessing(results),
        *_of_study(results),
    ]


def _of_seeds(results: Results) -> Iterator[Badge]:
    study = results.study
    seeds = {results.seeds(label)[0] for label in study.labels} - {0}
    if 1 in seeds:
        yield badge("one seed" if seeds == {1} else "an arm with one seed")
    if study.problems:
        done, planned = sum(run.is_evaluated for run in study.runs), len(study.runs)
        missing, lines = counted(planned - done, "run"), first_three(study.problems)
        yield badge("incomplete", done=done, planned=planned, missing=missing, lines=lines)
    spread = pair_of_seeds(results)
    unequal = math.nan if spread is None else float(equal_spread_p(spread.arrays({})[0]))
    if unequal < ALPHA:
        yield badge("seeds vary unlike", p_value=unequal)
    pairs = [one.pair for one in decisions(results) if "alone" in one.note]
    if pairs:
        yield badge("leans on other arms", pairs=and_(pairs))


def _of_choice(results: Results) -> Iterator[Badge]:
    """Yield where what is judged was chosen by the scores that judge it, or ends at a border."""
    study, points = results.study, searched_labels(results)
    if len(points) > 1:
        yield badge("picked", points=len(points), study=study.name)
    yield from on_borders(results)
    yield from tuned_badges(results)
    plan, seen = plan_of(results), set[tuple[int, str]]()
    compared = {label for pair in results.pairs for label in pair}
    for run in study.runs:
        found = chosen_by(run.spec.training["strategy"], run.spec.config.data.source, run.seed)
        is_old = plan is not None and run.seed < plan.first_seed
        if found and run.label in compared and not is_old and (run.seed, found.strategy) not in seen:
            seen.add((run.seed, found.strategy))
            yield badge("chose a default", seed=run.seed, field=found.field, strategy=found.strategy)


def _of_comparison(results: Results) -> Iterator[Badge]:
    if found := list(other_differences(results)):
        yield badge("unfair", masks=masks_that_differ(results), settings=and_(found))
    yield from _large_margin(results)
    for arms in results.copies:
        yield badge("same training", arms=and_(arms))
    if results.not_compared:
        arms, study = results.not_compared, results.study.name
        names = and_(arms) if len(arms) < 4 else f"{len(arms)} arms"
        yield badge("not compared", number=words.number(len(arms)), arms=names, study=study)


def _large_margin(results: Results) -> Iterator[Badge]:
    """Yield where the margin is large beside a baseline's score, and how to ask for a smaller one."""
    means = {one: results.mean(one.baseline, one.of) for one in decisions(results)}
    known = {one: mean.estimate for one, mean in means.items() if isinstance(mean, Interval)}
    if not known or margin_of(results).is_relative:
        return
    lowest = min(known, key=lambda one: known[one])
    score, margin = known[lowest], lowest.margin
    if 0 < score < margin / MAX_MARGIN_SHARE:
        fitting = 100 * score * MAX_MARGIN_SHARE
        step = 10.0 ** math.floor(math.log10(fitting))
        smaller = step * math.floor(fitting / step)
        said = {"baseline": lowest.baseline, "score": percent(score), "smaller": smaller}
        yield badge("large margin", share=round(100 * margin / score), **said)


def _of_study(results: Results) -> Iterator[Badge]:
    study, search = results.study, results.study.record.config.search
    if {run.spec.config.data.source.partition("?")[0] for run in study.runs} == {"scenes"}:
        yield badge("scenes")
    if study.oracles:
        know, what = ("know", "are ceilings, no methods")
        if len(study.oracles) == 1:
            know, what = ("knows", "is a ceiling, no method")
        yield badge("ceiling", oracles=and_(study.oracles), know=know, what=what)
    if search is not None and study.pruned_labels:
        num, hours = counted(len(study.pruned_labels), "point"), study.saved_seconds / 3600
        yield badge("pruned", points=num, pruner=search.pruner, hours=hours)
    if results.too_costly:
        count = len(results.too_costly)
        yield badge("too costly", count=count, points=counted(count, "point"))
    if not is_line(results) and isinstance(told := effects(results), Missing):
        yield badge("no effects", reason=told.reason)
    scores = [score for run in study.runs if run.scores for score in run.scores.scores]
    if notes := sorted({f"{score.task}: {note}" for score in scores for note in score.notes}):
        yield badge("of data", tasks=counted(len(notes), "task"), notes="; ".join(notes))


def pair_of_seeds(results: Results) -> PairedValues | None:
    """Return the first compared pair that has two seeds or more, on the headline: it tells of seeds."""
    for pair in results.pairs:
        paired = results.pair_up(list(pair), results.headline)
        if not isinstance(paired, Missing) and len(paired.seeds) > 1:
            return paired
    return None


def seed_spread(results: Results) -> str:
    """Return how much seeds matter on the headline and whether arms vary alike; empty where no pair tells."""
    paired = pair_of_seeds(results)
    if paired is None:
        return ""
    own_df = (len(paired.arms) - 1) * (len(paired.seeds) - 1)
    means, influence, _ = paired.arrays({})
    square, noise, df = (float(one) for one in seeds_of_one_arm(means, influence, paired.borrowed))
    alike, lent = float(equal_spread_p(means)), paired.borrowed
    points = 100 * math.sqrt(max(0.0, square - noise))
    p_value = None if math.isnan(alike) else alike
    return words.seed_spread(points, own_df, lent.source if lent else "", df - own_df, p_value)


def guessing(results: Results) -> list[Badge]:
    """Return which runs ended with a loss like that of guessing or above, if any: they have learnt nothing.

    It is no reason to stop a training, as a loss may fall again.
    """
    found = []
    for run in results.study.runs:
        guess, loss = run.spec.config.training.guessing_loss, _last_loss(run)
        if loss is not None and loss >= _AS_GUESSING * guess:
            found.append(f"{run.label}, seed {run.seed} ({loss:.2f}, and guessing has {guess:.2f})")
    return [badge("guessing", runs=first_three(found, last="; and "))] if found else []


def _last_loss(run: PlannedRun) -> float | None:
    """Return the mean loss of the last tenth of a training, where it may be one of `guessing`."""
    final = run.summary.final_loss if run.summary else None
    if final is None or final < 0.9 * run.spec.config.training.guessing_loss:  # most runs; no file is read
        return None
    losses = [float(line["loss"]) for line in RunDir(run.path).metrics() if line.get("loss")]
    last = losses[-max(1, len(losses) // 10) :]
    return sum(last) / len(last) if last else None
