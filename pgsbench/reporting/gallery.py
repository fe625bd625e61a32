"""Pictures with their masks: what each strategy keeps, drops and looks at. Takes numpy arrays only."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from pgsbench.colours import PALETTE
from pgsbench.reporting.style import FAINT, INK, PAGE_WIDTH, PAPER, SMALL, TEXT, new_figure, themed

#: Share of the theme's colour in a hidden patch; the rest is the picture, without its own colours.
_TINT = 0.55

#: With more columns than this beside the image they stand in bands below each other: in a page 768 px wide a
#: picture has some 100 px.
MAX_BESIDE = 6

#: Lines within a patch of side 1, as (lines, points, 2): its border, and diagonals at equal distances.
_SQUARE = np.array([[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]], dtype=float)
_HATCHES = np.array([[[0, 0.5], [0.5, 0]], [[0, 1], [1, 0]], [[0.5, 1], [1, 0.5]]])


def _mixed(colour: str, other: Any, share: float) -> NDArray[np.float64]:
    other = np.array(to_rgb(other)) if isinstance(other, str) else other
    mixed: NDArray[np.float64] = share * np.array(to_rgb(colour)) + (1 - share) * other
    return mixed


_BLANK = _mixed(FAINT, PAPER, 0.4)
#: Where a kept patch has the tone of a blank, its border alone tells them apart.
_BORDER = _mixed(INK, FAINT, 0.2)


@dataclass(frozen=True)
class ShownSelection:
    """What one strategy chose for a batch of b pictures of n patches.

    Attributes:
        shown: (b, n) bool: which patches had an influence.
        hidden: (b, n) bool: which were carried along without influence; None: none were.
        candidates: (b, c) indices of the patches that the selection started from, or None; outlined.
        seen: (b, h, w, 3) uint8 what the tower saw, where that is not the picture without some patches: at a
            smaller size, or with merged patches replaced by their mean. None: it is.
        tokens: Patch tokens of a picture, where `seen` is given.
    """

    shown: NDArray[np.bool_]
    hidden: NDArray[np.bool_] | None = None
    candidates: NDArray[np.integer[Any]] | None = None
    seen: NDArray[np.uint8] | None = None
    tokens: float = 0.0


def mask_gallery(
    images: NDArray[Any],
    selections: Mapping[str, ShownSelection],
    *,
    grid: tuple[int, int],
    captions: Sequence[str] = (),
    maps: Mapping[str, NDArray[np.floating[Any]]] | None = None,
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """Draw one row per image: the image, its maps, and what every strategy keeps of it.

    Of more than `MAX_BESIDE` maps and strategies the columns go on in a band below, beside the same images.

    Args:
        images: (b, h, w, 3) uint8, or float in [0, 1].
        selections: Strategy -> selection. Dropped patches are blank, hidden ones tinted and hatched, kept
            ones as they are; above each picture stands its effective mask ratio, the share of patches without
            influence, or the number of its tokens where the tower saw another picture.
        grid: (rows, cols) of the patch grid.
        captions: One text of one or more lines per image, shown under its row.
        maps: Name -> (b, n) or (b, rows, cols) values per patch, for example the edge map.
        colours: Strategy -> colour of its title; default: that of all text.

    Raises:
        ValueError: Arrays that do not fit together.
    """
    pictures, maps, num_patches = _as_float(images), maps or {}, grid[0] * grid[1]
    for name, chosen in selections.items():
        if chosen.shown.shape != (len(pictures), num_patches):
            raise ValueError(f"{name}: must be ({len(pictures)}, {num_patches}), not {chosen.shown.shape}")
    bands = _bands([*maps, *selections])
    num_columns = 1 + len(bands[0])
    side = min(1.6, PAGE_WIDTH / num_columns)
    scale = min(1.0, side / 1.35)  # narrow columns get smaller titles, so that neighbours do not meet
    letters = int(side * num_columns * 12.5)
    texts = ["\n".join(textwrap.fill(line, letters) for line in text.split("\n")) for text in captions]

    def draw(axes: Any, name: str, row: int) -> None:
        if name in maps:
            height, width = pictures.shape[1:3]
            values = np.asarray(maps[name][row], dtype=float).reshape(grid)
            edges = (-0.5, width - 0.5, height - 0.5, -0.5)
            axes.imshow(values, cmap="magma", interpolation="nearest", extent=edges)
            return
        chosen = selections[name]
        view = pictures if chosen.seen is None else _as_float(chosen.seen)
        share = _draw_selection(axes, view[row], chosen, row, grid)
        said = f"{share:.0f} % masked"
        if chosen.seen is not None:
            said = f"{chosen.tokens:.0f} of {num_patches} tokens"
        axes.set_title(said, fontsize=SMALL * scale)

    with themed():
        legend = _legend(selections.values())
        lines = max((text.count("\n") + 2 for text in texts), default=0)  # below a picture
        height = side * pictures.shape[1] / pictures.shape[2] + 0.23 + 0.16 * lines
        height *= len(pictures) * len(bands)
        figure = new_figure(height + (0.55 if legend else 0.2), width=side * num_columns)
        panels = figure.subplots(len(pictures) * len(bands), num_columns, squeeze=False)
        for axes in panels.flat:
            axes.set(xticks=[], yticks=[])
            axes.grid(visible=False)
            axes.spines[:].set_visible(False)
        for number, band in enumerate(bands):
            rows = panels[number * len(pictures) : (number + 1) * len(pictures)]
            for row, (first, *others) in enumerate(rows):
                first.imshow(pictures[row], interpolation="nearest")
                if texts:
                    _add_caption(first, texts[row])
                for axes, name in zip(others, band, strict=False):  # the last band may be shorter
                    draw(axes, name, row)
            _add_titles(rows[0], ["image", *band], side, scale, colours or {})
        if legend:
            look = {"fontsize": SMALL, "handlelength": 1.4, "handleheight": 1.4}
            figure.legend(handles=legend, loc="outside lower center", ncols=3, **look)
    return figure


def _bands(names: Sequence[str]) -> list[list[str]]:
    """Return the columns beside the image in bands of about equal length that stand below each other."""
    num_bands = max(1, -(-len(names) // MAX_BESIDE))
    length = -(-len(names) // num_bands)
    return [list(names[start : start + length]) for start in range(0, max(1, len(names)), max(1, length))]


def _add_titles(
    panels: Sequence[Any],
    names: Sequence[str],
    side: float,
    scale: float,
    colours: Mapping[str, str],
) -> None:
    letters = int(side * 72 / (TEXT * scale * 0.65))  # a letter is 0.65 high at the widest
    for axes, name in zip(panels, names, strict=False):
        lines = [textwrap.fill(line, letters) for line in name.split("\n")]
        if share := axes.get_title(loc="left"):
            lines.append(share)
        axes.set_title("\n".join(lines), fontsize=TEXT * scale, color=colours.get(name, INK))


def _add_caption(axes: Any, text: str) -> None:
    # An empty label makes room, one line more than the text has; the text may reach over the whole row.
    axes.set_xlabel("\n" * (text.count("\n") + 1) + " ", fontsize=SMALL)
    place = {"xytext": (0, -4), "xycoords": "axes fraction", "textcoords": "offset points"}
    note = axes.annotate(text, (0, 0), fontsize=SMALL, va="top", **place)
    note.set_in_layout(False)


def _legend(selections: Iterable[ShownSelection]) -> list[Rectangle]:
    # Blanks alone need no words; hidden patches and candidates are explained where they occur.
    shown, handles = list(selections), []
    if any(chosen.hidden is not None and chosen.hidden.any() for chosen in shown):
        look: dict[str, Any] = {
            "facecolor": _mixed(PALETTE[1], "#808080", _TINT),
            "edgecolor": PAPER,
            "hatch": "////",
        }
        said = "hidden: carried along without influence"
        handles.append(Rectangle((0, 0), 1, 1, linewidth=0, label=said, **look))
    if any(chosen.candidates is not None for chosen in shown):
        handles.append(_outline(0, 0, 1, 1, label="candidates of pgs"))
    blank = Rectangle((0, 0), 1, 1, facecolor=_BLANK, edgecolor=_BORDER, linewidth=0.5, label="dropped")
    return [blank, *handles] if handles else []


def _draw_selection(
    axes: Any, picture: NDArray[np.float64], chosen: ShownSelection, row: int, grid: tuple[int, int]
) -> float:
    """Draw what is left of a picture; returns the percentage of its patches without influence."""
    height, width = picture.shape[:2]
    hidden = np.zeros_like(chosen.shown[row]) if chosen.hidden is None else chosen.hidden[row]
    dropped = ~chosen.shown[row] & ~hidden
    patch_of_y = np.minimum(np.arange(height) * grid[0] // height, grid[0] - 1)
    patch_of_x = np.minimum(np.arange(width) * grid[1] // width, grid[1] - 1)
    patch_of = patch_of_y[:, None] * grid[1] + patch_of_x
    grey = picture.mean(axis=2, keepdims=True)
    shown = np.where(hidden[patch_of][:, :, None], _mixed(PALETTE[1], grey, _TINT), picture)
    axes.imshow(np.where(dropped[patch_of][:, :, None], _BLANK, shown), interpolation="nearest")
    step = np.array([width / grid[1], height / grid[0]])
    corners = np.stack(np.divmod(np.arange(len(hidden)), grid[1])[::-1], axis=1)  # (n, 2): column, row
    for shape, where, colour, thick in ((_SQUARE, dropped, _BORDER, 0.5), (_HATCHES, hidden, PAPER, 0.6)):
        lines = [line * step - 0.5 for corner in corners[where] for line in shape + corner]
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=thick))
    for patch in () if chosen.candidates is None else chosen.candidates[row]:
        x, y = corners[int(patch)] * step
        axes.add_patch(_outline(x, y, step[0], step[1]))
    return 100 * float(np.mean(dropped | hidden))


def _outline(x: float, y: float, width: float, height: float, label: str = "") -> Rectangle:
    place = (x - 0.5, y - 0.5)
    colour = PALETTE[0]
    return Rectangle(place, width, height, fill=False, edgecolor=colour, linewidth=1.0, label=label, zorder=3)


def _as_float(images: NDArray[Any]) -> NDArray[np.float64]:
    if images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"images must be (b, h, w, 3), not {images.shape}")
    if images.dtype == np.uint8:
        return images.astype(np.float64) / 255
    return np.clip(images.astype(np.float64), 0.0, 1.0)
