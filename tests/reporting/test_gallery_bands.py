"""A gallery of many arms stays legible: its columns stand in bands below each other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pgsbench.reporting.gallery import ShownSelection, mask_gallery

#: A page shows a figure this wide at a window of 1,300 px.
PAGE_PIXELS = 768
NAMES = ("pgs", "none", "pgs-released", "cluster-half", "pgs-no-edges", "a-long-name-of-an-arm")


@pytest.mark.parametrize("num_arms", [2, 5, 8, 14])
def test_pictures_and_titles_are_large_enough_for_any_number_of_arms(num_arms):
    arms = [f"{name}{number or ''}" for number in range(3) for name in NAMES][:num_arms]
    half = ShownSelection(np.tile([True, False], (2, 2)))
    drawn = mask_gallery(np.zeros((2, 8, 8, 3)), dict.fromkeys(arms, half), grid=(2, 2))
    drawn.draw_without_rendering()
    scale = PAGE_PIXELS / (drawn.get_figwidth() * drawn.dpi)
    shown = [axes for axes in drawn.axes if axes.get_images()]
    titles = [axes.title if axes.get_title() else axes._left_title for axes in shown]
    assert min(axes.get_window_extent().width for axes in shown) * scale >= 90
    assert min(title.get_fontsize() * drawn.dpi / 72 for title in titles) * scale >= 9.9
    boxes = [title.get_window_extent() for title in titles if title.get_text()]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_each_arm_is_drawn_once_and_each_band_begins_with_the_images():
    shown = np.eye(14, 16, dtype=bool)
    drawn = mask_gallery(
        np.zeros((1, 8, 8, 3)),
        {f"arm{k}": ShownSelection(shown[[k]]) for k in range(14)},
        grid=(4, 4),
        captions=["one tone"],
    )
    names = [axes.get_title(loc="left").split("\n")[0] for axes in drawn.axes]
    arms = [f"arm{k}" for k in range(14)]
    assert names == ["image", *arms[:5], "image", *arms[5:10], "image", *arms[10:], ""]
    for panel, name in zip(drawn.axes, names, strict=True):
        if name.startswith("arm"):
            tones = np.asarray(panel.get_images()[0].get_array())[::2, ::2].sum(axis=2)
            assert np.flatnonzero(tones == 0).tolist() == [int(name.removeprefix("arm"))]
