"""A study's verdict in one line, and how sure it is in another."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pgsbench.masking import chosen_by
from pgsbench.reporting.decision.decide import Decision, decisions, is_planned, looks_of, plan_of
from pgsbench.reporting.render import and_, counted, percent, points
from pgsbench.reporting.results import Results, named
from pgsbench.reporting.statistics.comparison import Comparison, Missing, of_one_run
from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.reporting.verdict.arm_ranking import ranking

#: More comparisons are counted, behind the arm that is the best; so many are told one by one.
MAX_TOLD = 3
#: A margin that is a larger share of a baseline's score is said to be large.
MAX_MARGIN_SHARE = 0.1
_CLAIMS = {
    "better": "better than",
    "worse": "worse than",
    "equivalent": "as good as",
    "the same training": "the same training as",
    "undecided": "undecided against",
}


def answer(results: Results) -> str:
    """Return the answer to the study's question in one line; first of all whether it is about one run."""
    every = decisions(results)
    found = [one for one in every if one.outcome != "missing"]
    if not found:
        said = "Nothing can be compared yet: no two arms that are compared have results"
        if not every:  # a search of one mask, for example
            said = "Nothing is compared: the study has one arm, or none of the pairs fits"
        if not (best := _best(results)):
            return f"{said}."
        seeds = [results.seeds(label)[0] for label in results.study.labels]
        return of_one_run(f"{said}; {best}.", min(number for number in seeds if number))
    said = _answer(results, found)
    missing = dict.fromkeys(one.baseline for one in every if one.outcome == "missing")
    if missing:
        names = and_(list(missing)) if len(missing) <= MAX_TOLD else f"{len(missing)} others"
        said = f"{said.removesuffix('.')}; {names} cannot be compared yet."
    return of_one_run(said, _seeds(found))


def _answer(results: Results, found: Sequence[Decision]) -> str:
    if len(found) == 1:
        return _one(found[0])
    candidates = list(dict.fromkeys(one.candidate for one in found))
    if len(candidates) > 1 or len(found) > MAX_TOLD:
        return _counts(results, found)
    parts = [
        f"{claim} {and_([_shown(one) for one in found if one.outcome == outcome])}"
        for outcome, claim in _CLAIMS.items()
        if outcome != "undecided" and any(one.outcome == outcome for one in found)
    ]
    open_ = [_shown(one) for one in found if one.outcome == "undecided"]
    said = f"{candidates[0]} is {', '.join(parts)}" if parts else ""
    left = f"undecided against {and_(open_)}" if open_ else ""
    if not said:
        said, left = f"Undecided: {candidates[0]} against {and_(open_)}", ""
    return f"{said}{'; ' if left else ''}{left}."


def certainty(results: Results) -> str:
    """Return how sure the answer is in one line: seeds, pictures, looks, and what would decide the rest.

    Empty where nothing is compared.
    """
    found = [one for one in decisions(results) if isinstance(one.interval, Interval)]
    if not found:
        return "No interval: results are missing." if decisions(results) else ""
    first = found[0].interval
    assert isinstance(first, Interval)
    seeds = _seeds(found)
    said = f"On {named(found[0].of)}: {counted(seeds, 'seed')}, {counted(first.num_items, 'test picture')}, "
    said += f'95 % intervals; "equivalent" is within {_within(results, found)}'
    said += _corrected(results, found)
    said += "; another seed may tell otherwise" if seeds == 1 else ""
    more = f"{_large_margin(results, found)}{_needed(results, found)}{_flattered(results)}{_world(results)}"
    return f"{said}.{more}"


def _within(results: Results, found: Sequence[Decision]) -> str:
    """Return the margin in points, and what it is a share of."""
    plan, sizes = plan_of(results), sorted(one.margin for one in found)
    said = f"{' to '.join(dict.fromkeys(map(percent, (sizes[0], sizes[-1]))))} points"
    if plan is None or not plan.margin.is_relative:
        return said
    return f"{100 * plan.margin.share:g} % of the baseline's mean ({said})"


def _corrected(results: Results, found: Sequence[Decision]) -> str:
    """Say for what the verdicts are corrected; what was planned is a family of its own."""
    planned = [one for one in found if is_planned(results, one.baseline)]
    others, looked = len(found) - len(planned), _looked(results, planned)
    if planned and others:
        said = (
            f"; {and_([one.baseline for one in planned])} as planned, with {counted(_seeds(planned), 'seed')}"
        )
        said += f" and corrected for {looked}" if looked else ""
        said += f"; the other {counted(others, 'comparison')} at once"
        return said + (f", corrected for {others}" if others > 1 else "")
    pairs = f"{len(found)} comparisons" if len(found) > 1 else ""
    return f"; corrected for {' and for '.join(filter(None, (pairs, looked)))}" if pairs or looked else ""


def _looked(results: Results, planned: Sequence[Decision]) -> str:
    """Say what looks the planned comparisons are corrected for; empty where there was one, and no other."""
    plan = plan_of(results)
    if plan is None or not planned:
        return ""
    looks = sum(seeds <= _seeds(planned) for seeds in looks_of(plan))
    said = [f"having looked {looks} times"] if looks > 1 else []
    said += [f"{counted(plan.seen, 'seed')} seen before there was a plan"] if plan.seen else []
    return " and for ".join(said)


def _large_margin(results: Results, found: Sequence[Decision]) -> str:
    """Say where the margin is large beside a baseline's score, and how to ask for a smaller one."""
    means = {one.baseline: results.mean(one.baseline, one.of) for one in found}
    scores = {label: mean.estimate for label, mean in means.items() if isinstance(mean, Interval)}
    if not scores:
        return ""
    lowest, plan = min(scores, key=lambda label: scores[label]), plan_of(results)
    margin, score = found[0].margin, scores[lowest]
    if plan and plan.margin.is_relative:
        return ""
    if not 0 < score < margin / MAX_MARGIN_SHARE:
        return ""
    share, fitting = 100 * margin / score, 100 * score * MAX_MARGIN_SHARE
    size = 10.0 ** math.floor(math.log10(fitting))
    return (
        f" That margin is large: {share:.0f} % of the score of {lowest} ({percent(score)}). A smaller one: "
        f"`pgsbench compare --until decided --margin {size * math.floor(fitting / size):g}`."
    )


def _flattered(results: Results) -> str:
    """Say where what is judged was chosen by the scores that judge it."""
    if results.chosen_by_score:
        return " The compared point was chosen by these very scores, which flatters it."
    plan = plan_of(results)
    compared = {label for pair in results.pairs for label in pair}
    for run in results.study.runs:
        strategy, data = run.spec.training["strategy"], run.spec.config.data.source
        found = chosen_by(strategy, data, run.seed)
        if found and run.label in compared and not (plan and run.seed < plan.first_seed):
            return f" Seed {run.seed} helped to choose `{found.field}` of {found.strategy}, which favours it."
    return ""


def _world(results: Results) -> str:
    """Say of the generated world how far it may be believed; docs/scenes.md begins with how that is known."""
    worlds = {run.spec.config.data.source.partition("?")[0] for run in results.study.runs}
    said = " Scenes rank masks only in part as photos do (docs/scenes.md): try photos before you believe it."
    return said if worlds == {"scenes"} else ""


def _one(one: Decision) -> str:
    assert isinstance(one.interval, Interval)
    ours, theirs, values = Comparison(one.candidate, one.baseline, one.of, one.interval).names
    at = f" at {values}" if values else ""
    lead = f"{points(one.interval.estimate)} points ({_ends(one.interval)})"
    if one.outcome == "undecided":
        return f"Undecided: {ours} against {theirs}{at}, {lead}."
    within = f" within {percent(one.margin)} points" if one.outcome == "equivalent" else ""
    return f"{ours} is {_CLAIMS[one.outcome]} {theirs}{within}{at}: {lead}."


def _shown(one: Decision) -> str:
    assert isinstance(one.interval, Interval)
    return f"{one.baseline} ({points(one.interval.estimate)})"


def _counts(results: Results, found: Sequence[Decision]) -> str:
    """Return which arm is the best, and in how many comparisons the candidate is what."""
    counts = {outcome: sum(one.outcome == outcome for one in found) for outcome in _CLAIMS}
    candidates = dict.fromkeys(one.candidate for one in found)
    if len(candidates) == 1:  # then each comparison is with another arm
        parts = [f"{_CLAIMS[outcome]} {number}" for outcome, number in counts.items() if number]
        said = f"{and_(parts)} of {len(found)} other arms"
        if len(parts) == 1:
            said = f"{_CLAIMS[found[0].outcome]} all {len(found)} other arms"
        mean = results.mean(found[0].candidate, found[0].of)
        score = "" if isinstance(mean, Missing) else f" ({percent(mean.estimate)})"
    else:
        parts = [f"{outcome} in {number}" for outcome, number in counts.items() if number]
        said = f"{and_(parts)} of {len(found)} comparisons"
        if len(parts) == 1:
            said = f"{found[0].outcome} in all {len(found)} comparisons"
        baselines = list(dict.fromkeys(results.study.arm_of[one.baseline] for one in found))
        said += f" with {and_(baselines)}" if len(baselines) <= MAX_TOLD else ""
        score = ""
    best = _best(results)
    said = f"{results.candidate}{score} is {said}"
    return f"{best}; {said}." if best else f"{said}."


def _best(results: Results) -> str:
    """Return which arm or point scores highest, and which is next; empty where there is no order."""
    order = ranking(results)
    if not order:
        return ""
    first, second = order[:2]
    spec = results.study.of(first.label)[0].spec
    name = first.label
    if spec.has_whole_pictures and spec.config.text.strategy == "none":
        name += ", which masks nothing,"
    verb = "scores highest" if any(one.first == 1 for one in order[1:]) else "is the best"
    unsure = ", which may be as good" if second.first == 1 else ""
    aside = ", the oracle aside" if results.study.oracles else ""
    said = f"{name} {verb} of {len(order)} ({percent(first.mean)}{aside})"
    return f"{said}, then {second.label} ({percent(second.mean)}){unsure}"


def _needed(results: Results, found: Sequence[Decision]) -> str:
    open_ = [one for one in found if one.outcome == "undecided"]
    if not open_ or any(isinstance(one.interval, Interval) and one.interval.num_seeds == 1 for one in open_):
        return ""
    seeds = [one.seeds_needed for one in open_]
    known_seeds = [number for number in seeds if number is not None]
    if len(known_seeds) == len(seeds):
        plan, most = plan_of(results), max(known_seeds)
        is_longer = plan and most > plan.max_seeds and all(is_planned(results, one.baseline) for one in open_)
        how = f" (`--max-seeds {most}`)" if is_longer else ""
        return f" About {most} seeds in all{how} would probably decide the rest."
    items = [one.items_needed for one in open_]
    known_items = [number for number in items if number is not None]
    if len(known_items) == len(items):
        return f" Seeds alone will not decide it; about {max(known_items):,} test pictures would."
    return " Neither a few hundred seeds nor many more test pictures would decide it alone."


def _seeds(found: Sequence[Decision]) -> int:
    return min(one.interval.num_seeds for one in found if isinstance(one.interval, Interval))


def _ends(found: Interval) -> str:
    return f"{points(found.low)} to {points(found.high)}"
