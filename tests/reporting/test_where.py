"""A search over knobs of the data: the gain at every point, in words, as a table and as a heat map."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from fabricated import Arm

from pgsbench.reporting.answer import headline
from pgsbench.reporting.fairness import other_differences
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames
from pgsbench.reporting.where import extremes, gain_map, gains_table

CLUTTER, SIZE = "data.recipe.clutter", "data.recipe.object_size"
VALUES = [(c, s) for c in (0.0, 0.35, 0.7) for s in (0.1, 0.2, 0.35)]
SPACE = {CLUTTER: [0.0, 0.35, 0.7], SIZE: [0.1, 0.2, 0.35]}


@pytest.fixture
def results(fabricate):
    """pgs gains 12 points where clutter and objects are small, and loses 12 where both are large."""
    arms = []
    for clutter, size in VALUES:
        params = {CLUTTER: clutter, SIZE: size}
        gain = 12 * (1 - clutter / 0.35 - (size - 0.1) / 0.25 + 0.5)
        arms += [("pgs", Arm(gain, params=params)), ("flip", Arm(0.0, params=params))]
    search = {"space": SPACE, "arms": ["pgs", "flip"]}
    return Results(read_frames(fabricate(arms, search=search, seed_sd=0.001, num_items=300)))


def test_the_verdict_says_where_it_gains_and_where_it_loses(results):
    said, table = headline(results), gains_table(results)
    assert re.fullmatch(
        r"pgs beats flip at clutter 0, object_size 0\.1 \(\+\d+\.\d\), and loses to it at clutter 0\.7, "
        r"object_size 0\.35 \(−\d+\.\d\)\.",
        said,
    )
    assert table.names == ["clutter", "object_size", "gain", "verdict", "candidate", "baseline"]
    assert len(table.cells()) == 9
    assert table.cells()[0][:2] == ["0", "0.1"]


def test_the_map_has_the_gains_at_their_places_and_the_line(results):
    axes = gain_map(results).axes[0]
    gain = np.asarray(axes.images[0].get_array())
    assert gain.shape == (3, 3)
    assert gain[0, 0] > 5 > -5 > gain[2, 2]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["0", "0.35", "0.7"]
    assert len(axes.collections) == 1  # the zero line
    assert axes.texts[0].get_text().endswith(" ▲")
    assert axes.texts[-1].get_text().endswith(" ▼")


def test_worlds_that_differ_make_no_comparison_unfair(fabricate):
    arms = []
    for number, (clutter, size) in enumerate(VALUES[:2]):
        params = {CLUTTER: clutter, SIZE: size}
        arms += [(arm, Arm(1.0, params=params, data=f"data-{number}")) for arm in ("pgs", "flip")]
    search = {"space": SPACE, "arms": ["pgs", "flip"]}
    assert other_differences(Results(read_frames(fabricate(arms, search=search)))) == {}
    arms[3] = ("flip", Arm(1.0, params=arms[3][1].params, data="another"))
    found = other_differences(Results(read_frames(fabricate(arms, search=search, name="unfair"))))
    assert list(found) == ["data"]


def test_a_search_of_settings_has_no_such_map(fabricate):
    arms = [(arm, Arm(1.0, params={"strategy.tau": tau})) for tau in (0.1, 0.2) for arm in ("pgs", "flip")]
    search = {"space": {"strategy.tau": [0.1, 0.2]}, "arms": ["pgs", "flip"]}
    settings = Results(read_frames(fabricate(arms, search=search)))
    assert extremes(settings) is None
    assert gains_table(settings) is None
    assert gain_map(settings) is None


@pytest.mark.parametrize(
    "earlier", [{}, {CLUTTER: 0.2}, {CLUTTER: 0.2, SIZE: 0.1, "data.recipe.context": 0.5}]
)
def test_a_search_that_was_edited_shows_the_points_of_its_own_space(fabricate, tmp_path, earlier):
    """Runs of the study as it was, with no search, a knob less or a knob more, are still in its record."""
    points = [earlier, *({CLUTTER: clutter, SIZE: size} for clutter, size in VALUES)]
    arms = [(arm, Arm(params=point)) for point in points for arm in ("pgs", "flip")]
    search = {"space": SPACE, "arms": ["pgs", "flip"]}
    results = Results(read_frames(fabricate(arms, search=search, seeds=(0,))))
    shown = len(points) if list(earlier) == [CLUTTER] else len(VALUES)
    assert len(results.pairs) == len(gains_table(results).cells()) == shown
    assert all(results.params_of(ours) == results.params_of(theirs) for ours, theirs in results.pairs)
    first = gains_table(results).cells()[0]
    assert list(first[:2]) == (["0.2", ""] if shown > len(VALUES) else ["0", "0.1"])
    assert np.isfinite(gain_map(results).axes[0].images[0].get_array()).sum() == len(VALUES)


def test_the_map_has_names_in_the_study_s_order_and_no_line_between_them(fabricate):
    space = {"data.train": ["scenes", "tiny-imagenet"], "data.recipe.max_objects": [4, 2, 10]}
    points = [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]
    gains = [12.0, 12.0, 0.0, -12.0, -12.0, 0.0]
    arms = [
        (arm, Arm(gain if arm == "pgs" else 0.0, params=point))
        for point, gain in zip(points, gains, strict=True)
        for arm in ("pgs", "flip")
    ]
    search = {"space": space, "arms": ["pgs", "flip"]}
    folder = fabricate(arms, search=search, seed_sd=0.001, num_items=300)
    axes = gain_map(Results(read_frames(folder))).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["scenes", "tiny-imagenet"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["2", "4", "10"]
    gain = np.asarray(axes.images[0].get_array())
    assert gain[0, :2].min() > 5 > -5 > gain[1, :2].max()
    assert not axes.collections
