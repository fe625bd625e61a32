"""A study as one archive that another person can check: records, per-item outcomes and the report, hashed."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from pgsbench.archive.recomputed import recompute
from pgsbench.disk.whole_files import UNREADABLE, atomic, unwritable
from pgsbench.errors import StudyError
from pgsbench.hashing import file_hash
from pgsbench.records import files
from pgsbench.records.scores import Scores
from pgsbench.records.study_record import read_planned
from pgsbench.reporting.pages.study_report import write_report
from pgsbench.reporting.render import counted
from pgsbench.reporting.results import Results
from pgsbench.reporting.runs.on_disk import study_folder
from pgsbench.reporting.study_frames import read_frames
from pgsbench.tracking.rundir import RunDir

#: What the archive holds, file by file; its own hash is the hash of the bundle.
CONTENTS = "CONTENTS.json"
#: Files of a report that hold numbers.
NUMBERS = ("report.md", "scores.csv", "comparisons.csv", "tables.tex")


@dataclass(frozen=True)
class Bundle:
    """An archive that was written or read.

    Attributes:
        path: The archive.
        sha256: Hash of its list of contents, which names the hash of each file.
        study: Name of the study.
        num_runs: Complete runs in it.
        num_scores: Scores that were recomputed from per-item outcomes; 0 where it was written.
        num_unchecked: Scores without outcomes.
        problems: What does not agree; empty: all does.
    """

    path: Path
    sha256: str
    study: str
    num_runs: int
    num_scores: int = 0
    num_unchecked: int = 0
    problems: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """Whether its scores follow from its outcomes, and a line for each thing that does not agree."""
        if self.problems:
            return "\n".join([*self.problems, "does not agree"])
        said = "every score, interval and mean follows from the outcomes"
        left = f"; {counted(self.num_unchecked, 'score')} without outcomes not checked"
        return said + (left if self.num_unchecked else "")


def bundle(study: str, path: Path, *, output: str | Path = ".", weights: bool = False) -> Bundle:
    """Write a study into an archive; two bundles of the same study are equal to the byte.

    Args:
        study: Name of a study that has run.
        path: The archive to write, ``NAME.tar.gz``.
        output: The folder of ``runs/``.
        weights: Take the trained models, too.

    Raises:
        StudyError: The study has not run, no run of it is complete, or there is such a file, or cannot be.
    """
    folder = study_folder(output, study)
    if not path.name.endswith((".tar.gz", ".tgz")):
        rule = "a bundle is a tar archive, packed by gzip, and its name says so"
        raise StudyError(rule, where=str(path), way_out="name it NAME.tar.gz")
    if reason := unwritable(path.parent):
        raise StudyError(f"no bundle can be written here: {reason}", where=str(path), way_out="name another")
    if path.exists():
        raise StudyError("the file exists already", where=str(path), way_out="name a new file, NAME.tar.gz")
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        num_runs = _gather(folder, root / "runs", weights=weights)
        if not num_runs:
            way_out = f"`pgsbench study status {folder.name}` says how they stand"
            raise StudyError("no run of the study is complete", where=folder.name, way_out=way_out)
        _write_report(root / "runs" / folder.name, root / "reports" / folder.name)
        names = sorted(one.relative_to(root).as_posix() for one in root.rglob("*") if one.is_file())
        text = json.dumps({name: file_hash(root / name) for name in names}, indent=1).encode() + b"\n"
        _write(path, text, {name: root / name for name in names})
    return Bundle(path, hashlib.sha256(text).hexdigest(), folder.name, num_runs)


def _gather(folder: Path, root: Path, *, weights: bool) -> int:
    """Copy what a bundle takes of a study below `root`; return how many of its runs are complete.

    The report is made from the copy. Else a run that ends meanwhile would be in one and not in the other.
    """
    heads = (files.STUDY, f"{files.PLANNED}/[!.]*.json", f"{files.TIMES}/[!.]*.json", "pruned/[!.]*.json")
    for one in (path for pattern in heads for path in folder.glob(pattern)):
        _copy(one, root / folder.name / one.relative_to(folder))
    runs = {one.directory: RunDir(folder.parent / one.directory) for one in read_planned(root / folder.name)}
    done = {name: run for name, run in runs.items() if run.is_done}
    for name, run in done.items():
        for part in _parts(run, weights=weights):
            _copy(run.path / part, root / name / part)
    return len(done)


def _copy(source: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".safetensors":  # large, and never written again
        place.symlink_to(source)
    else:
        shutil.copyfile(source, place)


def verify(path: Path, *, report: Path | None = None) -> Bundle:
    """Check a bundle: the hash of each file, scores and intervals from outcomes, and the report from those.

    Args:
        path: The archive.
        report: Where the report that is made from the outcomes is kept; None: nowhere.

    Raises:
        StudyError: It is no bundle, or damaged.
    """
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        sha256, problems = unpack(path, root)
        folder = next((one.parent for one in root.glob(f"runs/*/{files.STUDY}")), None)
        if folder is None:
            rule = "no study is in this archive, or it is damaged"
            raise StudyError(rule, where=str(path), way_out="bundle the study again, or copy the file again")
        planned = {run.directory: run.suite_fingerprint for run in read_planned(folder)}
        runs = {name: RunDir(root / "runs" / name) for name in planned}
        done = {name: run for name, run in runs.items() if run.is_done}
        num_scores = num_unchecked = 0
        for name, run in done.items():
            for scores in _all_scores(run, planned[name]):
                num_checked, found = recompute(run.path, scores)
                num_scores += num_checked
                num_unchecked += len(scores.scores) - num_checked
                problems += [f"{name}: {problem}" for problem in found]
        again = report or root / "again"
        _write_report(folder, again)
        problems += _differences(root / "reports" / folder.name, again)
        return Bundle(path, sha256, folder.name, len(done), num_scores, num_unchecked, tuple(problems))


def _write_report(folder: Path, out: Path) -> None:
    """Write the report of a study with the paths of its runs as they are in the archive."""
    write_report(Results(read_frames(folder)), out)
    for path in (out / name for name in (*NUMBERS, "report.html")):
        path.write_text(path.read_text().replace(str(folder.parent), "runs"))


def _parts(run: RunDir, *, weights: bool) -> Iterator[str]:
    for path in sorted(run.path.rglob("*")):
        part = path.relative_to(run.path)
        hidden = any(name.startswith(".") for name in part.parts)
        if not path.is_file() or hidden or part.is_relative_to(files.STATE):
            continue
        if weights or not part.is_relative_to("checkpoints"):
            yield part.as_posix()


def _write(path: Path, contents: bytes, found: dict[str, Path]) -> None:
    with (
        atomic(path) as scratch,
        scratch.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        info = tarfile.TarInfo(CONTENTS)
        info.size = len(contents)
        archive.addfile(info, io.BytesIO(contents))
        for name, one in found.items():
            info = tarfile.TarInfo(name)  # without owner and time, which are no part of a study
            info.size = one.stat().st_size
            with one.open("rb") as content:
                archive.addfile(info, content)


def unpack(path: Path, root: Path) -> tuple[str, list[str]]:
    """Unpack a bundle into a folder; return its hash, and which files are not those that were bundled.

    Raises:
        StudyError: It is no bundle, or damaged.
    """
    if not path.exists():
        raise StudyError("there is no such file", where=str(path))
    try:
        with tarfile.open(path, "r:gz") as archive:
            archive.extractall(root, filter="data")
        text = (root / CONTENTS).read_bytes()
        contents: dict[str, str] = json.loads(text)
    except (*UNREADABLE, tarfile.TarError) as error:
        raise StudyError(
            f"not a bundle of a study ({error})",
            where=str(path),
            way_out="`pgsbench bundle STUDY FILE.tar.gz` writes one",
        ) from error
    problems = []
    for name, expected in contents.items():
        one = root / PurePosixPath(name)
        if not one.is_file():
            problems.append(f"{name}: missing")
        elif file_hash(one) != expected:
            problems.append(f"{name}: not the file that was bundled")
    there = {one.relative_to(root).as_posix() for one in root.rglob("*") if one.is_file()}
    problems += [f"{name}: not in the list of contents" for name in sorted(there - {*contents, CONTENTS})]
    return hashlib.sha256(text).hexdigest(), problems


def _all_scores(run: RunDir, suite_fingerprint: str) -> list[Scores]:
    """Return the last scores of a run, and those on the suite of the study where these are others."""
    last, own = run.scores, run.scores_of(suite_fingerprint)
    return [found for found in (last, None if own == last else own) if found is not None]


def _differences(bundled: Path, again: Path) -> Iterator[str]:
    for name in NUMBERS:
        before, after = ((folder / name) for folder in (bundled, again))
        if not before.is_file():
            yield f"{name}: not in the bundle"
            continue
        pairs = zip(before.read_text().splitlines(), after.read_text().splitlines(), strict=False)
        changed = next((pair for pair in pairs if pair[0] != pair[1]), None)
        if changed or before.read_text() != after.read_text():
            yield f"{name}: the outcomes give another one; {_first(changed)}"


def _first(changed: tuple[str, str] | None) -> str:
    """Tell two lines that differ in a few words: from where they do."""
    if changed is None:
        return "it has another length"
    same = next((i for i, (a, b) in enumerate(zip(*changed, strict=False)) if a != b), 0)
    start = max(0, same - 20)
    ours, theirs = (line[start : start + 60] for line in changed)
    return f"first {ours!r} in place of {theirs!r}"
