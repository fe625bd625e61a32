"""Compositionality: a true caption and a false one that differs as SugarCrepe's seven subsets define it.

============  ==========================================================================
replace_obj   one shape is replaced by a shape
replace_att   one colour, pattern or size is replaced by another, of an object or of the background
replace_rel   a relation is replaced by its opposite
swap_obj      the two mentioned objects change places in a relation
swap_att      an object and the background, or two objects, exchange their colours or their patterns
add_obj       an object that is not in the picture is added
add_att       an attribute that an object does not have is added to its mention
============  ==========================================================================

Every negative is checked against the scene: under no reading is it true.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import numpy as np

from pgsbench.data.evalset import Pair
from pgsbench.worlds.scenes.captions import word
from pgsbench.worlds.scenes.scene import Scenes, content
from pgsbench.worlds.scenes.words import (
    ATTRIBUTES,
    COLOURS,
    OPPOSITE,
    PATTERNS,
    SHAPES,
    SIZES,
    Attribute,
    Claim,
    Content,
    Ground,
    Phrase,
    Thing,
    clear_relation,
)

_VALUES: dict[Attribute, tuple[str, ...]] = {"size": SIZES, "pattern": PATTERNS, "colour": COLOURS}

#: How often the colour of a tinted background is replaced, not an attribute of an object.
GROUND_REPLACED_SHARE = 0.25
#: How often a swap of attributes is tried between an object and the background, not between two objects.
GROUND_SWAPPED_SHARE = 0.8

#: Returns a true claim and a changed one, or None where the scene does not allow it.
Maker = Callable[[np.random.Generator, Content], tuple[Claim, Claim] | None]


def build(rng: np.random.Generator, scenes: Scenes, keys: list[str], limit: int) -> dict[str, list[Pair]]:
    """Return up to `limit` pairs of each subset for scenes with these image keys, one a scene."""
    return {subset: _build_subset(rng, maker, scenes, keys, limit) for subset, maker in MAKERS.items()}


def _build_subset(
    rng: np.random.Generator, maker: Maker, scenes: Scenes, keys: list[str], limit: int
) -> list[Pair]:
    found: list[Pair] = []
    for row in rng.permutation(len(scenes)):
        if len(found) == limit:
            break
        shown = content(scenes, row)
        claims = maker(rng, shown)
        wording = int(rng.integers(2**31))
        if claims is None or claims[1].holds(shown):
            continue
        right, wrong = (word(np.random.default_rng(wording), claim) for claim in claims)
        found.append(Pair(keys[row], right, wrong))
    return found


def _pick(rng: np.random.Generator, values: list[str]) -> str:
    return values[int(rng.integers(len(values)))]


def _coloured(thing: Thing) -> Phrase:
    return Phrase(thing.shape, colour=thing.colour)


def _some(rng: np.random.Generator, objects: tuple[Thing, ...]) -> list[Thing]:
    """Return one or two of the objects, in random order."""
    return [objects[i] for i in rng.permutation(len(objects))[:2]]


def _with(phrases: list[Phrase], which: int, **changes: str) -> Claim:
    return Claim((*phrases[:which], replace(phrases[which], **changes), *phrases[which + 1 :]))


def _replace_obj(rng: np.random.Generator, shown: Content) -> tuple[Claim, Claim] | None:
    phrases = [_coloured(thing) for thing in _some(rng, shown.objects)]
    which = int(rng.integers(len(phrases)))
    other = _pick(rng, [shape for shape in SHAPES if shape != phrases[which].shape])
    return _with(phrases, which), _with(phrases, which, shape=other)


def _replace_att(rng: np.random.Generator, shown: Content) -> tuple[Claim, Claim] | None:
    chosen = _some(rng, shown.objects)
    phrases = [_coloured(thing) for thing in chosen]
    if shown.ground.colour and rng.random() < GROUND_REPLACED_SHARE:
        right = Claim(tuple(phrases), ground=shown.ground)
        other = _pick(rng, [colour for colour in COLOURS if colour != shown.ground.colour])
        return right, replace(right, ground=replace(shown.ground, colour=other))
    which = int(rng.integers(len(chosen)))
    attribute = ATTRIBUTES[int(rng.choice(3, p=(0.2, 0.3, 0.5)))]
    true = getattr(chosen[which], attribute)
    other = _pick(rng, [value for value in _VALUES[attribute] if value != true])
    return _with(phrases, which, **{attribute: true}), _with(phrases, which, **{attribute: other})


def _related(rng: np.random.Generator, objects: tuple[Thing, ...]) -> Claim | None:
    chosen = _some(rng, objects)
    relation = clear_relation(*chosen) if len(chosen) == 2 else None
    return Claim(tuple(map(_coloured, chosen)), relation=relation) if relation else None


def _replace_rel(rng: np.random.Generator, shown: Content) -> tuple[Claim, Claim] | None:
    right = _related(rng, shown.objects)
    if right is None or right.relation is None:
        return None
    return right, replace(right, relation=OPPOSITE[right.relation])


def _swap_obj(rng: np.random.Generator, shown: Content) -> tuple[Claim, Claim] | None:
    right = _related(rng, shown.objects)
    return None if right is None else (right, replace(right, phrases=right.phrases[::-1]))


def _swap_att(rng: np.random.Generator, shown: Content) -> tuple[Claim, Claim] | None:
    if rng.random() < GROUND_SWAPPED_SHARE:
        return _swap_with_ground(shown.objects[int(rng.integers(len(shown.objects)))], shown.ground)
    order = [shown.objects[i] for i in rng.permutation(len(shown.objects))]
    kinds: tuple[Attribute, ...] = ("colour", "pattern") if rng.random() < 0.7 else ("pattern", "colour")
    for attribute in kinds:
        for one, two in combinations(order, 2):
            values = (getattr(one, attribute), getattr(two, attribute))
            if one.shape != two.shape and values[0] != values[1]:
                return _exchange(attribute, (one.shape, two.shape), values)
    return None


def _swap_with_ground(thing: Thing, ground: Ground) -> tuple[Claim, Claim] | None:
    if ground.colour in (None, thing.colour):
        return None
    swapped = Phrase(thing.shape, colour=ground.colour)
    return (
        Claim((_coloured(thing),), ground=ground),
        Claim((swapped,), ground=replace(ground, colour=thing.colour)),
    )


def _exchange(attribute: Attribute, shapes: tuple[str, str], values: tuple[str, str]) -> tuple[Claim, Claim]:
    right, wrong = (
        Claim(tuple(replace(Phrase(s), **{attribute: v}) for s, v in zip(shapes, given, strict=True)))
        for given in (values, values[::-1])
    )
    return right, wrong


def _add_obj(rng: np.random.Generator, shown: Content) -> tuple[Claim, Claim] | None:
    phrases = tuple(_coloured(thing) for thing in _some(rng, shown.objects))
    added = Phrase(_pick(rng, list(SHAPES)), colour=_pick(rng, list(COLOURS)))
    return Claim(phrases), Claim((*phrases, added))


def _add_att(rng: np.random.Generator, shown: Content) -> tuple[Claim, Claim] | None:
    chosen = _some(rng, shown.objects)
    which = int(rng.integers(len(chosen)))
    attribute = ATTRIBUTES[int(rng.choice(3, p=(0.2, 0.4, 0.4)))]
    other = _pick(rng, [v for v in _VALUES[attribute] if v != getattr(chosen[which], attribute)])
    phrases = [_coloured(thing) for thing in chosen]
    if attribute == "colour":  # left open, so that it can be the attribute that is added
        phrases[which] = Phrase(chosen[which].shape)
    return _with(phrases, which), _with(phrases, which, **{attribute: other})


MAKERS: dict[str, Maker] = {
    "add_att": _add_att,
    "add_obj": _add_obj,
    "replace_att": _replace_att,
    "replace_obj": _replace_obj,
    "replace_rel": _replace_rel,
    "swap_att": _swap_att,
    "swap_obj": _swap_obj,
}
