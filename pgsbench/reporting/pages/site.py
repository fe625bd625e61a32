"""A static site of many reports: an index with the verdicts, and each report with its files."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pgsbench.disk.whole_files import unwritable
from pgsbench.errors import ConfigError, StudyError
from pgsbench.records import files
from pgsbench.records.verdict_record import VerdictRecord
from pgsbench.reporting.pages.templates import write_page

#: Files with numbers in the folder of a report; that of `pgsbench scale` has others than a study's.
_DATA = ("arms.csv", "scores.csv", "comparisons.csv", "tables.tex", "prediction.json", files.VERDICT)


@dataclass(frozen=True)
class Published:
    """A site that was written.

    Attributes:
        index: Its first page.
        studies: Names of the reports in it, the newest first; a folder below reports/ is part of the name.
        left_out: Folders whose report says no verdict, as it is of an older version.
    """

    index: Path
    studies: list[str]
    left_out: list[Path]


def write_site(reports: Path, to: Path) -> Published:
    """Write a site of all reports below a folder; it needs no server and nothing from the network.

    Args:
        reports: The folder of reports, ``reports/``.
        to: Where the site goes; what it has of these studies is replaced, other files stay.

    Raises:
        ConfigError: The site would lie among the reports, replace what is no site, or cannot be written.
        StudyError: There is no report.
    """
    if to.resolve() == reports.resolve() or reports.resolve() in to.resolve().parents:
        raise ConfigError("a site cannot lie among the reports", where="to", value=str(to))
    pages = sorted(path.parent for path in reports.rglob("report.html"))
    found = {folder: VerdictRecord.read(folder) for folder in pages}
    verdicts = {folder.relative_to(reports): record for folder, record in found.items() if record is not None}
    if not verdicts:
        raise StudyError("there is no report", where=str(reports), way_out="`pgsbench report` writes them")
    newest = sorted(verdicts.items(), key=lambda item: item[1].date, reverse=True)
    _check_replaced(to, list(verdicts))
    for folder in verdicts:
        if (to / folder).exists():
            shutil.rmtree(to / folder)
        shutil.copytree(reports / folder, to / folder, ignore=shutil.ignore_patterns(".*"))
    index = to / "index.html"
    data = {folder: [name for name in _DATA if (to / folder / name).is_file()] for folder in verdicts}
    studies = [(folder.as_posix(), record, data[folder]) for folder, record in newest]
    write_page(index, "site.html.j2", studies=studies)
    return Published(index, [name for name, *_ in studies], [f for f in pages if found[f] is None])


def _check_replaced(to: Path, folders: Sequence[Path]) -> None:
    """Refuse to replace what no site of ours has written."""
    way_out = "name another folder"
    if reason := unwritable(to):
        raise ConfigError(f"the site cannot be written: {reason}", where="--to", way_out=way_out)
    index, here = to / "index.html", [to / one for one in folders if (to / one).exists()]
    foreign = [folder for folder in here if not (folder / "report.html").is_file()]
    if index.exists() and "Written by pgsbench" not in index.read_text(errors="replace"):
        foreign.append(index)
    if foreign:
        raise ConfigError("something else lies here", where=str(foreign[0]), way_out=way_out)
