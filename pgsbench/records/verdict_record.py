"""What a report says, for those who show it elsewhere: ``reports/<study>/verdict.json``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pgsbench.errors import StudyError
from pgsbench.records import files
from pgsbench.records.json_files import read_record, write_record

#: What the mean of all groups is called where it stands beside them.
ALL_GROUPS = "mean of groups"


@dataclass(frozen=True)
class ScoreInterval:
    """A mean score with its 95 % interval, all shares."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class VerdictRecord:
    """The verdict of a study's report.

    Attributes:
        study: Name of the study.
        question: Its question.
        answer: The answer in one line.
        certainty: What it rests on, in one line.
        setting: What was trained and tested on what, in one line.
        arms: Its arms.
        date: When its last run began, ISO 8601, or empty.
        versions: Versions of what decided the numbers.
        headline: What the answer is about: a group, or `ALL_GROUPS`.
        outcomes: Pair -> better, worse, equivalent, undecided or missing. With one seed "this training run
            only: " comes first.
        scores: Label -> group -> score; what is missing is left out.
        compared: Pair -> the labels of its candidate and its baseline, which a pair shortens. Older reports
            have none.
        badges: What limits the answer: a few words -> the sentence.
    """

    study: str
    question: str
    answer: str
    certainty: str
    setting: str
    arms: tuple[str, ...]
    date: str
    versions: dict[str, str]
    headline: str
    outcomes: dict[str, str]
    scores: dict[str, dict[str, ScoreInterval]]
    compared: dict[str, tuple[str, str]] = field(default_factory=dict)
    badges: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Replace the verdict in a report's folder."""
        write_record(folder / files.VERDICT, self)

    @classmethod
    def read(cls, folder: Path) -> VerdictRecord | None:
        """Return the verdict in a report's folder, or None where there is none.

        Raises:
            StudyError: It is damaged.
        """
        return read_record(folder / files.VERDICT, cls, StudyError)
