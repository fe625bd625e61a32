"""One look for all figures: sizes for a paper's page, colours that colour-blind readers can tell apart."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from pgsbench.colours import PALETTE, arm_colours
from pgsbench.disk.whole_files import atomic, unwritable
from pgsbench.errors import ConfigError

#: Width of a figure in inches: the text width of a common two-column paper.
PAGE_WIDTH = 6.75
#: Of the picture on the first screen, which has half a page.
FIRST_WIDTH = 5.4
DOTS_PER_INCH = 200
#: Sizes of text in points, as in the text around a figure; legible still where a figure is 420 px wide.
TEXT, TICKS, SMALL = 10.5, 10, 9.5
#: Formats that `save` writes: pixels, and vectors for a paper.
ENDINGS = (".png", ".pdf", ".svg")


#: Background, text and axes, and what should step back; the colours of arms are `PALETTE`.
PAPER, INK, FAINT = "#ffffff", "#1f2328", "#d0d7de"
#: Text on a coloured cell, which no scheme changes: on a dark one, and on a light one.
ON_DARK, ON_LIGHT = "#fefefe", "#1b1b1b"
#: Colour on white paper -> on dark paper, as bright there as it is dark here.
_DARK = {
    **{PAPER: "#161b22", INK: "#e6edf3", FAINT: "#3d444d"},
    **dict(
        zip(
            PALETTE,
            ("#ff8a3d", "#58a6e8", "#2cc295", "#e39bc4", "#7cc8f2", "#c9a227", "#a0a9b3", "#d96a9a"),
            strict=True,
        )
    ),
}

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


def check_figure(path: Path, where: str, *, endings: Sequence[str] = ENDINGS) -> None:
    """Raise ConfigError where no figure can be written: of the path's ending, or in its folder.

    Args:
        path: Of the figure to be written.
        where: What named it, for the message.
        endings: What it may end in.
    """
    if path.suffix.lower() not in endings:
        raise ConfigError(
            f"a figure is written as {', '.join(endings)}",
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


def svg(figure: Figure) -> str:
    """Return a figure as SVG whose paper, ink and arms follow the reader's light or dark scheme."""
    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "pgsbench", "svg.fonttype": "path"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    text, light, dark = file.getvalue(), [], []
    for number, (colour, other) in enumerate(_DARK.items()):
        text = text.replace(colour, f"var(--c{number})")
        light.append(f"--c{number}:{colour}")
        dark.append(f"--c{number}:{other}")
    rules = f"svg{{{';'.join(light)}}}@media (prefers-color-scheme: dark){{svg{{{';'.join(dark)}}}}}"
    start = text.index(">", text.index("<svg")) + 1
    return f"{text[text.index('<svg') : start]}<style>{rules}</style>{text[start:]}"


def star(axes: Any, x: float, y: float, colour: str) -> None:
    """Mark the best point of a line."""
    axes.plot(x, y, marker="*", color=colour, markersize=13, markeredgecolor=PAPER)


def label_lines(axes: Any, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write names beside the right end of an axes at the height of their lines, apart from each other.

    Args:
        axes: Its limits must be final.
        ends: Height in data, name and colour of each.
    """
    if not ends:
        return
    axes.figure.draw_without_rendering()
    height = axes.get_window_extent().height
    step = 1.25 * SMALL * axes.figure.dpi / 72 / height
    at = [
        axes.transAxes.inverted().transform(axes.transData.transform((axes.get_xlim()[1], y)))[1]
        for y, *_ in ends
    ]
    order = sorted(range(len(ends)), key=lambda k: at[k])
    places: list[float] = []
    for k in order:
        places.append(max(at[k], places[-1] + step) if places else at[k])
    # Pushed upwards only, the names would lean: move them down by half of what they were moved.
    shift = sum(place - at[k] for place, k in zip(places, order, strict=True)) / len(places)
    for k, place in zip(order, places, strict=True):
        _, name, colour = ends[k]
        look: dict[str, Any] = {
            "xytext": (6, 0),
            "textcoords": "offset points",
            "va": "center",
            "fontsize": SMALL,
        }
        axes.annotate(
            name, (1, place - shift), xycoords="axes fraction", color=colour, annotation_clip=False, **look
        )


def label_points(axes: Any, points: Sequence[tuple[float, float, str, str]]) -> None:
    """Write a name beside each point where it covers neither a point nor another name.

    Args:
        axes: Its limits must be final.
        points: x, y, name and colour of each; one without a name is only kept clear of.
    """
    axes.figure.draw_without_rendering()
    scale, frame = axes.figure.dpi / 72, axes.get_window_extent()
    centres = axes.transData.transform([(x, y) for x, y, *_ in points])
    taken = [Bbox.from_bounds(x - 4 * scale, y - 4 * scale, 8 * scale, 8 * scale) for x, y in centres]
    for (x, y, name, colour), centre in zip(points, centres, strict=True):
        if not name:
            continue
        width, height = 0.58 * SMALL * scale * len(name), 1.15 * SMALL * scale
        box, place = None, (0.0, 0.0)
        for far, (right, up) in itertools.product((7, 16, 26, 38), _SIDES):
            place = right * far * scale, up * far * scale
            left = centre[0] + place[0] - width * (1 - right) / 2
            box = Bbox.from_bounds(left, centre[1] + place[1] - height / 2, width, height)
            inside = box.x0 >= frame.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0 and box.y1 <= frame.y1
            if inside and not any(box.overlaps(other) for other in taken):
                break
        else:
            continue  # a crowd: the table names it
        taken.append(box)
        side = "left" if place[0] > 0 else "right" if place[0] < 0 else "center"
        line = (
            {"arrowstyle": "-", "color": colour, "linewidth": 0.5}
            if max(map(abs, place)) > 10 * scale
            else None
        )
        axes.annotate(
            name,
            (x, y),
            xytext=(place[0] / scale, place[1] / scale),
            textcoords="offset points",
            color=colour,
            ha=side,
            va="center",
            fontsize=SMALL,
            arrowprops=line,
            bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.7, "pad": 0.5},  # over bars
        )


#: Directions in which a name may stand off its point: aslant first, as lines run level and upright.
_SIDES = ((1, 0.8), (1, -0.8), (-1, 0.8), (-1, -0.8), (1, 0), (-1, 0), (0, 1), (0, -1))


def percent_tick(value: float, _: int) -> str:
    """Return a share as the text of a tick."""
    return f"{round(100 * value, 1):g}"


def thousands(value: float, _: int) -> str:
    """Return a number of pairs as the text of a tick."""
    return f"{value / 1e6:g} M" if value >= 1e6 else f"{value / 1e3:g} k" if value else "0"


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
