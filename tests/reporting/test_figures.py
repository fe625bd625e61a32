"""Figures show the numbers, with one colour an arm wherever it is drawn, and in legible text."""

from __future__ import annotations

import numpy as np
import pytest
from fabricated import ARMS, Arm
from matplotlib.colors import to_hex
from matplotlib.text import Text

from pgsbench.colours import PALETTE, arm_colours, label_colours
from pgsbench.records.verdict_record import ALL_GROUPS
from pgsbench.reporting import figures
from pgsbench.reporting.decision.comparisons import group_comparisons
from pgsbench.reporting.results import Results
from pgsbench.reporting.runs import kept_figures
from pgsbench.reporting.scale import Measured, fits, scale_figure
from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.reporting.study_frames import read_frames
from pgsbench.reporting.style import PAPER

#: Arm -> the effect of its masks, better with every point.
POINTS = [
    (arm, Arm(effect + 5 * k, mask_ratio=ratio, params={"strategy.mask_ratio": ratio}))
    for arm, effect in (("pgs", 2.0), ("random", -3.0))
    for k, ratio in enumerate((0.25, 0.75))
]


def lines_of(figure, names):
    return {
        line.get_label(): to_hex(line.get_color())
        for axes in figure.axes
        for line in axes.get_lines()
        if line.get_label() in names
    }


def titles_of(figure):
    named = [(axes.get_title(loc="left").split("\n")[0], axes._left_title) for axes in figure.axes]
    return {name: to_hex(title.get_color()) for name, title in named if name in ARMS}


def test_an_arm_has_one_colour_in_all_figures(fabricate):
    results = Results(read_frames(fabricate(seeds=(0,))))
    expected = arm_colours(ARMS, PALETTE)
    assert lines_of(figures.loss_curves(results.study), ARMS) == expected
    assert titles_of(figures.masks(results)) == expected
    costs = figures.accuracy_cost(results).axes[0].containers
    assert {drawn.get_label(): to_hex(drawn.lines[0].get_color()) for drawn in costs} == expected


def test_significant_differences_have_the_colour_of_the_better_arm(fabricate):
    results = Results(read_frames(fabricate({"flip": Arm(0.0), "pgs": Arm(15.0)})), candidate="pgs")
    for candidate, baseline in (("pgs", "flip"), ("flip", "pgs")):
        turned = Results(results.study, candidate=candidate, baselines=[baseline])
        dots = [line for line in figures.forest(turned).axes[0].get_lines() if line.get_marker() == "o"]
        filled = {to_hex(dot.get_color()) for dot in dots if dot.get_markerfacecolor() != PAPER}
        assert filled == {PALETTE[1]}  # pgs is second in the plan


def test_the_figures_of_a_run_have_its_arm_s_colour(fabricate, monkeypatch):
    study, drawn = read_frames(fabricate(seeds=(0,))), {}
    monkeypatch.setattr(kept_figures, "save", lambda figure, path: drawn.update({path: figure}))
    kept_figures.draw_missing(study)
    expected = arm_colours(ARMS)
    for run in study.runs:
        curves = [
            line for axes in drawn[run.path / "figures" / "curves.png"].axes for line in axes.get_lines()
        ]
        assert {to_hex(line.get_color()) for line in curves} == {expected[run.arm]}
        assert titles_of(drawn[run.path / "figures" / "masks.png"]) == {run.arm: expected[run.arm]}


def test_points_of_an_arm_are_shades_of_its_colour(fabricate):
    study = read_frames(fabricate([*POINTS, ("none", Arm(mask_ratio=0.0))], seeds=(0,)))
    found = label_colours(study.arm_of)
    assert len(set(found.values())) == 5
    assert [found["pgs mask_ratio=0.25"], found["random mask_ratio=0.25"], found["none"]] == list(PALETTE[:3])
    assert lines_of(figures.loss_curves(study), found) == found


def test_the_gallery_shows_the_point_of_the_comparison(fabricate):
    results = Results(read_frames(fabricate(POINTS, seed_sd=0.0)), candidate="pgs", baselines=["random"])
    assert results.best_of == {"pgs": "pgs mask_ratio=0.75", "random": "random mask_ratio=0.75"}
    titles = [axes.get_title(loc="left") for axes in figures.masks(results).axes[1:3]]
    assert titles == ["pgs\n75 % masked", "random\n75 % masked"]


def smallest(figure) -> float:
    """Return the height of the smallest text in pixels where the figure is 420 pixels wide."""
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return min(text.get_fontsize() for text in texts) * 420 / (72 * figure.get_figwidth())


def test_text_is_legible_where_a_figure_is_420_pixels_wide(fabricate):
    arms = {"pgs": Arm(2.0), "flip": Arm(), "none": Arm(4.0, mask_ratio=0.0)}
    results = Results(read_frames(fabricate(arms, seeds=(0, 1), num_items=40)))
    drawn = {name: draw(results) for name, draw in figures.ALL.items()}
    found = {name: smallest(figure) for name, figure in drawn.items() if figure is not None}
    assert {"differences", "accuracy-cost", "masks", "loss"} <= found.keys()
    assert min(found.values()) > 8, found


def test_budgets_have_plain_numbers_on_logarithmic_axes():
    def measured(cost: float) -> Measured:
        score = 1 - 0.5 * cost**-0.3
        return Measured(cost, Interval(score, score - 0.02, score + 0.02, 0.1, 3, 1000, 4.0))

    budgets = [{"pgs": measured(cost)} for cost in (0.25, 0.5, 1.0)]
    figure = scale_figure(budgets, fits(budgets), {"pgs": measured(2.0)}, "flops")
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")  # where a power law is a straight line
    assert [axes.xaxis.get_major_formatter()(x, 0) for x in (0.5, 2, 5000)] == ["0.5", "2", "5,000"]
    assert axes.yaxis.get_major_formatter()(0.4, 0) == "40"
    curve = axes.lines[0]
    slopes = np.diff(np.log(curve.get_ydata())) / np.diff(np.log(curve.get_xdata()))
    assert np.ptp(slopes) < 1e-6
    assert "held out" in axes.get_legend_handles_labels()[1]


def test_figures_show_the_numbers(fabricate):
    ratios = [
        (arm, Arm(mask_ratio=ratio, params={"strategy.mask_ratio": ratio}))
        for arm in ("pgs", "random")
        for ratio in (0.25, 0.5)
    ]
    results = Results(read_frames(fabricate([*ratios, ("none", Arm(mask_ratio=0.0))], seeds=(0, 1))))
    drawn = figures.ratio_accuracy(results)
    lines = {line.get_label(): line for line in drawn.axes[0].get_lines()}
    assert lines["pgs"].get_xdata() == pytest.approx([0.25, 0.5])
    expected = [results.mean(f"pgs mask_ratio={r}", ALL_GROUPS).estimate for r in (0.25, 0.5)]
    assert lines["pgs"].get_ydata() == pytest.approx(expected)
    assert "none (unmasked)" in lines
    visible = [axes for axes in drawn.axes if axes.axison]
    assert len(visible) == 5
    forest = [axes for axes in figures.forest(results).axes if axes.axison]
    titles = {axes.get_title(loc="left").replace("\n", " ") for axes in forest}
    assert titles == {one.pair for one in group_comparisons(results)}


def test_the_masks_of_all_arms_on_the_same_pictures(fabricate):
    results = Results(read_frames(fabricate(seeds=(0, 1))))
    drawn = figures.masks(results)
    titles = [axes.get_title(loc="left") for axes in drawn.axes[:6]]
    assert titles[0] == "image"
    assert titles[1:3] == ["pgs\n50 % masked", "none\n0 % masked"]
    unmasked = read_frames(fabricate({"none": Arm(mask_ratio=0.0)}, seeds=(0,), name="plain"))
    assert figures.masks(Results(unmasked)) is None
