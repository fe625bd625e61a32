"""Each knob of scenes changes what it says, by a number measured on pictures; mistakes in them are told."""

from __future__ import annotations

import numpy as np
import pytest

from pgsbench.errors import DataError
from pgsbench.worlds import scenes as world
from pgsbench.worlds.scenes import LIMITS, Knobs, recipe_with, scene
from pgsbench.worlds.scenes.paint import paint
from pgsbench.worlds.scenes.words import BACKGROUNDS, SHAPES

SIDE, N = 64, 192


def painted(n: int = N, **knobs: float) -> tuple[scene.Scenes, np.ndarray, np.ndarray]:
    chosen = Knobs(**knobs)
    drawn = scene.draw_mixed(np.random.default_rng(3), n, chosen)
    return drawn, *paint(np.random.SeedSequence(4), drawn, SIDE, chosen)


def edges(pictures: np.ndarray) -> np.ndarray:
    down, right = np.gradient(pictures.mean(1), axis=(1, 2))
    return np.hypot(down, right)


@pytest.mark.parametrize("wanted", [0.1, 0.2, 0.35, 0.5])
def test_object_size_is_the_median_share_of_the_frame(wanted: float) -> None:
    drawn, _, objects = painted(384, object_size=wanted, occlusion=0.2)
    shares = (objects > 0).mean((1, 2))
    assert np.median(shares[drawn.count == 1]) == pytest.approx(wanted, rel=0.2)
    crowded = min(wanted, scene.CROWDED)
    assert np.median(shares[drawn.count > 1]) == pytest.approx(crowded, rel=0.35)


def test_clutter_gives_backgrounds_edges_that_rival_the_objects() -> None:
    ratios = []
    for clutter in (0.0, 0.5, 1.0):
        _, pictures, objects = painted(clutter=clutter, object_size=0.2)
        strength = edges(pictures)
        ratios.append(strength[objects == 0].mean() / strength[objects > 0].mean())
    assert ratios[0] < 0.4
    assert ratios[0] < ratios[1] < ratios[2]
    assert ratios[2] > 0.65


@pytest.mark.parametrize("context", [0.0, 0.6, 1.0])
def test_context_is_how_often_a_shape_is_where_it_belongs(context: float) -> None:
    mixed = scene.draw_mixed(np.random.default_rng(5), 6000, Knobs(context=context))
    single = scene.draw_single(np.random.default_rng(5), 1008, Knobs(context=context))
    homes = np.asarray([BACKGROUNDS.index(name) for name in scene.HOMES])
    for drawn in (mixed, single):
        at_home = (drawn.background == homes[drawn.shape[:, 0]]).mean()
        assert at_home == pytest.approx(context + (1 - context) / len(BACKGROUNDS), abs=0.02)


def test_context_leaves_shapes_and_backgrounds_balanced() -> None:
    single = scene.draw_single(np.random.default_rng(5), 1008, Knobs(context=0.6))
    for values in (single.shape[:, 0], single.background):
        counts = np.bincount(values, minlength=len(SHAPES))
        assert counts.max() - counts.min() == 0


def test_occlusion_hides_more_of_the_objects() -> None:
    shares = []
    for occlusion in (0.0, 0.5, 1.0):
        _, _, objects = painted(occlusion=occlusion)
        _, _, free = painted(occlusion=0.0)
        alone = scene.draw_mixed(np.random.default_rng(3), N, Knobs()).count == 1  # others are placed anew
        shares.append((objects[alone] > 0).mean() / (free[alone] > 0).mean())
    assert shares[0] == 1.0
    assert shares[1] < 0.99
    assert shares[2] < shares[1] - 0.01


def test_occlusion_leaves_half_of_each_object() -> None:
    """Objects that other objects cover apart, each keeps what `LEAST_VISIBLE` says."""
    drawn, _, objects = painted(occlusion=1.0)
    for row in range(N):
        assert set(np.unique(objects[row])) - {0} == set(range(1, drawn.count[row] + 1))


def test_colour_sets_objects_apart_from_what_is_around_them() -> None:
    apart = []
    for colour in (0.0, 1.0):
        _, pictures, objects = painted(colour=colour)
        chroma = pictures.max(1) - pictures.min(1)
        apart.append(chroma[objects > 0].mean() - chroma[objects == 0].mean())
    assert apart[1] > apart[0] + 0.1


def test_light_comes_from_every_side() -> None:
    """Before, every picture was brighter in its upper left."""
    _, pictures, _ = painted(512, clutter=0.0, object_size=0.05)
    grey = pictures.mean(1)
    left, top = grey[:, :, :32].mean((1, 2)), grey[:, :32].mean((1, 2))
    right, bottom = grey[:, :, 32:].mean((1, 2)), grey[:, 32:].mean((1, 2))
    assert 0.4 < (left > right).mean() < 0.6
    assert 0.4 < (top > bottom).mean() < 0.6


def test_a_recipe_with_other_knobs_is_another_data_set() -> None:
    identities = {world.identity(recipe_with({name: high})) for name, (_, high) in LIMITS.items()}
    assert len(identities | {world.identity(world.Recipe())}) == len(LIMITS) + 1
    assert world.identity(recipe_with({"clutter": Knobs().clutter})) == world.identity(world.Recipe())


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"cluter": 0.5}, r"cluter: .*clutter, object_size, context, occlusion, colour"),
        ({"clutter": 1.5}, r"clutter: must be a number in 0..1 \(got 1.5\)"),
        ({"object_size": 0.0}, r"object_size: must be a number in 0.05..0.6"),
        ({"context": True}, r"context: must be a number"),
        ({"num_train": 0}, r"num_train: must be a whole number in 1..1,000,000 \(got 0\)"),
    ],
)
def test_mistakes_name_the_knob(knobs: dict[str, float], said: str) -> None:
    with pytest.raises(DataError, match=said):
        recipe_with(knobs)
