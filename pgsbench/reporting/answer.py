"""The answer of a study, by its kind: the headline, what it rests on, its picture and its table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from pgsbench.records.verdict_record import ScoreInterval, VerdictRecord
from pgsbench.reporting import words
from pgsbench.reporting.badges import badges
from pgsbench.reporting.columns import rows_of
from pgsbench.reporting.decision.comparisons import decisions, is_planned, margin_of, plan_of
from pgsbench.reporting.decision.decide import looks_of
from pgsbench.reporting.effects import REST, SEEDS, Effects, effects, effects_tables
from pgsbench.reporting.pareto import WITHIN, choose, costs_of, front_table, points_of
from pgsbench.reporting.ranking import Ranked, ranking
from pgsbench.reporting.render import Table, and_, counted, percent
from pgsbench.reporting.results import Results, named
from pgsbench.reporting.statistics.comparison import ALPHA, Comparison
from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.reporting.sweep import (
    best_points,
    importance_table,
    is_line,
    rivals,
    said_point,
    searched_labels,
    searched_values,
    sweep_table,
)
from pgsbench.study.objective import objectives_of

#: What a study asks, which says how its report answers.
Kind = Literal["compare", "sweep", "factors", "cost"]
#: More comparisons are not told one by one.
MAX_TOLD = 3


@lru_cache(maxsize=4)  # a page asks often
def kind_of(results: Results) -> Kind:
    """Return what a study asks.

    A search over data compares arms at each of its points. One for a score and a cost asks what scores cost,
    and so do arms with an equal budget that cost unlike after all. One of a single path of numbers asks where
    the best lies, any other what moves scores.
    """
    search, values = results.study.record.config.search, searched_values(results)
    if results.is_over_data:
        return "compare"
    has_costs = any(points_of(results, cost) for cost in costs_of(results))
    if searched_labels(results):
        if search and len(objectives_of(search)) > 1 and has_costs:
            return "cost"
        return (
            "sweep" if is_line(results) or (len(values) < 2 and len(best_points(results)) < 2) else "factors"
        )
    budgets = [run.spec.config.budget for run in results.study.runs]
    return "cost" if all(budgets) and has_costs else "compare"


def headline(results: Results) -> str:
    """Return the answer to the study's question, in at most `words.MAX_WORDS` words."""
    told = {"sweep": _peak, "factors": _mover, "cost": _front}.get(kind_of(results))
    return (told(results) if told else "") or comparison(results)


def first_table(results: Results) -> Table | None:
    """Return the table beside the headline's picture; None: it is the table of arms."""
    kind = kind_of(results)
    if kind == "factors":
        return next(iter(effects_tables(results)), None) or importance_table(results) or sweep_table(results)
    return {"sweep": sweep_table, "cost": front_table}.get(kind, lambda _: None)(results)


# ------------------------------------------------------------------------------------------- by its kind


def _known(results: Results) -> list[tuple[Comparison, Interval]]:
    return [(one, one.interval) for one in decisions(results) if isinstance(one.interval, Interval)]


def comparison(results: Results) -> str:
    """Return the verdict on what is compared, whatever else the study asks."""
    found, order = _known(results), ranking(results)
    if not found:
        if order:
            best = _plainly(results, order[0].label)
            return words.best_of_many(best, order[0].mean, len(order), sure=_is_sure(order))
        return "Nothing can be compared yet." if decisions(results) else "Nothing is compared."
    candidates = {one.candidate for one, _ in found}
    if len(found) == 1:
        (one, lead), (ours, theirs, at) = found[0], found[0][0].names
        return words.against_one(
            ours, theirs, one.outcome, lead, at=at, margin=one.margin, seeds=_more_seeds([one])
        )
    if len(candidates) == 1 and len(found) <= MAX_TOLD:
        leads = {one.baseline: (one.outcome, lead) for one, lead in found}
        return words.against_few(candidates.pop(), leads, seeds=_more_seeds([one for one, _ in found]))
    if not order:
        one, lead = max(found, key=lambda pair: (pair[0].is_significant, abs(pair[1].estimate)))
        ours, theirs, at = one.names
        return words.against_one(ours, theirs, one.outcome, lead, at=at, margin=one.margin)
    best = order[0].label
    name, score, num, sure = _plainly(results, best), order[0].mean, len(order), _is_sure(order)
    for one, lead in found:
        if one.baseline == best:
            return words.best_of_many(
                name, score, num, sure=sure, ours=one.candidate, outcome=one.outcome, lead=lead
            )
    return words.best_of_many(name, score, num, sure=sure)


def _plainly(results: Results, label: str) -> str:
    """Return a label so that the arm `none` does not read as no arm."""
    spec = results.study.of(label)[0].spec
    is_whole = spec.has_whole_pictures and spec.config.text.strategy == "none"
    return f"{label}, which masks nothing," if is_whole else label


def _is_sure(order: Sequence[Ranked]) -> bool:
    return all(one.first > 1 for one in order[1:])


def _more_seeds(found: Sequence[Comparison]) -> int | None:
    """Return how many more seeds would decide all that is open; None where that is not known."""
    open_ = [one for one in found if one.outcome == "undecided"]
    more = [one.seeds_needed - one.num_seeds for one in open_ if one.seeds_needed]
    return max(more) if more and len(more) == len(open_) else None


def _peak(results: Results) -> str:
    best = best_points(results)
    if not best:
        return ""
    label = results.best(best.values())
    whole = [run.label for run in results.study.runs if run.spec.has_whole_pictures and not run.spec.params]
    mean = results.mean(whole[0], results.scope) if whole else None
    others = [said_point(results, one) for one in rivals(results, label)]
    return words.best_point(
        said_point(results, label),
        results.objective_value(label),
        len(searched_labels(results)),
        rivals=others,
        whole=mean.estimate if isinstance(mean, Interval) else None,
    )


def _mover(results: Results) -> str:
    found, best = effects(results), best_points(results)
    if not best or not isinstance(found, Effects):
        return _peak(results)  # importances of a sampled search do not tell effects from chance
    terms = [term for term in found.terms if term.name not in (SEEDS, REST)]
    sure = {term.name: term.share for term in terms if term.p_value < ALPHA}
    if not sure:
        return words.nothing_moves([term.name for term in terms if "×" not in term.name])
    label = results.best(best.values())
    return words.what_moves(sure, label, results.objective_value(label))


def _front(results: Results) -> str:
    search = results.study.record.config.search
    cost = next((one for one in costs_of(results) if points_of(results, one)), None)
    if cost is None:
        return ""
    points = {one.label: one for one in points_of(results, cost)}
    if search is not None:
        choice, best = choose(results, within=WITHIN), choose(results)
        if choice in points and best in points:
            cheap, dear = points[choice], points[best]
            scores = [results.objective_value(one.label) for one in (cheap, dear)]
            return words.cheap_enough(
                cheap.label, scores[0], dear.label, scores[1], cheap.cost / dear.cost, cost.name
            )
    front = [one for one in points.values() if one.is_on_front]
    unit = cost.column.replace("train s", "seconds")
    return words.most_for_least(
        [(_plainly(results, one.label), one.mean.estimate, one.cost / cost.unit) for one in front],
        unit,
    )


# ------------------------------------------------------------------------------------------- small print


def basis(results: Results) -> str:
    """Return what the answer rests on: seeds, test items, what it is corrected for, the margin."""
    found = _known(results)
    scored = [results.mean(label, results.headline) for label in results.study.labels if results.headline]
    means = [mean for mean in scored if isinstance(mean, Interval)]
    if not found and not means:
        return ""
    seeds = min(one.num_seeds for one in ([lead for _, lead in found] or means))
    items = (found[0][1] if found else means[0]).num_items
    sizes = sorted(one.margin for one, _ in found)
    margin = " to ".join(dict.fromkeys(map(percent, sizes[:1] + sizes[-1:])))
    margin = f"{margin} points" if margin else ""
    if (asked := margin_of(results)).is_relative:
        margin = f"{100 * asked.share:g} % of the baseline's mean ({margin})"
    planned = [one for one, _ in found if is_planned(results, one.baseline)]
    num = len(planned) or len(found)
    return words.basis(named(results.headline), seeds, items, num, _looked(results, planned), margin)


def _looked(results: Results, planned: Sequence[Comparison]) -> list[str]:
    """Return the looks that planned comparisons are corrected for; none where there was one, and no other."""
    plan = plan_of(results)
    if plan is None or not planned:
        return []
    looks = sum(seeds <= min(one.num_seeds for one in planned) for seeds in looks_of(plan))
    said = [f"{words.number(looks)} looks"] if looks > 1 else []
    return said + ([f"{counted(plan.seen, 'seed')} seen before"] if plan.seen else [])


def _setting(results: Results) -> str:
    configs = [run.spec.config for run in results.study.runs]
    samples = list(dict.fromkeys(config.training.samples for config in configs))
    pairs = and_([f"{number:,}" for number in samples])
    if len(samples) > MAX_TOLD:
        pairs = f"{min(samples):,} to {max(samples):,}"
    sources = list(dict.fromkeys(config.data.source for config in configs))
    if results.is_over_data and len(sources) > 1:
        names = list(dict.fromkeys(source.partition("?")[0] for source in sources))
        sources = [f"{and_(names)} by {counted(len(sources), 'recipe')}"]
    suites = dict.fromkeys(
        f"suite {run.scores.suite} {run.scores.suite_version}" for run in results.study.runs if run.scores
    )
    return words.setting(
        list(dict.fromkeys(config.model.name for config in configs)), pairs, sources, list(suites)
    )


def verdict_record(results: Results) -> VerdictRecord:
    """Return what a study's report, its site and MLflow show of its verdict."""
    study = results.study
    found = {one.pair: one for one in decisions(results)}
    environments = [run.environment for run in study.runs if run.environment]
    means = {
        label: {group: results.mean(label, group) for group in results.groups} for label in rows_of(results)
    }
    return VerdictRecord(
        study=study.name,
        question=study.record.config.question.strip(),
        answer=headline(results),
        certainty=basis(results),
        setting=_setting(results),
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
        badges={badge.short: badge.sentence for badge in badges(results)},
    )
