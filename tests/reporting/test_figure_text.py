"""The text of figures: large enough on a narrow page, and numbers as people write them."""

from __future__ import annotations

import numpy as np
from fabricated import Arm
from matplotlib.text import Text

from pgsbench.reporting import figures
from pgsbench.reporting.results import Results
from pgsbench.reporting.scale import Measured, fits, scale_figure
from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.reporting.study_frames import read_frames


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
