"""One colour an arm: in every figure of a report, and in the figures of its runs."""

from __future__ import annotations

from fabricated import ARMS, Arm
from matplotlib.colors import to_hex

from pgsbench.colours import PALETTE, arm_colours, label_colours
from pgsbench.reporting import figures
from pgsbench.reporting.results import Results
from pgsbench.reporting.runs import kept_figures
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
        curves = drawn[run.path / "figures" / "curves.png"]
        assert {to_hex(line.get_color()) for axes in curves.axes for line in axes.get_lines()} == {
            expected[run.arm]
        }
        assert titles_of(drawn[run.path / "figures" / "masks.png"]) == {run.arm: expected[run.arm]}


def test_points_of_an_arm_are_shades_of_its_colour(fabricate):
    study = read_frames(fabricate([*POINTS, ("none", Arm(mask_ratio=0.0))], seeds=(0,)))
    found = label_colours(study.arm_of)
    assert len(set(found.values())) == 5
    assert [found["pgs mask_ratio=0.25"], found["random mask_ratio=0.25"], found["none"]] == list(PALETTE[:3])
    assert lines_of(figures.loss_curves(study), found) == found


def test_the_gallery_shows_the_point_of_the_comparison(fabricate):
    results = Results(read_frames(fabricate(POINTS, seed_sd=0.0)), candidate="pgs", baselines=["random"])
    assert results.headline == {"pgs": "pgs mask_ratio=0.75", "random": "random mask_ratio=0.75"}
    titles = [axes.get_title(loc="left") for axes in figures.masks(results).axes[1:3]]
    assert titles == ["pgs\n75 % masked", "random\n75 % masked"]
