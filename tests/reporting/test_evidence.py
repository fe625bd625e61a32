"""What a report says follows from the evidence beside it, without any run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import Done, pgsbench
from fabricated import Arm
from no_figures import no_figures

from pgsbench.errors import StudyError
from pgsbench.reporting import figures
from pgsbench.reporting.evidence import EVIDENCE, OUTCOMES
from pgsbench.reporting.pages.study_report import write_report
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames
from pgsbench.session.past_studies import check_report, rewrite_reports, validity

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path for path in (ROOT / "reports/examples").iterdir() if path.is_dir())
#: These take longer than all others together.
LARGE = ("ablation", "baselines", "photos", "sinkhorn", "tokens")
ARMS = {"pgs": Arm(3.0), "flip": Arm(), "none": Arm(5.0, mask_ratio=0.0)}


@pytest.fixture
def report(fabricate, tmp_path: Path) -> Path:
    """Return the folder of a report whose runs are gone."""
    study = fabricate(ARMS, seeds=(0, 1), num_items=60)
    with no_figures(masks=figures.masks):
        write_report(Results(read_frames(study), baselines=["flip"]), tmp_path / "report")
    shutil.rmtree(tmp_path / "runs")
    return tmp_path / "report"


def checked(report: Path) -> Done:
    return pgsbench(report.parent, "report", str(report), "--check")


def test_a_report_follows_from_its_evidence_alone(report: Path) -> None:
    done = checked(report)
    assert done.returncode == 0, done.stderr
    assert "every number follows from the evidence" in done.stdout
    assert (report / OUTCOMES).stat().st_size < 20_000
    (report / "tables.tex").unlink()
    assert checked(report).returncode == 1
    (report / EVIDENCE).unlink()
    assert checked(report).returncode == 2


def test_a_number_that_was_changed_is_named_with_its_line(report: Path) -> None:
    page = report / "report.md"
    lines = page.read_text().splitlines(keepends=True)
    number, line = next((i, line) for i, line in enumerate(lines, 1) if line.startswith("| pgs"))
    digit = next(i for i, letter in enumerate(line) if letter.isdigit())
    changed = line[:digit] + str((int(line[digit]) + 1) % 10) + line[digit + 1 :]
    page.write_text("".join([*lines[: number - 1], changed, *lines[number:]]))
    (told,) = check_report(str(report))
    assert told.startswith(f"{page}:{number}: ")
    assert changed[digit : digit + 5].rstrip() in told
    assert line[digit : digit + 5].rstrip() in told.partition("the outcomes give")[2]


def test_an_outcome_that_was_changed_is_found(report: Path) -> None:
    with np.load(report / OUTCOMES) as file:
        arrays = dict(file)
    arrays["outcomes-0"][0, 0] ^= 0x80
    np.savez_compressed(report / OUTCOMES, **arrays)
    told = check_report(str(report))
    assert any(line.startswith(f"{report / 'scores.csv'}:2: ") for line in told)


def test_a_report_is_written_again_from_its_evidence(report: Path) -> None:
    before = {name: (report / name).read_text() for name in ("report.md", EVIDENCE)}
    (report / "report.md").unlink()
    masks = (report / "figures/masks.png").read_bytes()
    with no_figures(masks=figures.masks):
        list(rewrite_reports(str(report)))
    assert "figures/masks.png" in (report / "report.md").read_text()
    assert (report / "figures/masks.png").read_bytes() == masks
    for name, text in before.items():
        assert (report / name).read_text() == text, name
    assert check_report(str(report)) == []


def test_worlds_are_compared_by_their_evidence(fabricate, tmp_path: Path) -> None:
    for name in ("photos", "scenes"):
        study = fabricate(ARMS, seeds=(0, 1), num_items=60, name=name, rng_seed=len(name))
        with no_figures():
            write_report(Results(read_frames(study)), tmp_path / "reports" / name)
    told = validity("photos", ["scenes"], output=tmp_path, baseline="flip").verdict
    shutil.rmtree(tmp_path / "runs")
    folders = [str(tmp_path / "reports" / name) for name in ("photos", "scenes")]
    assert validity(folders[0], folders[1:], baseline="flip").verdict == told


def test_damaged_evidence_is_said(report: Path) -> None:
    (report / OUTCOMES).write_bytes((report / OUTCOMES).read_bytes()[:-40])
    with pytest.raises(StudyError, match=r"outcomes\.npz: outcomes cannot be read"):
        check_report(str(report))
    (report / EVIDENCE).unlink()
    with pytest.raises(StudyError, match="there is no evidence"):
        check_report(str(report))


@pytest.mark.parametrize(
    "folder",
    [pytest.param(one, marks=pytest.mark.slow if one.name in LARGE else ()) for one in EXAMPLES],
    ids=lambda folder: folder.name,
)
def test_a_committed_report_follows_from_its_evidence(folder: Path) -> None:
    assert check_report(str(folder)) == []
