"""What a reader of the first screen alone can say: who won, by how much, how sure, at what cost, on what."""

from __future__ import annotations

import shutil

import pytest
from fabricated import Arm, write_runs

from pgsbench.records.verdict_record import VerdictRecord
from pgsbench.reporting import figures
from pgsbench.reporting.decision.comparisons import group_comparisons
from pgsbench.reporting.pages.first_screen import verdict_record
from pgsbench.reporting.pages.templates import environment
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames
from pgsbench.reporting.answer import answer, certainty
from pgsbench.reporting.verdict.short_table import marks_table
from pgsbench.tracking.mlflow_arms import arm_tags

WHOLE = Arm(40.0, mask_ratio=0.0)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    arms = {"pgs": Arm(), "none": WHOLE, "flip": Arm(-20.0), "grid": Arm(20.0)}
    arms |= {f"other{k}": Arm(-20.0) for k in range(6)}
    folder = tmp_path_factory.mktemp("runs")
    return Results(read_frames(write_runs(folder, arms, seeds=(0, 1), seed_sd=0.0, num_items=200)))


def test_many_comparisons_are_counted_behind_the_arm_that_won(many):
    said = answer(many)
    assert said.startswith("none, which masks nothing, is the best of 10 (")
    assert "), then grid (" in said
    assert "; pgs (" in said
    assert said.endswith(") is better than 7 and worse than 2 of 9 other arms.")
    assert len(said) < 140


def test_a_margin_that_is_large_beside_a_score_is_said_to_be(many, monkeypatch):
    assert "margin is large" not in certainty(many)
    of = next(iter(many.groups))
    label, score = min(((one, many.mean(one, of).estimate) for one in many.baselines), key=lambda one: one[1])
    monkeypatch.setattr("pgsbench.reporting.decision.comparisons.MARGIN_POINTS", 21 * score)
    said = certainty(Results(many.study))
    assert f"That margin is large: 21 % of the score of {label} (" in said
    way_out = float(said.partition("--margin ")[2].partition("`")[0])
    assert 0.05 * score < way_out / 100 <= 0.1 * score


def test_the_figure_of_differences_says_of_the_headline_what_the_verdict_says(many):
    drawn = figures.forest(many)
    titles = [axes.get_title(loc="left").replace("\n", " ") for axes in drawn.axes]
    for one in group_comparisons(many):
        panel = drawn.axes[titles.index(one.pair)]
        row = list(many.groups).index(one.of)
        (dot,) = (
            line for line in panel.get_lines() if line.get_marker() == "o" and line.get_ydata()[0] == row
        )
        is_filled = dot.get_markerfacecolor() == dot.get_color()
        assert is_filled == (one.outcome in ("better", "worse"))


def test_commands_in_sentences_are_code_whose_options_stay_whole():
    shown = environment().from_string("{{ said | code }}").render(said="Less < more: `run --until it`.")
    assert shown.startswith("Less &lt; more: <code>")
    assert '<span class="whole">--until</span> <span class="whole">it</span></code>.' in shown


def test_values_of_points_may_be_broken_where_a_page_is_narrow():
    shown = environment().from_string("{{ said | breakable }}").render(said="mask_ratio=<1")
    assert shown == "mask_<wbr>ratio=<wbr>&lt;1"


def test_seeds_that_chose_a_default_are_named(fabricate):
    def said(share, seeds):
        arms = {"pgs-mixed": Arm(strategy={"random_share": share}), "flip": Arm()}
        return certainty(Results(read_frames(fabricate(arms, seeds=seeds, name=f"chosen{share}{seeds[0]}"))))

    assert " Seed 0 helped to choose `random_share` of pgs-mixed, which favours it." in said(0.5, (0, 1))
    assert "choose" not in said(0.25, (0, 1))
    assert "choose" not in said(0.5, (1, 2))


def test_many_that_are_missing_are_counted_and_many_budgets_are_a_range(fabricate):
    arms = {name: Arm(training={"samples": 320 * k}) for k, name in enumerate("abcdefg", start=1)}
    folder = fabricate(arms, seeds=(0, 1), seed_sd=0.0)
    for name in "defg":
        for run in folder.glob(f"{name}-*"):
            shutil.rmtree(run)
    results = Results(read_frames(folder), candidate="a", baselines=["b", "c", "d", "e", "f", "g"])
    screen = verdict_record(results)
    assert screen.answer.endswith("; 4 others cannot be compared yet.")
    assert "corrected for 2 comparisons" in screen.certainty
    assert "on 320 to 2,240 pairs of" in screen.setting
    (_, missing) = marks_table(results).notes
    assert missing.count("no complete run") == 1
    assert missing.endswith("and 3 reasons more.")


def test_each_arm_of_a_search_over_several_arms_has_its_verdict(fabricate, tmp_path):
    points = [
        (arm, Arm(effect, mask_ratio=ratio, params={"strategy.mask_ratio": ratio}))
        for arm, effect in (("pgs", 20.0), ("flip", 0.0))
        for ratio in (0.25, 0.5)
    ]
    results = Results(read_frames(fabricate([*points, ("none", Arm())])), candidate="pgs", baselines=["flip"])
    verdict_record(results).write(tmp_path)
    verdict = VerdictRecord.read(tmp_path)
    said = {label: arm_tags(label, verdict)["verdict"] for label in results.study.labels}
    of_points = {
        f"{arm} mask_ratio={ratio}": f"pgs − flip, mask_ratio={ratio}: better"
        for arm in ("pgs", "flip")
        for ratio in (0.25, 0.5)
    }
    assert said == {**of_points, "none": "not compared"}
