"""A study's verdict in one line, and how sure it is in another."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from pgsbench.masking import chosen_by
from pgsbench.reporting.decision.comparisons import decisions, is_planned, plan_of
from pgsbench.reporting.decision.decide import looks_of
from pgsbench.reporting.decision.forecast import MOST_SEEDS
from pgsbench.reporting.render import and_, counted, percent, points
from pgsbench.reporting.results import Results, named
from pgsbench.reporting.statistics.comparison import Comparison, of_one_run
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


class _Known(NamedTuple):
    """A comparison that is not missing, and its interval."""

    one: Comparison
    interval: Interval


def _known(results: Results) -> list[_Known]:
    return [_Known(one, one.interval) for one in decisions(results) if isinstance(one.interval, Interval)]


def _seeds(found: Sequence[_Known]) -> int:
    return min(known.interval.num_seeds for known in found)


def answer(results: Results) -> str:
    """Return the answer to the study's question in one line; first of all whether it is about one run."""
    found, every = _known(results), decisions(results)
    if not found:
        said = "Nothing can be compared yet: no two arms that are compared have results"
        if not every:  # a search of one mask, for example
            said = "Nothing is compared: the study has one arm, or none of the pairs fits"
        if not (best := _best(results)):
            return f"{said}."
        seeds = [results.seeds(label)[0] for label in results.study.labels]
        return of_one_run(f"{said}; {best}.", min(number for number in seeds if number))
    said = _answer(results, found)
    missing = list(dict.fromkeys(one.baseline for one in every if not one.num_seeds))
    if missing:
        names = and_(missing) if len(missing) <= MAX_TOLD else f"{len(missing)} others"
        said = f"{said.removesuffix('.')}; {names} cannot be compared yet."
    return of_one_run(said, _seeds(found))


def _answer(results: Results, found: Sequence[_Known]) -> str:
    if len(found) == 1:
        return _only(*found[0])
    candidates = {known.one.candidate for known in found}
    if len(candidates) > 1 or len(found) > MAX_TOLD:
        return _counts(results, found)
    told: dict[str, list[str]] = {}
    for one, interval in found:
        told.setdefault(one.outcome, []).append(f"{one.baseline} ({points(interval.estimate)})")
    open_, candidate = and_(told.pop("undecided", [])), candidates.pop()
    if not told:
        return f"Undecided: {candidate} against {open_}."
    parts = [f"{claim} {and_(told[outcome])}" for outcome, claim in _CLAIMS.items() if outcome in told]
    left = f"; undecided against {open_}" if open_ else ""
    return f"{candidate} is {', '.join(parts)}{left}."


def _only(one: Comparison, interval: Interval) -> str:
    ours, theirs, values = one.names
    at = f" at {values}" if values else ""
    ends = f"{points(interval.low)} to {points(interval.high)}"
    lead = f"{points(interval.estimate)} points ({ends})"
    if one.outcome == "undecided":
        return f"Undecided: {ours} against {theirs}{at}, {lead}."
    within = f" within {percent(one.margin)} points" if one.outcome == "equivalent" else ""
    return f"{ours} is {_CLAIMS[one.outcome]} {theirs}{within}{at}: {lead}."


def _counts(results: Results, found: Sequence[_Known]) -> str:
    """Return which arm is the best, and in how many comparisons the candidate is what."""
    counts = Counter(known.one.outcome for known in found)
    outcomes = [outcome for outcome in _CLAIMS if outcome in counts]
    number, is_one = len(found), len(counts) == 1
    who = results.candidate
    if len({known.one.candidate for known in found}) == 1:  # then each comparison is with another arm
        mean = results.mean(found[0].one.candidate, found[0].one.of)
        who += f" ({percent(mean.estimate)})" if isinstance(mean, Interval) else ""
        said = and_([f"{_CLAIMS[outcome]} {counts[outcome]}" for outcome in outcomes])
        said += f" of {number} other arms"
        said = f"{_CLAIMS[outcomes[0]]} all {number} other arms" if is_one else said
    else:
        said = and_([f"{outcome} in {counts[outcome]}" for outcome in outcomes])
        said += f" of {number} comparisons"
        said = f"{outcomes[0]} in all {number} comparisons" if is_one else said
        baselines = list(dict.fromkeys(results.study.arm_of[known.one.baseline] for known in found))
        said += f" with {and_(baselines)}" if len(baselines) <= MAX_TOLD else ""
    best = _best(results)
    return f"{best}; {who} is {said}." if best else f"{who} is {said}."


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


def certainty(results: Results) -> str:
    """Return how sure the answer is in one line: seeds, pictures, looks, and what would decide the rest.

    Empty where nothing is compared.
    """
    found = _known(results)
    if not found:
        return "No interval: results are missing." if decisions(results) else ""
    (one, interval), seeds = found[0], _seeds(found)
    said = f"On {named(one.of)}: {counted(seeds, 'seed')}, {counted(interval.num_items, 'test picture')}, "
    said += f'95 % intervals; "equivalent" is within {_within(results, found)}{_corrected(results, found)}'
    said += "; another seed may tell otherwise" if seeds == 1 else ""
    more = f"{_large_margin(results, found)}{_needed(results, found)}{_flattered(results)}{_world(results)}"
    return f"{said}.{more}"


def _within(results: Results, found: Sequence[_Known]) -> str:
    """Return the margin in points, and what it is a share of."""
    plan, sizes = plan_of(results), sorted(known.one.margin for known in found)
    said = f"{' to '.join(dict.fromkeys(map(percent, (sizes[0], sizes[-1]))))} points"
    if plan is None or not plan.margin.is_relative:
        return said
    return f"{100 * plan.margin.share:g} % of the baseline's mean ({said})"


def _corrected(results: Results, found: Sequence[_Known]) -> str:
    """Say for what the verdicts are corrected; what was planned is a family of its own."""
    planned = [known for known in found if is_planned(results, known.one.baseline)]
    others, looked = len(found) - len(planned), _looked(results, planned)
    if planned and others:
        names = and_([known.one.baseline for known in planned])
        said = f"; {names} as planned, with {counted(_seeds(planned), 'seed')}"
        said += f" and corrected for {looked}" if looked else ""
        said += f"; the other {counted(others, 'comparison')} at once"
        return said + (f", corrected for {others}" if others > 1 else "")
    pairs = f"{len(found)} comparisons" if len(found) > 1 else ""
    return f"; corrected for {' and for '.join(filter(None, (pairs, looked)))}" if pairs or looked else ""


def _looked(results: Results, planned: Sequence[_Known]) -> str:
    """Say what looks the planned comparisons are corrected for; empty where there was one, and no other."""
    plan = plan_of(results)
    if plan is None or not planned:
        return ""
    looks = sum(seeds <= _seeds(planned) for seeds in looks_of(plan))
    said = [f"having looked {looks} times"] if looks > 1 else []
    said += [f"{counted(plan.seen, 'seed')} seen before there was a plan"] if plan.seen else []
    return " and for ".join(said)


def _large_margin(results: Results, found: Sequence[_Known]) -> str:
    """Say where the margin is large beside a baseline's score, and how to ask for a smaller one."""
    means = {known.one.baseline: results.mean(known.one.baseline, known.one.of) for known in found}
    scores = {label: mean.estimate for label, mean in means.items() if isinstance(mean, Interval)}
    lowest, plan, margin = min(scores, key=lambda label: scores[label]), plan_of(results), found[0].one.margin
    is_large = 0 < scores[lowest] < margin / MAX_MARGIN_SHARE
    if (plan and plan.margin.is_relative) or not is_large:
        return ""
    share, fitting = 100 * margin / scores[lowest], 100 * scores[lowest] * MAX_MARGIN_SHARE
    size = 10.0 ** math.floor(math.log10(fitting))
    return (
        f" That margin is large: {share:.0f} % of the score of {lowest} ({percent(scores[lowest])}). A "
        f"smaller one: `pgsbench compare --until decided --margin {size * math.floor(fitting / size):g}`."
    )


def _needed(results: Results, found: Sequence[_Known]) -> str:
    """Say how many seeds would probably decide what is open."""
    open_ = [known.one for known in found if known.one.outcome == "undecided"]
    if not open_ or any(one.has_one_seed for one in open_):
        return ""
    seeds = [one.seeds_needed for one in open_ if one.seeds_needed]
    if len(seeds) == len(open_):
        plan, most = plan_of(results), max(seeds)
        is_longer = plan and most > plan.max_seeds and all(is_planned(results, one.baseline) for one in open_)
        how = f" (`--max-seeds {most}`)" if is_longer else ""
        return f" About {most} seeds in all{how} would probably decide the rest."
    return f" {MOST_SEEDS} seeds would hardly decide the rest."


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
