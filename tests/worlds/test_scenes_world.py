"""The world itself: what is drawn, painted and said of it agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pgsbench.worlds.pictures import to_bytes
from pgsbench.worlds.scenes import Knobs, captions, pairs, scene
from pgsbench.worlds.scenes.build import SHIFTS
from pgsbench.worlds.scenes.paint import Look, paint
from pgsbench.worlds.scenes.words import (
    BACKGROUNDS,
    COLOURS,
    PATTERNS,
    RELATIONS,
    SHAPES,
    SIZES,
    Claim,
    Content,
    Ground,
    Phrase,
    Thing,
    clear_relation,
)

SIDE = 64
KNOBS = Knobs()
#: One pure colour per word, to judge painted colours by.
PURE = {"red": (0.8, 0.1, 0.1), "green": (0.2, 0.6, 0.2), "blue": (0.1, 0.3, 0.8), "yellow": (0.9, 0.8, 0.1)}


@pytest.fixture(scope="module")
def world() -> tuple[scene.Scenes, np.ndarray, np.ndarray]:
    scenes = scene.draw_mixed(np.random.default_rng(7), 192, KNOBS)
    pictures, objects = paint(np.random.SeedSequence(8), scenes, SIDE, KNOBS)
    return scenes, pictures, objects


def read_caption(text: str) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Read the mentioned objects and background back from the words alone, independently of the grammar."""
    kinds = {"size": SIZES, "pattern": PATTERNS, "colour": COLOURS, "shape": SHAPES, "kind": BACKGROUNDS}
    found: list[dict[str, str]] = []
    background: dict[str, str] = {}
    mention: dict[str, str] = {}
    for token in text.replace(",", " ").split():
        for kind, words in kinds.items():
            if token in words:
                mention[kind] = token
        if "shape" in mention:
            found.append(mention)
            mention = {}
        elif "kind" in mention:
            background, mention = mention, {}
    return found, background


def fits(mention: dict[str, str], thing: Thing | Ground) -> bool:
    return all(getattr(thing, kind) == word for kind, word in mention.items())


def test_objects_keep_their_distance_and_stay_visible_at_the_border() -> None:
    for occlusion in (0.0, 1.0):
        scenes = scene.draw_mixed(np.random.default_rng(0), 500, replace(KNOBS, occlusion=occlusion))
        used = scenes.used
        for a in range(3):
            for b in range(a + 1, 3):
                both = used[:, a] & used[:, b]
                apart = np.hypot(scenes.x[:, a] - scenes.x[:, b], scenes.y[:, a] - scenes.y[:, b])
                allowed = (1 - scene.OVERLAP * occlusion) * (scenes.radius[:, a] + scenes.radius[:, b])
                assert (apart - allowed)[both].min() > 0
        for centre in (scenes.x, scenes.y):
            assert centre[used].min() > 0
            assert centre[used].max() < 1


def test_sizes_mean_what_they_say() -> None:
    """In a picture, and among pictures of equally many objects, small ones cover less than large ones."""
    scenes = scene.draw_mixed(np.random.default_rng(12), 4000, replace(KNOBS, object_size=0.2))
    area = scenes.radius**2 * np.asarray([scene.AREAS[name] for name in SHAPES])[scenes.shape]
    for count in (1, 2, 3):
        mine = scenes.used & (scenes.count == count)[:, None]
        small, large = (area[mine & (scenes.size == size)] for size in (0, 1))
        assert np.quantile(small, 0.99) < np.quantile(large, 0.05)
    both = (scenes.count == 2) & (scenes.size[:, 0] == 0) & (scenes.size[:, 1] == 1)
    assert (area[both, 0] < area[both, 1]).all()


def test_no_two_objects_share_shape_and_colour() -> None:
    scenes = scene.draw_mixed(np.random.default_rng(1), 500, KNOBS)
    for row in range(len(scenes)):
        kinds = [(thing.shape, thing.colour) for thing in scene.content(scenes, row).objects]
        assert len(set(kinds)) == len(kinds)


@pytest.mark.parametrize(("attribute", "values"), [("shape", SHAPES), ("colour", COLOURS)])
def test_training_scenes_are_balanced(attribute: str, values: tuple[str, ...]) -> None:
    scenes = scene.draw_mixed(np.random.default_rng(2), 6000, KNOBS)
    counts = np.bincount(getattr(scenes, attribute)[scenes.used], minlength=len(values))
    assert counts.min() > 0.9 * counts.mean()
    assert counts.max() < 1.1 * counts.mean()


def test_single_scenes_are_exactly_balanced() -> None:
    scenes = scene.draw_single(np.random.default_rng(3), 288, replace(KNOBS, context=0.0))
    joint = np.stack([scenes.shape[:, 0], scenes.colour[:, 0], scenes.background])
    kinds, counts = np.unique(joint, axis=1, return_counts=True)
    assert kinds.shape[1] == len(SHAPES) * len(COLOURS) * len(BACKGROUNDS)
    assert set(counts) == {2}


def test_the_map_shows_every_object_at_its_place(world) -> None:  # type: ignore[no-untyped-def]
    scenes, _, objects = world
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
    for row in range(len(scenes)):
        assert set(np.unique(objects[row])) - {0} == set(range(1, scenes.count[row] + 1))
        for slot in range(scenes.count[row]):
            mine = objects[row] == slot + 1
            radius = scenes.radius[row, slot]
            distance = np.hypot(x - scenes.x[row, slot], y - scenes.y[row, slot])
            assert distance[mine].max() < radius + 2 / SIDE


def test_objects_have_the_colour_that_captions_name(world) -> None:  # type: ignore[no-untyped-def]
    scenes, pictures, objects = world
    right = total = 0
    for row in range(len(scenes)):
        for slot, thing in enumerate(scene.content(scenes, row).objects):
            if thing.pattern != "plain":
                continue
            mean = pictures[row][:, objects[row] == slot + 1].mean(1)
            right, total = right + (_nearest(mean) == thing.colour), total + 1
    assert total > 100
    assert right / total > 0.93


def _nearest(colour: np.ndarray) -> str:
    """Return the colour word whose hue is nearest, however pale or dark the colour is."""
    return max(PURE, key=lambda name: np.corrcoef(colour, np.asarray(PURE[name]))[0, 1])


def test_tinted_backgrounds_have_the_colour_that_captions_name(world) -> None:  # type: ignore[no-untyped-def]
    scenes, pictures, objects = world
    tinted = np.flatnonzero(scenes.tint != scene.NATURAL)
    right = 0
    for row in tinted:
        tone = pictures[row][:, objects[row] == 0].mean(1)
        right += _nearest(tone) == COLOURS[scenes.tint[row]]
    assert len(tinted) > 30
    assert right / len(tinted) > 0.8


def test_captions_are_true_of_their_scene() -> None:
    rng = np.random.default_rng(4)
    scenes = scene.draw_mixed(rng, 400, KNOBS)
    for row in range(len(scenes)):
        text = captions.caption(rng, scenes, row)
        shown = scene.content(scenes, row)
        mentions, background = read_caption(text)
        assert mentions, text
        for mention in mentions:
            assert any(fits(mention, thing) for thing in shown.objects), text
        assert fits(background, shown.ground), text


def test_all_words_are_used() -> None:
    rng = np.random.default_rng(5)
    scenes = scene.draw_mixed(rng, 3000, KNOBS)
    text = " ".join(captions.caption(rng, scenes, row) for row in range(len(scenes)))
    for word in (*SHAPES, *COLOURS, *PATTERNS, *SIZES, *BACKGROUNDS, *RELATIONS, "two objects"):
        assert word in text


def test_relations_are_read_from_the_places() -> None:
    left = Thing("circle", "red", "plain", "small", x=0.2, y=0.5)
    right = Thing("square", "blue", "plain", "small", x=0.8, y=0.55)
    assert clear_relation(left, right) == "left of"
    assert clear_relation(right, left) == "right of"
    corner = Thing("square", "blue", "plain", "small", x=0.5, y=0.8)
    assert clear_relation(left, corner) is None


def test_a_claim_needs_a_different_object_for_every_phrase() -> None:
    circle = Thing("circle", "red", "plain", "small", x=0.2, y=0.5)
    shown = Content((circle,), Ground("sand", "blue"))
    assert Claim((Phrase("circle"),)).holds(shown)
    assert not Claim((Phrase("circle"), Phrase("circle", colour="red"))).holds(shown)
    assert not Claim((Phrase("circle", pattern="dotted"),)).holds(shown)


def test_a_claim_of_the_background_is_true_of_its_kind_and_colour() -> None:
    circle = Thing("circle", "red", "plain", "small", x=0.2, y=0.5)
    blue = Content((circle,), Ground("sand", "blue"))
    natural = Content((circle,), Ground("sand"))
    for ground, in_blue, in_natural in (
        (Ground("sand"), True, True),
        (Ground("sand", "blue"), True, False),
        (Ground("sand", "red"), False, False),
        (Ground("wood", "blue"), False, False),
    ):
        claim = Claim((Phrase("circle"),), ground=ground)
        assert (claim.holds(blue), claim.holds(natural)) == (in_blue, in_natural)


@pytest.fixture(scope="module")
def built() -> tuple[scene.Scenes, dict]:  # type: ignore[type-arg]
    rng = np.random.default_rng(6)
    scenes = scene.draw(rng, 1 + np.arange(300) % 3, KNOBS)
    return scenes, pairs.build(rng, scenes, [str(row) for row in range(300)], limit=80)


@pytest.mark.parametrize("subset", sorted(pairs.MAKERS))
def test_pairs_are_right_and_wrong_of_the_picture(built, subset: str) -> None:  # type: ignore[no-untyped-def]
    scenes, subsets = built
    assert len(subsets[subset]) >= 60
    for pair in subsets[subset]:
        assert pair.caption != pair.negative_caption
        shown = scene.content(scenes, int(pair.image_key))
        right, wrong = (_true(text, shown) for text in (pair.caption, pair.negative_caption))
        assert right, pair
        assert not wrong, pair


def _true(text: str, shown: Content) -> bool:
    """Judge a caption of the pairs by its words: mentioned objects, distinct, relation and background."""
    mentions, background = read_caption(text)
    if not fits(background, shown.ground):
        return False
    sides = {"left of": ("x", 1), "right of": ("x", -1), "above": ("y", 1), "over": ("y", 1)}
    sides |= {"below": ("y", -1), "under": ("y", -1)}
    relation = next((word for word in sides if f" {word} " in text), None)

    def search(index: int, chosen: list[Thing]) -> bool:
        if index == len(mentions):
            if relation is None:
                return True
            axis, sign = sides[relation]
            return sign * (getattr(chosen[1], axis) - getattr(chosen[0], axis)) > 0
        return any(
            fits(mentions[index], thing) and search(index + 1, [*chosen, thing])
            for thing in shown.objects
            if not any(thing is other for other in chosen)
        )

    return search(0, [])


def test_a_look_changes_objects_but_not_the_background() -> None:
    scenes = scene.draw_mixed(np.random.default_rng(10), 16, KNOBS)
    full, faint = (
        paint(np.random.SeedSequence(1), scenes, SIDE, KNOBS, Look(opacity=(value, value)))
        for value in (1.0, 0.3)
    )
    assert np.array_equal(full[1], faint[1])
    far = full[1] == 0  # shadows and outlines reach at most six pixels beyond an object
    for step in range(-6, 7):
        far &= (np.roll(full[1], step, 1) == 0) & (np.roll(full[1], step, 2) == 0)
    difference = np.abs(full[0] - faint[0]).max(1)
    assert np.median(difference[far]) == 0
    assert difference[full[1] > 0].mean() > 0.1


@pytest.mark.parametrize("name", sorted(SHIFTS))
def test_shifts_change_the_pictures_and_stay_pictures(name: str) -> None:
    scenes = scene.draw_single(np.random.default_rng(11), 24, KNOBS)
    shift = SHIFTS[name]
    clean, _ = paint(np.random.SeedSequence(1), scenes, SIDE, KNOBS)
    changed, objects = paint(np.random.SeedSequence(1), shift.change(scenes), SIDE, KNOBS, shift.look)
    changed = shift.damage(np.random.default_rng(0), changed)
    assert changed.shape == clean.shape
    assert changed.dtype == np.float32
    assert set(np.unique(objects)) == {0, 1}
    pixels = to_bytes(changed)
    assert pixels.shape == (24, SIDE, SIDE, 3)
    assert pixels.std() > 5
    assert np.array_equal(pixels, to_bytes(clean)) == shift.fresh
