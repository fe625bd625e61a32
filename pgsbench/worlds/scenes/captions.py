"""The grammar: from a scene to one of many true captions.

A caption leaves things out at random, as captions do: colour rarely, pattern and size more often, the
background mostly. It mentions the objects in random order, or in the order of the relation it names.
"""

from __future__ import annotations

import numpy as np

from pgsbench.worlds.scenes.scene import Scenes, content
from pgsbench.worlds.scenes.words import COUNTS, Claim, Content, Phrase, Thing, clear_relation

#: How often a caption speaks of colours at all, and then how often an object's colour is named. Where no
#: colour is named, only the other attributes can tell pictures apart.
COLOURED_SHARE = 0.75
COLOUR_SHARE = 0.80
PATTERN_SHARE = 0.35
PLAIN_SHARE = 0.06
SIZE_SHARE = 0.15
BACKGROUND_SHARE = 0.35
COUNT_SHARE = 0.12
RELATION_SHARE = 0.40
#: How often some of several objects go unmentioned. "A red circle" then has to be told from a picture of
#: a blue circle and a red square.
OMISSION_SHARE = 0.15

#: Mostly none: words that say nothing are what a small text tower drowns in.
_OPENINGS = (*[""] * 9, "a photo of ", "a picture of ", "there is ")
_RELATION_WORDS = {
    "left of": ("left of", "left of", "to the left of"),
    "right of": ("right of", "right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
}
_PAIR_WORDS = (" and ", " and ", " next to ", " with ")


def caption(rng: np.random.Generator, scenes: Scenes, row: int) -> str:
    """Return a random true caption of one scene."""
    return word(rng, claim(rng, content(scenes, row)))


def claim(rng: np.random.Generator, shown: Content) -> Claim:
    """Choose what a caption says."""
    chance = rng.random(5)
    coloured = bool(chance[4] < COLOURED_SHARE)
    named = [shown.objects[i] for i in rng.permutation(len(shown.objects))]
    whole = len(named) == 1 or chance[0] >= OMISSION_SHARE
    if not whole:
        named = named[: int(rng.integers(1, len(named)))]
    relation = clear_relation(named[0], named[1]) if len(named) > 1 and chance[1] < RELATION_SHARE else None
    return Claim(
        phrases=tuple(mention(rng, thing, coloured) for thing in named),
        relation=relation,
        ground=shown.ground if chance[2] < BACKGROUND_SHARE else None,
        counted=whole and bool(chance[3] < COUNT_SHARE),
    )


def mention(rng: np.random.Generator, thing: Thing, coloured: bool) -> Phrase:
    """Choose what is said of one object."""
    chance = rng.random(3)
    pattern_share = PLAIN_SHARE if thing.pattern == "plain" else PATTERN_SHARE
    return Phrase(
        shape=thing.shape,
        colour=thing.colour if coloured and chance[0] < COLOUR_SHARE else None,
        pattern=thing.pattern if chance[1] < pattern_share else None,
        size=thing.size if chance[2] < SIZE_SHARE else None,
    )


def word(rng: np.random.Generator, claim: Claim) -> str:
    """Put a claim into one of its wordings.

    The same generator state gives claims that differ in one word the same wording otherwise.
    """
    opening, joint, synonym, front = rng.random(4)
    parts = [str(phrase) for phrase in claim.phrases]
    if claim.relation and len(parts) > 1:
        words = _RELATION_WORDS[claim.relation]
        parts[:2] = [f"{parts[0]} {words[int(synonym * len(words))]} {parts[1]}"]
    elif len(parts) == 2:
        parts = [_PAIR_WORDS[int(joint * len(_PAIR_WORDS))].join(parts)]
    text = " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]
    if claim.counted:
        text = f"{COUNTS[len(claim.phrases) - 1]}, {text}"
    else:
        text = _OPENINGS[int(opening * len(_OPENINGS))] + text
    if claim.ground and front < 0.3:
        return f"on {claim.ground}, {text}"
    return f"{text} on {claim.ground}" if claim.ground else text
