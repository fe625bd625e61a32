"""What each arm of a study was tuned to: the best point of its own search."""

from __future__ import annotations

from pgsbench.errors import StudyError
from pgsbench.records.study_record import Tried, Tuning
from pgsbench.reporting.results import Results
from pgsbench.study.study_file import StudyFile
from pgsbench.study.tuning import at_border


def tuning(results: Results, file: StudyFile, arm: str) -> Tuning:
    """Return what an arm was tuned to, and all that was tried.

    A point that failed, as a training does whose rate is too high, has no score.

    Args:
        results: What the study ``NAME-tune`` found.
        file: That study.
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
            where=f"{file.config.name}, {arm}",
            way_out="see why its runs failed: `pgsbench study status`; mend it and repeat the command",
        )
    _, params = max(scored, key=lambda one: one[0])  # of equal ones the first
    return Tuning(arm, params, tuple(tried), tuple(at_border(file, params)))
