"""What runs a study consists of and where they lie: ``runs/<study>/study.json``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pgsbench.config.schema import StudyConfig
from pgsbench.errors import StudyError
from pgsbench.records import files
from pgsbench.records.json_files import read_record, write_record
from pgsbench.records.run_spec import RunSpec


@dataclass(frozen=True)
class StudyRun:
    """A run that a study asks for, and its directory.

    Attributes:
        spec: The run as this study planned it.
        directory: Its directory relative to the runs folder; it may lie under another study.
    """

    spec: RunSpec
    directory: str


@dataclass(frozen=True)
class StudyRecord:
    """What a study consists of.

    Attributes:
        config: The study file, resolved.
        runs: Its runs, in the order of the plan.
        source: The study file as it was written, or empty.
        command: What ran it last: a command line, or a call from Python.
        suite_fingerprint: What its runs are tested on (`pgsbench.evaluation.identity`); empty: not known.
        importances: Searched parameter -> share of the variance of the score that it explains; empty where
            that is not known.
    """

    config: StudyConfig
    runs: tuple[StudyRun, ...]
    source: str = ""
    command: str = ""
    suite_fingerprint: str = ""
    importances: dict[str, float] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Replace the record of the study in `folder`."""
        write_record(folder / files.STUDY, self)

    @classmethod
    def read(cls, folder: Path) -> StudyRecord:
        """Return the record of the study in `folder`.

        Raises:
            StudyError: There is none, or it is damaged.
        """
        found = read_record(folder / files.STUDY, cls, StudyError)
        if found is None:
            raise StudyError(
                "no study has run here (no study.json)",
                where=str(folder / files.STUDY),
                way_out="`pgsbench train STUDY` writes one",
            )
        return found
