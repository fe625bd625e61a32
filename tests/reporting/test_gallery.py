"""A gallery of pictures with masks: kept, dropped and hidden patches, and many arms in bands."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pgsbench.reporting.gallery import ShownSelection, mask_gallery
from pgsbench.reporting.style import save

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


@pytest.mark.parametrize("tone", [0, 40, 154, 255])
def test_gallery_tells_kept_dropped_and_hidden_apart_on_any_picture(tmp_path, tone):
    image = np.full((1, 8, 8, 3), tone, np.uint8)
    shown, hidden = np.array([[[True, False, False, False]], [[False, False, False, True]]])
    drawn = mask_gallery(
        image,
        {"pgs": ShownSelection(shown, hidden)},
        grid=(2, 2),
        captions=["one tone"],
        maps={"edges": np.zeros((1, 4))},
    )
    panel = drawn.axes[2]
    shown = np.asarray(panel.get_images()[0].get_array())
    assert np.allclose(shown[:4, :4], tone / 255)  # a kept patch is the picture, untouched
    dropped, hidden = shown[0, 7], shown[7, 7]
    assert np.ptp(dropped) < 0.1 < np.ptp(hidden)  # no hue, and one that no grey has
    assert np.allclose(shown[4:, :4], dropped)
    borders, hatches = panel.collections
    corners = {tuple(path.vertices.min(axis=0)) for path in borders.get_paths()}
    assert corners == {(3.5, -0.5), (-0.5, 3.5)}  # around dropped patches
    assert [path.vertices.min() >= 3.5 for path in hatches.get_paths()] == [True] * 3  # in the hidden one
    assert not np.allclose(borders.get_colors()[0, :3], dropped, atol=0.1)
    assert panel.get_title(loc="left") == "pgs\n75 % masked"
    assert save(drawn, tmp_path / "gallery.png").stat().st_size > 1000


def test_only_hidden_patches_that_occur_are_explained():
    image = np.zeros((1, 8, 8, 3))
    for is_hidden, entries in ((False, 0), (True, 2)):
        chosen = ShownSelection(
            np.array([[True, False, False, not is_hidden]]), np.array([[False] * 3 + [is_hidden]])
        )
        drawn = mask_gallery(image, {"pgs": chosen}, grid=(2, 2))
        assert sum(len(legend.get_texts()) for legend in drawn.legends) == entries


def test_gallery_refuses_what_does_not_fit():
    image = np.zeros((1, 8, 8, 3))
    with pytest.raises(ValueError, match=r"must be \(1, 4\)"):
        mask_gallery(image, {"pgs": ShownSelection(np.zeros((1, 5), dtype=bool))}, grid=(2, 2))
    with pytest.raises(ValueError, match=r"must be \(b, h, w, 3\)"):
        mask_gallery(image[..., 0], {}, grid=(2, 2))
