"""The scores of one checkpoint on one suite: ``scores.json``, and the same numbers as ``scores.csv``."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from pgsbench.disk.whole_files import atomic
from pgsbench.errors import EvaluationError
from pgsbench.records import files


@dataclass(frozen=True)
class Score:
    """One metric of one task.

    Attributes:
        task: Name of the task in its suite, for example ``"scenes/shape"``.
        group: Group whose mean it enters, for example ``"classification"``.
        protocol: Name of the protocol that measured it, for example ``"zero_shot"``.
        metric: Name of the metric in MLflow-safe spelling, for example ``"acc1"``, ``"text_recall_at_5"``.
        value: The number, a share in [0, 1].
        n: Number of test items it is a mean over.
        low: Lower end of the 95 % interval.
        high: Upper end of the 95 % interval.
        chance: What guessing gives.
        primary: Whether this metric represents the task in means and comparisons.
        version: Version of the task's definition; scores of different versions do not compare.
        per_sample: File of the per-item values relative to the folder of the scores: a ``.npz`` with
            ``values`` (n, float32; their mean is `value`) and ``items`` (n, str; what each value belongs to).
        num_ties: Items that a tie makes wrong, or may make wrong (ours count against the model).
        notes: What is odd about the number, for example ``"collapsed embeddings"``.
        details: What was chosen on the way, for example a linear probe's penalty.
        key: Hash of all that the task was measured on; the file of the per-item values bears it, and no other
            evaluation writes that file.
    """

    task: str
    group: str
    protocol: str
    metric: str
    value: float
    n: int
    low: float
    high: float
    chance: float
    primary: bool
    version: int = 1
    per_sample: str = ""
    num_ties: int = 0
    notes: list[str] = field(default_factory=list)
    details: str = ""
    key: str = ""


@dataclass(frozen=True)
class GroupMean:
    """The mean over the tasks of a group, each task counting the same (macro).

    Attributes:
        value: The mean of the tasks' primary metrics.
        low: Lower end of its 95 % interval.
        high: Upper end of its 95 % interval.
        n_tasks: Number of tasks.
        chance: The mean of what guessing gives.
        mean: How the mean is taken.
        marked: Tasks whose score bears notes, which hold for the mean, too.
    """

    value: float
    low: float
    high: float
    n_tasks: int
    chance: float
    mean: str = "macro"
    marked: Sequence[str] = ()


@dataclass(frozen=True)
class Scores:
    """All scores of one checkpoint on one suite: the content of ``scores.json``.

    Attributes:
        suite: Name of the suite.
        suite_version: Its version.
        suite_fingerprint: Hash of all that was measured on (`pgsbench.evaluation.identity`).
        checkpoint_sha256: Hash of the weights that were measured.
        scores: One for each metric of each task, in the suite's order.
        groups: The mean of each group, in the suite's order.
        num_images: Distinct pictures the scores rest on; one that tasks of two calls share counts twice.
        num_texts: Distinct texts, likewise.
        architecture: open_clip's configuration of the model.
        activations: Activation functions of the model.
        preprocess: open_clip's preprocessing configuration that the pictures went through.
        environment: Kind of device, precision, versions of the libraries that encode.
        files: Task -> text file (class names, templates, captions) -> the first 16 digits of its SHA-256;
            equal hashes are equal prompts in the same language.
        protocols: Task -> the fields of its protocol, such as the split.
        reused: Tasks that had been measured before; said to the caller, not written.
    """

    suite: str
    suite_version: int
    suite_fingerprint: str
    checkpoint_sha256: str
    scores: tuple[Score, ...]
    groups: Mapping[str, GroupMean]
    num_images: int
    num_texts: int
    architecture: Mapping[str, Any]
    activations: tuple[str, ...]
    preprocess: Mapping[str, Any]
    environment: Mapping[str, str]
    files: Mapping[str, Mapping[str, str]]
    protocols: Mapping[str, Mapping[str, Any]]
    reused: tuple[str, ...] = field(default=(), compare=False)

    def primary(self) -> dict[str, Score]:
        """Return the score that stands for each task, by task name."""
        return {score.task: score for score in self.scores if score.primary}

    def write(self, out: Path) -> None:
        """Replace ``scores.csv`` and ``scores.json`` in the folder `out`; those of another suite are kept."""
        self._keep_others(out)
        content = asdict(self)
        del content["reused"]
        with atomic(out / files.SCORES_CSV) as scratch:
            scratch.write_text(self._table(), encoding="utf-8")
        with atomic(out / files.SCORES) as scratch:
            scratch.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")

    def _keep_others(self, out: Path) -> None:
        # A run may be in several studies, each with a suite of its own.
        try:
            other = Scores.read(out).suite_fingerprint
        except EvaluationError:  # nothing, or nothing that can be read
            return
        if other and other != self.suite_fingerprint:
            with atomic(_others(out, other)) as scratch:
                shutil.copyfile(out / files.SCORES, scratch)

    def _table(self) -> str:
        text = io.StringIO()
        columns = [*(column.name for column in fields(Score)), "precision"]
        table = csv.DictWriter(text, columns, lineterminator="\n")
        table.writeheader()
        for score in self.scores:
            notes, precision = "; ".join(score.notes), self.environment.get("precision", "")
            table.writerow(asdict(score) | {"notes": notes, "precision": precision})
        return text.getvalue()

    @classmethod
    def read(cls, out: Path) -> Scores:
        """Return the last scores in the folder `out`.

        Raises:
            EvaluationError: There is none, or it is damaged.
        """
        return cls._read(out / files.SCORES)

    @classmethod
    def read_of(cls, out: Path, suite_fingerprint: str) -> Scores | None:
        """Return the scores in the folder `out` that were measured on this very suite; None: there are none.

        Raises:
            EvaluationError: The last scores, or those of this suite, are damaged.
        """
        if (out / files.SCORES).is_file():
            last = cls.read(out)
            if last.suite_fingerprint == suite_fingerprint:
                return last
        other = _others(out, suite_fingerprint)
        return cls._read(other) if other.is_file() else None

    @classmethod
    def _read(cls, path: Path) -> Scores:
        try:
            content = json.loads(path.read_text())
            content["scores"] = tuple(Score(**score) for score in content["scores"])
            content["groups"] = {name: GroupMean(**mean) for name, mean in content["groups"].items()}
            return cls(**{field.name: content[field.name] for field in fields(cls) if field.name in content})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise EvaluationError(
                f"no readable scores here ({type(error).__name__})",
                where=str(path),
                way_out="pgsbench evaluate RUN_OR_CHECKPOINT",
            ) from error


def _others(out: Path, suite_fingerprint: str) -> Path:
    return out / files.OTHER_SCORES / f"{suite_fingerprint}.json"
