"""One look for all figures: sizes for a paper's page, colours that colour-blind readers can tell apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pgsbench.colours import PALETTE, arm_colours, label_colours
from pgsbench.disk.whole_files import atomic, unwritable
from pgsbench.errors import ConfigError

#: Width of a figure in inches: the text width of a common two-column paper.
PAGE_WIDTH = 6.75
DOTS_PER_INCH = 200
#: Sizes of text in points, as in the text around a figure; legible still where a figure is 420 px wide.
TEXT, TICKS, SMALL = 10.5, 10, 9.5
#: Formats that `save` writes: pixels, and vectors for a paper.
ENDINGS = (".png", ".pdf", ".svg")


#: Background, text and axes, and what should step back; the colours of arms are `PALETTE`.
PAPER, INK, FAINT = "#ffffff", "#1f2328", "#d0d7de"

#: Line styles and markers, so that arms differ without colour, too: seven, beside eight colours, so that the
#: ninth arm does not look like the first.
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@contextmanager
def themed() -> Iterator[None]:
    """Apply the look of all figures within the block."""
    settings = {
        "font.family": "sans-serif",
        "font.size": TEXT,
        "axes.titlesize": TEXT,
        "axes.labelsize": TEXT,
        "figure.labelsize": TEXT,
        "xtick.labelsize": TICKS,
        "ytick.labelsize": TICKS,
        "legend.fontsize": TICKS,
        "legend.frameon": False,
        "figure.facecolor": PAPER,
        "axes.facecolor": PAPER,
        "savefig.facecolor": PAPER,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "axes.titlecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.7,
        "axes.grid": True,
        "grid.color": FAINT,
        "grid.linewidth": 0.5,
        "axes.axisbelow": True,
        "axes.titlelocation": "left",
        "lines.linewidth": 1.5,
        "lines.markersize": 4.5,
        "figure.dpi": DOTS_PER_INCH,
        "savefig.dpi": DOTS_PER_INCH,
    }
    with matplotlib.rc_context(settings):
        yield


def new_figure(height: float, *, width: float = PAGE_WIDTH) -> Figure:
    """Return an empty figure (inches) that no global state knows of, so that nothing has to be closed."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def check_figure(path: Path, where: str) -> None:
    """Raise ConfigError where no figure can be written: of the path's ending, or in its folder.

    Args:
        path: Of the figure to be written.
        where: What named it, for the message.
    """
    if path.suffix.lower() not in ENDINGS:
        raise ConfigError(
            f"a figure is written as {', '.join(ENDINGS)}",
            where=where,
            value=str(path),
            way_out="let its name end in one of these",
        )
    if reason := unwritable(path.parent):
        raise ConfigError(f"no figure can be written here: {reason}", where=where, value=str(path))


def save(figure: Figure, path: Path) -> Path:
    """Write a figure in the format of the path's ending (PNG, PDF, SVG); returns the path."""
    ending = path.suffix.lower().removeprefix(".")
    unsaid = {"png": {"Software": None}, "svg": {"Date": None}}  # so that equal figures are equal files
    with atomic(path) as scratch, matplotlib.rc_context({"svg.hashsalt": "pgsbench"}):
        figure.savefig(scratch, format=ending, metadata=unsaid.get(ending))
    return path


def percent_tick(value: float, _: int) -> str:
    """Return a share as the text of a tick."""
    return f"{round(100 * value, 1):g}"


@dataclass(frozen=True)
class Pen:
    """How one arm is drawn."""

    colour: str
    dashes: object
    marker: str


def pens(arms: Iterable[str]) -> dict[str, Pen]:
    """Return a pen for each arm.

    Args:
        arms: *All* arms of the study, in the order of the plan, so that pens are the same in every figure.
    """
    return {
        arm: Pen(colour, DASHES[number % len(DASHES)], MARKERS[number % len(MARKERS)])
        for number, (arm, colour) in enumerate(arm_colours(arms, PALETTE).items())
    }


def label_pens(arm_of: Mapping[str, str]) -> dict[str, Pen]:
    """Return a pen for each label: the colour and marker of its arm, paler and dashed otherwise by point.

    Args:
        arm_of: Label -> arm, all labels of the study, in the order of the plan.
    """
    of_arm, points = pens(arm_of.values()), Counter[str]()
    found = {}
    for label, colour in label_colours(arm_of, PALETTE, paper=PAPER).items():
        arm = arm_of[label]
        start = DASHES.index(of_arm[arm].dashes)
        found[label] = Pen(colour, DASHES[(start + points[arm]) % len(DASHES)], of_arm[arm].marker)
        points[arm] += 1
    return found
