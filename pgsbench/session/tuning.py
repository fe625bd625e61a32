"""What each arm of a study was tuned to: the best point of its own search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pgsbench.errors import StudyError
from pgsbench.records.study_record import Tried, Tuning
from pgsbench.reporting.results import Results


def tuning(results: Results, arm: str) -> Tuning:
    """Return what an arm was tuned to, and all that was tried.

    A point that failed, as a training does whose rate is too high, has no score.

    Args:
        results: What the study ``NAME-tune`` found.
        arm: The arm.

    Raises:
        StudyError: No point of the arm has a score.
    """
    tried = []
    for label in results.labels_of(arm):
        score = results.objective_value(label)
        tried.append(Tried(results.params_of(label), None if score != score else score))
    scored = [(one.score, one.params) for one in tried if one.score is not None]
    if not scored:
        raise StudyError(
            "no point of this arm has a score, so it cannot be tuned",
            where=f"{results.study.name}, {arm}",
            way_out="see why its runs failed: `pgsbench study status`; mend it and repeat the command",
        )
    _, params = max(scored, key=lambda one: one[0])  # of equal ones the first
    return Tuning(arm, params, tuple(tried), tuple(_at_border(params, tried)))


def _at_border(params: dict[str, Any], tried: Sequence[Tried]) -> Iterator[str]:
    """Yield the paths whose value is the lowest or the highest number that was tried, of three or more."""
    for path, value in params.items():
        values = {one.params[path] for one in tried if path in one.params}
        are_numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)
        if are_numbers and len(values) > 2 and value in (min(values), max(values)):
            yield path
