"""Studies that have run: where they lie, their reports written anew, worlds compared, MLflow fed again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from pgsbench.config.search import MEAN
from pgsbench.errors import ConfigError
from pgsbench.reporting.decision.forecast import power_table
from pgsbench.reporting.evidence import has_evidence
from pgsbench.reporting.pages import checked
from pgsbench.reporting.pages.answer_pages import ScalePlan
from pgsbench.reporting.pages.checked import evident_results
from pgsbench.reporting.pages.site import Published, write_site
from pgsbench.reporting.pages.study_report import write_report
from pgsbench.reporting.render import Table
from pgsbench.reporting.results import Results
from pgsbench.reporting.run_list import studies_run, study_folder
from pgsbench.reporting.study_frames import read_frames
from pgsbench.reporting.validity import Validity
from pgsbench.study.open import open_by_name
from pgsbench.tracking.mirror import Mirror, Synced


def rewrite_reports(
    study: str | None = None,
    *,
    output: str | Path = ".",
    candidate: str | None = None,
    baselines: Sequence[str] | None = None,
) -> Iterator[Path]:
    """Write the report of a study, or of all, anew, and yield the folder of each.

    Args:
        study: Its name, and the run directories are read; or the folder of a report, and its evidence is.
            None: all studies that have run.
        output: The folder of ``runs/`` and ``reports/``.
        candidate: As for `Study.results`; default: of a report's folder, what it was about.
        baselines: Likewise.
    """
    if study is not None and has_evidence(study):
        with evident_results(Path(study), candidate=candidate, baselines=baselines) as results:
            yield write_report(results, Path(study), from_evidence=True)
        return
    for folder in _folders(study, output):
        found = read_frames(folder)
        if study is None and not found.runs:  # so far only its masks were looked at
            continue
        results = Results(found, candidate=candidate, baselines=baselines)
        yield write_report(results, Path(output) / "reports" / folder.name)


def check_report(
    study: str | None,
    *,
    output: str | Path = ".",
    candidate: str | None = None,
    baselines: Sequence[str] | None = None,
) -> list[str]:
    """Make a report's numbers again from its evidence, and return the first that differ, a line each.

    Args:
        study: The folder of the report, or the name of a study whose report lies under ``reports/``.
        output: The folder of ``reports/``.
        candidate: Must be None: a report is checked as it was written.
        baselines: Likewise.

    Raises:
        ConfigError: No report is named, or what it is to compare is.
        StudyError: The report has no evidence, or it is damaged.
    """
    if study is None or candidate is not None or baselines is not None:
        rule = "one report is checked, as it was written"
        raise ConfigError(rule, where="--check", way_out="name the report, and no arms")
    is_folder = has_evidence(study) or ScalePlan.read(Path(study)) is not None
    return checked.check_report(Path(study) if is_folder else Path(output) / "reports" / study)


def power(
    study: str,
    *,
    output: str | Path = ".",
    candidate: str | None = None,
    baselines: Sequence[str] | None = None,
) -> Table:
    """Return what it takes to see differences in a study that has run: seeds, and test items.

    Args:
        study: Its name, or its file.
        output: The folder of ``runs/``.
        candidate: As for `Study.results`.
        baselines: Likewise.
    """
    name = open_by_name(study).config.name if study.endswith(".yaml") else study
    found = read_frames(study_folder(output, name))
    return power_table(Results(found, candidate=candidate, baselines=baselines))


def validity(
    reference: str,
    worlds: Sequence[str],
    *,
    arms: Sequence[str] | None = None,
    baseline: str | None = None,
    candidate: str | None = None,
    output: str | Path = ".",
) -> Validity:
    """Tell how well studies in other worlds order their arms as a reference does.

    Args:
        reference: The study that is believed, ``"photos"``, or with a metric other than the mean,
            ``"photos:tiny-imagenet/val/acc1"``; the folder of a report stands for its study.
        worlds: Studies in other worlds, likewise.
        arms: Only these arms; default: all that a world shares with the reference.
        baseline: The arm that differences are taken to; default: the one with random masks.
        candidate: The arm in question; default: the reference's base.
        output: The folder of ``runs/``.

    Raises:
        StudyError: A study has not run, has no such metric, or shares fewer than three arms.
    """
    with ExitStack() as stack:

        def read(name: str) -> tuple[Results, str]:
            study, _, metric = name.partition(":")
            if has_evidence(study):
                return stack.enter_context(evident_results(Path(study))), metric or MEAN
            return Results(read_frames(study_folder(output, study))), metric or MEAN

        ours, theirs = read(reference), [read(name) for name in worlds]
        return Validity.of(ours, theirs, arms=arms, baseline=baseline, candidate=candidate)


def sync(study: str | None = None, *, output: str | Path = ".") -> Iterator[tuple[str, Synced]]:
    """Feed MLflow from the run directories of a study, or of all, and yield what was sent of each."""
    mirror = Mirror()
    for folder in _folders(study, output):
        yield folder.name, mirror.sync_study(folder, report_folder=Path(output) / "reports" / folder.name)


def publish(to: str | Path, *, output: str | Path = ".") -> Published:
    """Write a static site of all reports under ``reports/``; see `reporting.pages.site`."""
    return write_site(Path(output) / "reports", Path(to))


def _folders(study: str | None, output: str | Path) -> list[Path]:
    return [study_folder(output, study)] if study else list(studies_run(output).values())
