"""Pictures with their masks: what each strategy keeps, drops and looks at. Takes numpy arrays only."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from pgsbench.reporting.style import LIGHT, PAGE_WIDTH, Theme, new_figure, themed

#: How much of a patch is covered where it is dropped, and where it is carried along but hidden.
_DROPPED, _HIDDEN = 0.88, 0.6
_GREY = "#9aa0a6"


@dataclass(frozen=True)
class ShownSelection:
    """What one strategy chose for a batch.

    Attributes:
        keep: (b, k) indices of kept patches, row by row over the grid.
        visible: (b, k) bool, or None where all are visible; False marks a patch that has no influence.
        candidates: (b, c) indices of the patches that the selection started from, or None; outlined.
    """

    keep: NDArray[np.integer[Any]]
    visible: NDArray[np.bool_] | None = None
    candidates: NDArray[np.integer[Any]] | None = None

    def cover(self, row: int, num_patches: int) -> NDArray[np.float64]:
        """Return (n,) how much each patch of image `row` is covered, 0 for a visible one."""
        cover = np.full(num_patches, _DROPPED)
        cover[self.keep[row]] = 0.0
        if self.visible is not None:
            cover[self.keep[row][~self.visible[row]]] = _HIDDEN
        return cover


def mask_gallery(
    images: NDArray[Any],
    selections: Mapping[str, ShownSelection | NDArray[np.bool_]],
    *,
    grid: tuple[int, int],
    captions: Sequence[str] = (),
    maps: Mapping[str, NDArray[np.floating[Any]]] | None = None,
    theme: Theme = LIGHT,
) -> Figure:
    """Draw one row per image: the image, its maps, and what every strategy keeps of it.

    Args:
        images: (b, h, w, 3) uint8, or float in [0, 1].
        selections: Strategy -> selection, or (b, n) bool: which patches had an influence. Dropped patches
            are greyed, hidden ones half; above each picture stands its effective mask ratio: the share of
            patches without influence.
        grid: (rows, cols) of the patch grid.
        captions: One text per image, shown under its row.
        maps: Name -> (b, n) or (b, rows, cols) values per patch, for example the edge map.
        theme: Colours.

    Raises:
        ValueError: Arrays that do not fit together.
    """
    pictures = _as_float(images)
    num_patches = grid[0] * grid[1]
    for name, chosen in selections.items():
        _check(name, chosen, len(pictures), num_patches)
    maps = maps or {}
    columns = ["image", *maps, *selections]
    side = min(1.6, PAGE_WIDTH / len(columns))
    scale = min(1.0, side / 0.95)  # narrow columns get smaller titles, so that neighbours do not meet
    height, width = pictures.shape[1:3]
    texts = [textwrap.fill(caption, int(side * len(columns) * 17)) for caption in captions]
    caption_height = 0.12 * max((text.count("\n") + 2 for text in texts), default=0)
    row_height = side * height / width + 0.18 + caption_height
    with themed(theme):
        legend = _legend(selections, theme)
        extra = 0.15 + (0.3 if legend else 0.0)
        figure = new_figure(row_height * len(pictures) + extra, width=side * len(columns))
        panels = figure.subplots(len(pictures), len(columns), squeeze=False)
        for row, picture in enumerate(pictures):
            axes = iter(panels[row])
            first = next(axes)
            first.imshow(picture, interpolation="nearest")
            if texts:
                _add_caption(first, texts[row])
            for values in maps.values():
                next(axes).imshow(
                    np.asarray(values[row], dtype=float).reshape(grid), cmap="magma", interpolation="nearest",
                    extent=(-0.5, width - 0.5, height - 0.5, -0.5),
                )  # fmt: skip
            for chosen in selections.values():
                _draw_selection(next(axes), picture, chosen, row, grid, theme, 7 * scale)
        for axes, name in zip(panels[0], columns, strict=True):
            title = f"{name}\n{axes.get_title(loc='left')}" if name in selections else name
            axes.set_title(title, fontsize=8 * scale)
        for axes in panels.flat:
            axes.set(xticks=[], yticks=[])
            axes.grid(visible=False)
            axes.spines[:].set_visible(False)
        if legend:
            figure.legend(
                handles=legend, loc="outside lower center", ncols=3, fontsize=6.5, handlelength=1.0,
                handleheight=1.0,
            )  # fmt: skip
    return figure


def _add_caption(axes: Any, text: str) -> None:
    # An empty label makes room, one line more than the text has; the text may reach over the whole row.
    axes.set_xlabel("\n" * (text.count("\n") + 1) + " ", fontsize=7)
    note = axes.annotate(
        text, (0, 0), xytext=(0, -4), xycoords="axes fraction", textcoords="offset points", fontsize=7,
        va="top",
    )  # fmt: skip
    note.set_in_layout(False)


def _legend(selections: Mapping[str, ShownSelection | NDArray[np.bool_]], theme: Theme) -> list[Rectangle]:
    # Grey alone needs no words; hidden patches and candidates are explained where they occur.
    shown = [chosen for chosen in selections.values() if isinstance(chosen, ShownSelection)]
    handles = []
    if any(chosen.visible is not None for chosen in shown):
        faint = [1 - _HIDDEN * (1 - part) for part in to_rgb(_GREY)]
        handles.append(Rectangle((0, 0), 1, 1, color=faint, label="hidden: carried along without influence"))
    if any(chosen.candidates is not None for chosen in shown):
        handles.append(_outline(0, 0, 1, 1, theme, label="candidates of pgs"))
    return [Rectangle((0, 0), 1, 1, color=_GREY, label="dropped"), *handles] if handles else []


def _draw_selection(
    axes: Any,
    picture: NDArray[np.float64],
    chosen: ShownSelection | NDArray[np.bool_],
    row: int,
    grid: tuple[int, int],
    theme: Theme,
    font_size: float,
) -> None:
    height, width = picture.shape[:2]
    if isinstance(chosen, ShownSelection):
        cover, candidates = chosen.cover(row, grid[0] * grid[1]), chosen.candidates
    else:
        cover, candidates = np.where(chosen[row], 0.0, _DROPPED), None
    patch_of_y = np.minimum(np.arange(height) * grid[0] // height, grid[0] - 1)
    patch_of_x = np.minimum(np.arange(width) * grid[1] // width, grid[1] - 1)
    covered = cover.reshape(grid)[patch_of_y[:, None], patch_of_x][:, :, None]
    axes.imshow(picture * (1 - covered) + np.array(to_rgb(_GREY)) * covered, interpolation="nearest")
    lines = {"color": theme.paper, "linewidth": 0.35}
    axes.hlines(np.arange(1, grid[0]) * height / grid[0] - 0.5, -0.5, width - 0.5, **lines)
    axes.vlines(np.arange(1, grid[1]) * width / grid[1] - 0.5, -0.5, height - 0.5, **lines)
    for patch in candidates[row] if candidates is not None else ():
        y, x = divmod(int(patch), grid[1])
        axes.add_patch(
            _outline(x * width / grid[1], y * height / grid[0], width / grid[1], height / grid[0], theme)
        )
    axes.set_title(f"{100 * np.mean(cover > 0):.0f} % masked", fontsize=font_size)


def _check(name: str, chosen: ShownSelection | NDArray[np.bool_], num_images: int, num_patches: int) -> None:
    if not isinstance(chosen, ShownSelection):
        if chosen.shape != (num_images, num_patches):
            raise ValueError(f"{name}: must be ({num_images}, {num_patches}) bool, not {chosen.shape}")
    elif len(chosen.keep) != num_images or (chosen.keep.size and np.max(chosen.keep) >= num_patches):
        raise ValueError(f"{name}: keep must be ({num_images}, k) indices below {num_patches}")


def _outline(x: float, y: float, width: float, height: float, theme: Theme, label: str = "") -> Rectangle:
    place = (x - 0.5, y - 0.5)
    colour = theme.palette[0]
    return Rectangle(place, width, height, fill=False, edgecolor=colour, linewidth=1.0, label=label)


def _as_float(images: NDArray[Any]) -> NDArray[np.float64]:
    if images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"images must be (b, h, w, 3), not {images.shape}")
    if images.dtype == np.uint8:
        return images.astype(np.float64) / 255
    return np.clip(images.astype(np.float64), 0.0, 1.0)
