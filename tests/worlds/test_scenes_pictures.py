"""Scenes as they are drawn and painted: what pictures show agrees, and each knob changes what it says."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from pgsbench.worlds import scenes as world
from pgsbench.worlds.pictures import to_bytes
from pgsbench.worlds.scenes import LIMITS, Knobs, recipe_with, scene
from pgsbench.worlds.scenes.build import SHIFTS
from pgsbench.worlds.scenes.paint import paint
from pgsbench.worlds.scenes.words import BACKGROUNDS, COLOURS, SHAPES

SIDE, N, KNOBS = 64, 192, Knobs()
#: One pure colour per word, to judge painted colours by.
PURE = {"red": (0.8, 0.1, 0.1), "green": (0.2, 0.6, 0.2), "blue": (0.1, 0.3, 0.8), "yellow": (0.9, 0.8, 0.1)}

Painted = tuple[scene.Scenes, np.ndarray, np.ndarray]


def painted(n: int = N, **knobs: float) -> Painted:
    chosen = Knobs(**knobs)
    drawn = scene.draw_mixed(np.random.default_rng(3), n, chosen)
    return drawn, *paint(np.random.SeedSequence(4), drawn, SIDE, chosen)


@pytest.fixture(scope="module")
def usual() -> Painted:
    return painted()


# ------------------------------------------------------------------------------------------- drawn


@pytest.mark.parametrize("occlusion", [0.0, 1.0])
def test_objects_keep_their_distance_and_lie_in_the_frame(occlusion: float) -> None:
    drawn = scene.draw_mixed(np.random.default_rng(0), 500, replace(KNOBS, occlusion=occlusion))
    used = drawn.used
    for a, b in combinations(range(3), 2):
        apart = np.hypot(drawn.x[:, a] - drawn.x[:, b], drawn.y[:, a] - drawn.y[:, b])
        allowed = (1 - scene.OVERLAP * occlusion) * (drawn.radius[:, a] + drawn.radius[:, b])
        assert (apart - allowed)[used[:, a] & used[:, b]].min() > 0
        alike = (drawn.shape[:, a] == drawn.shape[:, b]) & (drawn.colour[:, a] == drawn.colour[:, b])
        assert not (alike & used[:, b]).any()
    for centre in (drawn.x[used], drawn.y[used]):
        assert 0 < centre.min() < centre.max() < 1


def test_sizes_mean_what_they_say() -> None:
    """In a picture, and among pictures of equally many objects, small ones cover less than large ones."""
    drawn = scene.draw_mixed(np.random.default_rng(12), 4000, replace(KNOBS, object_size=0.2))
    area = drawn.radius**2 * np.asarray([scene.AREAS[name] for name in SHAPES])[drawn.shape]
    for count in (1, 2, 3):
        mine = drawn.used & (drawn.count == count)[:, None]
        small, large = (area[mine & (drawn.size == size)] for size in (0, 1))
        assert np.quantile(small, 0.99) < np.quantile(large, 0.05)
    both = (drawn.count == 2) & (drawn.size[:, 0] == 0) & (drawn.size[:, 1] == 1)
    assert (area[both, 0] < area[both, 1]).all()


def test_training_scenes_are_balanced_and_single_ones_exactly() -> None:
    drawn = scene.draw_mixed(np.random.default_rng(2), 6000, KNOBS)
    for values in (drawn.shape[drawn.used], drawn.colour[drawn.used]):
        counts = np.bincount(values)
        assert 0.9 * counts.mean() < counts.min() < counts.max() < 1.1 * counts.mean()
    single = scene.draw_single(np.random.default_rng(3), 288, replace(KNOBS, context=0.0))
    joint = np.stack([single.shape[:, 0], single.colour[:, 0], single.background])
    kinds, counts = np.unique(joint, axis=1, return_counts=True)
    assert kinds.shape[1] == len(SHAPES) * len(COLOURS) * len(BACKGROUNDS)
    assert set(counts) == {2}


@pytest.mark.parametrize("context", [0.0, 0.6, 1.0])
def test_context_is_how_often_a_shape_is_where_it_belongs(context: float) -> None:
    mixed = scene.draw_mixed(np.random.default_rng(5), 6000, Knobs(context=context))
    single = scene.draw_single(np.random.default_rng(5), 1008, Knobs(context=context))
    homes = np.asarray([BACKGROUNDS.index(name) for name in scene.HOMES])
    for drawn in (mixed, single):
        at_home = (drawn.background == homes[drawn.shape[:, 0]]).mean()
        assert at_home == pytest.approx(context + (1 - context) / len(BACKGROUNDS), abs=0.02)
    for values in (single.shape[:, 0], single.background):
        assert len(set(np.bincount(values, minlength=len(SHAPES)))) == 1


# ------------------------------------------------------------------------------------------- painted


def test_the_map_shows_every_object_at_its_place(usual: Painted) -> None:
    drawn, _, objects = usual
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
    for row in range(len(drawn)):
        assert set(np.unique(objects[row])) - {0} == set(range(1, drawn.count[row] + 1))
        for slot in range(drawn.count[row]):
            distance = np.hypot(x - drawn.x[row, slot], y - drawn.y[row, slot])
            assert distance[objects[row] == slot + 1].max() < drawn.radius[row, slot] + 2 / SIDE


def _nearest(colour: np.ndarray) -> str:
    """Return the colour word whose hue is nearest, however pale or dark the colour is."""
    return max(PURE, key=lambda name: np.corrcoef(colour, np.asarray(PURE[name]))[0, 1])


def test_objects_and_tinted_backgrounds_have_the_colour_that_captions_name(usual: Painted) -> None:
    drawn, pictures, objects = usual
    things, grounds = [], []
    for row in range(len(drawn)):
        shown = scene.content(drawn, row)
        for slot, thing in enumerate(shown.objects, 1):
            if thing.pattern == "plain":
                mean = pictures[row][:, objects[row] == slot].mean(1)
                things.append(_nearest(mean) == thing.colour)
        if shown.ground.colour:
            tone = pictures[row][:, objects[row] == 0].mean(1)
            grounds.append(_nearest(tone) == shown.ground.colour)
    assert len(things) > 100
    assert np.mean(things) > 0.93
    assert len(grounds) > 30
    assert np.mean(grounds) > 0.8


@pytest.mark.parametrize("wanted", [0.1, 0.35, 0.5])
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
        strength = np.hypot(*np.gradient(pictures.mean(1), axis=(1, 2)))
        ratios.append(strength[objects == 0].mean() / strength[objects > 0].mean())
    assert ratios[0] < 0.4
    assert ratios[0] < ratios[1] < ratios[2]
    assert ratios[2] > 0.65


def test_occlusion_hides_more_of_the_objects_and_leaves_some_of_each() -> None:
    alone = scene.draw_mixed(np.random.default_rng(3), N, KNOBS).count == 1  # others are placed anew
    covered = []
    for occlusion in (0.0, 0.5, 1.0):
        drawn, _, objects = painted(occlusion=occlusion)
        covered.append((objects[alone] > 0).mean())
        for row in range(N):
            assert set(np.unique(objects[row])) - {0} == set(range(1, drawn.count[row] + 1))
    assert covered[1] < 0.99 * covered[0]
    assert covered[2] < covered[1] - 0.01 * covered[0]


def test_colour_sets_objects_apart_from_what_is_around_them() -> None:
    apart = []
    for colour in (0.0, 1.0):
        _, pictures, objects = painted(colour=colour)
        chroma = pictures.max(1) - pictures.min(1)
        apart.append(chroma[objects > 0].mean() - chroma[objects == 0].mean())
    assert apart[1] > apart[0] + 0.1


@pytest.mark.parametrize("name", sorted(SHIFTS))
def test_shifts_change_the_pictures_and_stay_pictures(name: str) -> None:
    drawn, shift = scene.draw_single(np.random.default_rng(11), 24, KNOBS), SHIFTS[name]
    clean, _ = paint(np.random.SeedSequence(1), drawn, SIDE, KNOBS)
    changed, objects = paint(np.random.SeedSequence(1), shift.change(drawn), SIDE, KNOBS, shift.look)
    changed = shift.damage(np.random.default_rng(0), changed)
    assert (changed.shape, changed.dtype) == (clean.shape, np.float32)
    assert set(np.unique(objects)) == {0, 1}
    assert to_bytes(changed).std() > 5
    assert np.array_equal(to_bytes(changed), to_bytes(clean)) == shift.fresh


# ------------------------------------------------------------------------------------------- recipes


def test_a_recipe_with_other_knobs_is_another_data_set() -> None:
    identities = {world.identity(recipe_with({name: high})) for name, (_, high) in LIMITS.items()}
    assert len(identities | {world.identity(world.Recipe())}) == len(LIMITS) + 1
    assert world.identity(recipe_with({"clutter": KNOBS.clutter})) == world.identity(world.Recipe())
