"""What the numbers say, in sentences, and what they do not say."""

from __future__ import annotations

from collections.abc import Sequence

from pgsbench.reporting.configs import config_differences
from pgsbench.reporting.render import percent, points
from pgsbench.reporting.results import ALL_GROUPS, ALPHA, Comparison, Missing, Results
from pgsbench.reporting.stats import GapClosed, Interval
from pgsbench.reporting.tables import cost_reference, mean_summary


def verdict(results: Results) -> list[str]:
    """Return the findings: a sentence for each compared pair, then the search, the gap, the cost."""
    family = results.group_comparisons
    pairs = dict.fromkeys((one.candidate, one.baseline) for one in family)
    found = [_pair([one for one in family if (one.candidate, one.baseline) == pair]) for pair in pairs]
    found += [*_best(results), *_gap(results), *_cost(results)]
    return found or ["There is nothing to compare: the study has one arm, or none of the pairs fits."]


def fairness(results: Results) -> str:
    """Return the sentence that says what differs between the arms besides the mask."""
    found = config_differences(results)
    if not found:
        return "The arms differ in nothing but the mask."
    return f"The arms differ in more than the mask: {_and(list(found))}. The table below gives the values."


def caveats(results: Results) -> list[str]:
    """Return what a reader must keep in mind; each from what this study is, none by habit."""
    study, found = results.study, []
    seeds = {len(study.values[label]) for label in study.labels if study.values[label]}
    if seeds == {1}:
        found.append(
            "One seed: all intervals and p-values cover test items only. Another seed moves scores, too, "
            "often by more than such an interval; three seeds or more would show by how much."
        )
    elif 2 in seeds:
        found.append(
            "Two seeds say little about how much seeds vary; intervals are wide or, with few arms, a little "
            "too narrow (docs/statistics.md)."
        )
    if any(one.verdict == "not significant" for one in results.group_comparisons):
        found.append(
            '"Not significant" does not mean equal: the interval says how large the difference may still be.'
        )
    data = {run.spec.config.data.train for run in study.runs}
    if len(data) == 1:
        found.append(
            f"All arms were trained on one data set ({data.pop()}) at one budget; nothing here says what "
            "happens on others."
        )
    if results.chosen_by_score:
        found.append(
            "The compared point of the search was chosen by these very scores, which flatters it: "
            "confirm it with fresh seeds."
        )
    if any(run.arm == "oracle" for run in study.runs):
        found.append("oracle knows where the objects are: it is a ceiling, not a method.")
    scores = [score for run in study.runs if run.scores for score in run.scores.scores]
    notes = {f"{score.task}: {note}" for score in scores for note in score.notes}
    return [*found, *sorted(notes)]


def _pair(family: Sequence[Comparison]) -> str:
    first = family[0]
    if all(isinstance(one.interval, Missing) for one in family):
        reasons = dict.fromkeys(one.interval.reason for one in family if isinstance(one.interval, Missing))
        return f"{first.candidate} and {first.baseline} cannot be compared: {_and(list(reasons))}."
    ours, theirs, values = first.names
    claims = [_claim(one, theirs) for one in family if one.is_significant]
    unclear = [_named(one.of) for one in family if one.verdict == "not significant"]
    missing = [_named(one.of) for one in family if one.verdict == "missing"]
    # The baseline is named in the first claim only.
    claims = claims[:1] + [claim.replace(f" than {theirs}", "", 1) for claim in claims[1:]]
    parts = [f"{ours} is {_and(claims)}"] if claims else []
    if unclear:
        between = "" if claims else f" between {ours} and {theirs}"
        parts.append(f"no significant difference{between} on {_and(unclear)}")
    if missing:
        parts.append(f"missing: {_and(missing)}")
    text = "; ".join(parts) + "."
    if values:
        return f"At {values}: {text}"
    return text if claims else text[0].upper() + text[1:]


def _claim(one: Comparison, baseline: str) -> str:
    assert isinstance(one.interval, Interval)
    found, direction = one.interval, 1 if one.interval.estimate > 0 else -1
    # "1.5 points worse (0.4 to 2.6)": the ends are counted in the direction of the claim.
    low, high = sorted((direction * found.low, direction * found.high))
    return (
        f"{percent(abs(found.estimate))} points {one.verdict} than {baseline} on {_named(one.of)} "
        f"(95 % interval {percent(low)} to {percent(high)})"
    )


def _named(of: str) -> str:
    return f"the {of}" if of == ALL_GROUPS else of


def _best(results: Results) -> list[str]:
    searched = [label for label in results.study.labels if results.params_of(label)]
    scored = sorted((-results.objective_value(label), label) for label in searched)
    scored = [(value, label) for value, label in scored if value == value]
    if len(scored) < 2:
        return []
    (value, best), (_, second) = scored[:2]
    objective = results.objective
    on = _named(ALL_GROUPS) if objective.is_mean else objective.name
    said = f"Of {len(searched)} searched points {best} scores highest ({percent(-value)} on {on})"
    if ALL_GROUPS in results.groups and objective.is_mean:
        lead = results.difference(best, second, ALL_GROUPS)
        if isinstance(lead, Interval):
            verb = "better" if lead.p_value < ALPHA else "not significantly better"
            # Choosing the best first makes its lead look larger; so a lead that is not significant is safe
            # to report, and one that is needs the warning.
            warning = ", not corrected for having chosen the best" if lead.p_value < ALPHA else ""
            ends = f"95 % interval {points(lead.low)} to {points(lead.high)}{warning}"
            said += f"; it is {verb} than the second, {second} ({points(lead.estimate)} points, {ends})"
    return [f"{said}."]


def _gap(results: Results) -> list[str]:
    ours = set(results.labels_of(results.candidate))
    headline = ALL_GROUPS if ALL_GROUPS in results.groups else next(iter(results.groups), "")
    sentences = []
    for label, group, found in results.gaps:
        if label not in ours or group != headline:
            continue
        if isinstance(found, GapClosed) and not found.undefined:
            sentences.append(
                f"{label} closes {100 * found.share:.0f} % (95 % interval {100 * found.low:.0f} to "
                f"{100 * found.high:.0f}) of the gap between random and oracle masks on {_named(group)}."
            )
        elif isinstance(found, GapClosed):
            sentences.append(
                f"What {label} closes of the random-to-oracle gap is undefined: {found.undefined}."
            )
    return sentences


def _cost(results: Results) -> list[str]:
    reference = cost_reference(results)
    base = mean_summary(results, reference).get("train_seconds")
    sentences = []
    for label in dict.fromkeys(ours for ours, _ in results.pairs):
        seconds = mean_summary(results, label).get("train_seconds")
        if base and seconds and label != reference:
            sentences.append(
                f"Training with {label} took {seconds / base:.2f} times as long as with {reference} "
                f"({seconds:,.0f} s against {base:,.0f} s a run)."
            )
    return sentences


def _and(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
