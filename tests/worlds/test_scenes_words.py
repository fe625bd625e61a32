"""What is said of scenes: captions and the right half of a pair are true, the wrong half is not."""

from __future__ import annotations

import numpy as np

from pgsbench.worlds.scenes import Knobs, captions, pairs, scene
from pgsbench.worlds.scenes.words import (
    BACKGROUNDS,
    COLOURS,
    PATTERNS,
    RELATIONS,
    SHAPES,
    SIZES,
    Content,
    Ground,
    Thing,
)


def read_caption(text: str) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Read the mentioned objects and background back from the words alone, independently of the grammar."""
    kinds = {"size": SIZES, "pattern": PATTERNS, "colour": COLOURS, "shape": SHAPES, "kind": BACKGROUNDS}
    found: list[dict[str, str]] = []
    background: dict[str, str] = {}
    mention: dict[str, str] = {}
    for token in text.replace(",", " ").split():
        mention |= {kind: token for kind, words in kinds.items() if token in words}
        if "shape" in mention:
            found.append(mention)
            mention = {}
        elif "kind" in mention:
            background, mention = mention, {}
    return found, background


def fits(mention: dict[str, str], thing: Thing | Ground) -> bool:
    return all(getattr(thing, kind) == word for kind, word in mention.items())


def is_true(text: str, shown: Content) -> bool:
    """Judge a caption by its words: mentioned objects, distinct, relation and background."""
    mentions, background = read_caption(text)
    if not (mentions and fits(background, shown.ground)):
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


def test_captions_are_true_of_their_scene_and_use_all_words() -> None:
    rng = np.random.default_rng(4)
    drawn = scene.draw_mixed(rng, 1500, Knobs())
    texts = [captions.caption(rng, drawn, row) for row in range(len(drawn))]
    for row, text in enumerate(texts):
        assert is_true(text, scene.content(drawn, row)), text
    for word in (*SHAPES, *COLOURS, *PATTERNS, *SIZES, *BACKGROUNDS, *RELATIONS, "two objects"):
        assert word in " ".join(texts)


def test_pairs_are_right_and_wrong_of_the_picture() -> None:
    rng = np.random.default_rng(6)
    drawn = scene.draw(rng, 1 + np.arange(300) % 3, Knobs())
    subsets = pairs.build(rng, drawn, [str(row) for row in range(300)], limit=80)
    assert set(subsets) == set(pairs.MAKERS)
    for subset, found in subsets.items():
        assert len(found) >= 60, subset
        for pair in found:
            shown = scene.content(drawn, int(pair.image_key))
            assert is_true(pair.caption, shown), pair
            assert not is_true(pair.negative_caption, shown), pair
