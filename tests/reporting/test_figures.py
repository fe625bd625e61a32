"""Figures show the numbers, with one colour an arm everywhere, in legible text that stands apart."""

from __future__ import annotations

import numpy as np
import pytest
from fabricated import ARMS, Arm
from matplotlib.colors import to_hex
from matplotlib.text import Text

from pgsbench.colours import PALETTE, arm_colours
from pgsbench.reporting import figures, style
from pgsbench.reporting.decision.comparisons import decisions
from pgsbench.reporting.results import Results
from pgsbench.reporting.scale import Measured, Scaling
from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.reporting.study_frames import read_frames
from pgsbench.reporting.style import INK, PAPER

#: Arm -> the effect of its masks, better with every point.
POINTS = [
    (arm, Arm(effect + 5 * k, mask_ratio=ratio, params={"strategy.mask_ratio": ratio}))
    for arm, effect in (("pgs", 2.0), ("random", -3.0))
    for k, ratio in enumerate((0.25, 0.5, 0.75))
]
SEARCH = {"space": {"strategy.mask_ratio": [0.25, 0.5, 0.75]}, "arms": ["pgs", "random"]}


def texts_of(figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


def test_an_arm_has_one_colour_in_all_figures(fabricate):
    results = Results(read_frames(fabricate(seeds=(0,))))
    expected = arm_colours(ARMS, PALETTE)
    lines = figures.loss_curves(results.study).axes[0].get_lines()
    assert {line.get_label(): to_hex(line.get_color()) for line in lines} == expected
    named = {
        text.get_text(): to_hex(text.get_color()) for text in figures.loss_curves(results.study).axes[0].texts
    }
    assert named == expected
    costs = figures.accuracy_cost(results).axes[0].containers
    assert {drawn.get_label(): to_hex(drawn.lines[0].get_color()) for drawn in costs} == expected
    titles = [axes._left_title for axes in figures.masks(results).axes]
    shown = {title.get_text().split("\n")[0]: to_hex(title.get_color()) for title in titles}
    assert {arm: shown[arm] for arm in ARMS} == expected


def test_the_forest_is_filled_in_the_colour_of_the_better_arm(fabricate):
    results = Results(read_frames(fabricate({"flip": Arm(0.0), "pgs": Arm(15.0), "like": Arm(15.0)})))
    for candidate in ("pgs", "flip"):
        turned = Results(results.study, candidate=candidate)
        axes = figures.forest(turned).axes[0]
        dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
        names = [text.get_text() for text in axes.get_yticklabels()]
        by_name = {one.baseline: one for one in decisions(turned)}
        assert set(names) == set(by_name)
        for name, dot in zip(names, dots, strict=True):
            one = by_name[name]
            assert dot.get_xdata()[0] == pytest.approx(100 * one.interval.estimate)
            better = {"better": one.candidate, "worse": one.baseline}.get(one.outcome)
            assert to_hex(dot.get_color()) == (arm_colours(results.study.arms)[better] if better else INK)
            assert (dot.get_markerfacecolor() == PAPER) == (better is None)


def test_a_sweep_has_a_line_per_arm_its_best_starred_and_whole_pictures_dotted(fabricate):
    folder = fabricate([*POINTS, ("none", Arm(mask_ratio=0.0))], search=SEARCH, seed_sd=0.0)
    results = Results(read_frames(folder))
    axes = figures.sweep(results).axes[0]
    lines = {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}
    assert list(lines) == ["pgs", "random", "none"]
    assert lines["pgs"].get_xdata() == pytest.approx([0.25, 0.5, 0.75])
    expected = [results.mean(f"pgs mask_ratio={r}", results.scope).estimate for r in (0.25, 0.5, 0.75)]
    assert lines["pgs"].get_ydata() == pytest.approx(expected)
    assert lines["none"].get_linestyle() == ":"
    stars = [line for line in axes.get_lines() if line.get_marker() == "*"]
    assert [float(star.get_xdata()[0]) for star in stars] == [0.75, 0.75]
    assert {text.get_text() for text in axes.texts} == {"pgs", "random", "none"}


def test_a_search_of_two_settings_is_a_map_and_of_samples_a_panel_each(fabricate):
    space = {"strategy.tau": [0.1, 0.2], "strategy.rounds": [5, 10, 20]}
    points = [(t, r) for t in space["strategy.tau"] for r in space["strategy.rounds"]]
    arms = [("pgs", Arm(10 * t, params={"strategy.tau": t, "strategy.rounds": r})) for t, r in points]
    results = Results(read_frames(fabricate(arms, search={"space": space}, seeds=(0,))))
    (cells,) = figures.settings(results).axes[0].images
    expected = [
        [100 * results.objective_value(f"pgs tau={t} rounds={r}") for r in (5, 10, 20)] for t in (0.1, 0.2)
    ]
    assert np.asarray(cells.get_array()) == pytest.approx(np.array(expected))
    apart = [("pgs", Arm(params={"strategy.tau": t / 10, "strategy.rounds": 3 * t})) for t in range(1, 6)]
    drawn = figures.settings(
        Results(read_frames(fabricate(apart, search={"space": space}, name="apart", seeds=(0,))))
    )
    assert [axes.get_xlabel() for axes in drawn.axes] == ["tau", "rounds"]


def test_a_complete_run_keeps_the_picture_of_its_masks_in_its_arm_s_colour(fabricate, monkeypatch):
    study, drawn = read_frames(fabricate(seeds=(0,))), {}
    monkeypatch.setattr(figures, "save", lambda figure, path: drawn.update({path: figure}))
    figures.draw_masks(study)
    for run in study.runs:
        title = drawn[run.path / "figures/masks.png"].axes[1]._left_title
        assert to_hex(title.get_color()) == arm_colours(ARMS)[run.arm]


def test_the_gallery_shows_the_point_of_the_comparison(fabricate):
    results = Results(read_frames(fabricate(POINTS, seed_sd=0.0)), candidate="pgs", baselines=["random"])
    assert results.best_of == {"pgs": "pgs mask_ratio=0.75", "random": "random mask_ratio=0.75"}
    titles = [axes.get_title(loc="left") for axes in figures.masks(results).axes[1:3]]
    assert titles == ["pgs\n75 % masked", "random\n75 % masked"]
    unmasked = read_frames(fabricate({"none": Arm(mask_ratio=0.0)}, seeds=(0,), name="plain"))
    assert figures.masks(Results(unmasked)) is None


def test_text_is_legible_printed_and_on_a_phone_and_names_stand_apart(fabricate):
    arms = {f"arm-{k}": Arm(k % 3, mask_ratio=0.5 - 0.02 * k, flops=(10 + k) * 10**12) for k in range(14)}
    results = Results(read_frames(fabricate(arms, seeds=(0, 1), num_items=40)))
    for name in ("differences", "cost", "loss"):
        figure = figures.ALL[name](results)
        figure.draw_without_rendering()
        assert min(text.get_fontsize() for text in texts_of(figure)) >= 8, name  # in print
        assert (
            min(text.get_fontsize() for text in texts_of(figure)) * 420 / (72 * figure.get_figwidth()) > 8
        ), name
        named = [text.get_window_extent() for axes in figure.axes for text in axes.texts]
        for k, one in enumerate(named):
            assert not any(one.overlaps(other) for other in named[:k]), name
    assert len(figures.ALL["loss"](results).axes[0].texts) == 14


def test_a_vector_figure_follows_the_scheme_of_its_reader(fabricate):
    text = style.svg(figures.forest(Results(read_frames(fabricate(seeds=(0,))))))
    assert text.startswith("<svg")
    assert "prefers-color-scheme: dark" in text
    drawn = text.partition("</style>")[2]
    assert INK not in drawn
    assert PAPER not in drawn


def test_budgets_have_plain_numbers_on_logarithmic_axes():
    def measured(cost: float) -> Measured:
        score = 1 - 0.5 * cost**-0.3
        return Measured(cost, Interval(score, score - 0.02, score + 0.02, 0.1, 3, 1000, 4.0))

    budgets = [{"pgs": measured(cost)} for cost in (0.25, 0.5, 1.0)]
    (axes,) = Scaling(budgets, "flops", 2.0, {"pgs": measured(2.0)}).figure().axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")  # where a power law is a straight line
    assert [axes.xaxis.get_major_formatter()(x, 0) for x in (0.5, 2, 5000)] == ["0.5", "2", "5,000"]
    assert axes.yaxis.get_major_formatter()(0.4, 0) == "40"
    curve = axes.lines[0]
    slopes = np.diff(np.log(curve.get_ydata())) / np.diff(np.log(curve.get_xdata()))
    assert np.ptp(slopes) < 1e-6
    assert [text.get_text() for text in axes.texts] == ["pgs"]
