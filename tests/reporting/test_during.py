"""Scores during training in the report: the figure, the tables, and who overtakes whom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fabricated import ARMS, write_runs
from matplotlib.colors import to_hex
from matplotlib.text import Text

from pgsbench.colours import arm_colours
from pgsbench.records.run_records import Measured
from pgsbench.reporting import figures
from pgsbench.reporting.during import during_figure, during_tables, during_words
from pgsbench.reporting.pages.study_report import write_report
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.overtaking import CAUTION
from pgsbench.reporting.study_frames import read_frames
from pgsbench.session.past_studies import check_report
from pgsbench.tracking.rundir import RunDir

STEPS = np.arange(1, 8) * 48
#: Arm -> share of the operations of whole pictures, and points gained with each doubling of the pairs.
SLOPES = {"pgs": (0.6, 0.045), "none": (1.0, 0.04), "flip": (0.5, 0.025), "random": (0.5, 0.02)}


SHARES = {arm: SLOPES.get(arm, (0.5, 0.0))[0] for arm in ARMS}
TIMED = {
    arm: replace(what, effect=4 * what.effect, by_group={}, flops=int(384 * 64 * 3e8 * SHARES[arm]))
    for arm, what in ARMS.items()
}


def write_curves(folder: Path, noise: float = 0.004) -> Results:
    """Give the runs of a fabricated study scores on the way, which meet at 96 steps."""
    rng = np.random.default_rng(0)
    for run in read_frames(folder).runs:
        share, slope = SLOPES.get(run.arm, (0.5, 0.015))
        luck = rng.normal(0, noise)
        for number, step in enumerate(STEPS, start=1):
            samples = int(step) * 64
            score = 0.3 + slope * (np.log2(step / 96)) + luck + rng.normal(0, noise)
            RunDir(run.path).append_curve(
                Measured(
                    *(number, int(step), samples, samples / 280 * share, samples / 140 * share),
                    *(int(samples * 3e8 * share), ("scenes/shape", "scenes/sketch"), "", ""),
                    {"scenes/shape": score + 0.1, "scenes/sketch": score - 0.1},
                    {"classification": score + 0.1, "robustness": score - 0.1},
                )
            )
    return Results(read_frames(folder))


def test_the_figure_has_a_line_per_arm_and_a_band_of_its_seeds(fabricate):
    results = write_curves(fabricate(TIMED))
    figure = during_figure(results)
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert {name: to_hex(line.get_color()) for name, line in lines.items()} == arm_colours(ARMS)
    assert list(lines["pgs"].get_xdata())[:-1] == [step * 64 for step in STEPS]  # and the end
    curves = results.study.score_curves
    of_last = curves[(curves["label"] == "pgs") & (curves["step"] == STEPS[-1])]
    assert lines["pgs"].get_ydata()[-2] == pytest.approx(of_last["score"].mean())
    band = axes.collections[0].get_paths()[0].get_extents()
    assert band.y1 - band.y0 > np.ptp(lines["pgs"].get_ydata())
    assert {text.get_text() for text in axes.texts} == set(ARMS)
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    assert min(text.get_fontsize() for text in texts) >= 8
    places = [text.get_window_extent() for text in axes.texts]
    assert not any(one.overlaps(other) for k, one in enumerate(places) for other in places[:k])


def test_tables_and_sentences_say_who_overtakes_whom(fabricate):
    results = write_curves(fabricate(TIMED))
    scores, crossings = during_tables(results)
    assert scores.names == ["arm", "pairs", "TFLOP", "seconds", "score", "seeds"]
    first = scores.cells()[0]
    assert first[:3] == ["pgs", "3,072", "0.553"]
    assert (len(scores.rows), first[5]) == (5 * 8, "3")
    ahead = {(row[0], row[1]): row[2:] for row in crossings.cells()}
    assert list(ahead) == [("none", "pgs"), ("pgs", "flip"), ("pgs", "random")]
    budgets = ahead["pgs", "random"][:2]
    pairs, operations = (float(told.split()[0].replace(",", "")) for told in budgets)
    assert pairs == pytest.approx(96 * 64, rel=0.2)
    assert operations > pairs * 3e8 * 0.5e-12  # pgs takes more for each pair
    said = during_words(results)
    assert "pgs overtakes flip at" in said
    assert " TFLOP (95 % interval " in said
    assert said.endswith(CAUTION)
    quiet = Results(read_frames(fabricate(name="quiet")))
    assert (during_figure(quiet), during_tables(quiet), during_words(quiet)) == (None, [], "")


def test_the_report_has_them_and_they_follow_from_the_evidence(tmp_path: Path):
    results = write_curves(
        write_runs(
            tmp_path / "runs", {arm: TIMED[arm] for arm in ("pgs", "flip")}, seeds=(0, 1), num_items=40
        )
    )
    assert "during" in figures.names_for(results)
    folder = write_report(results, tmp_path / "report")
    assert (folder / "figures" / "during.png").is_file()
    assert during_words(results) in (folder / "report.md").read_text()
    assert "## Who overtakes whom during training" in (folder / "details.md").read_text()
    page = (folder / "report.html").read_text()
    assert "Scores during training</summary>" in page
    assert check_report(str(folder)) == []
