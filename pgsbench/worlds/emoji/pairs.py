"""Exact pairs: two pictures whose captions differ in one word, each wrong for the other picture."""

from __future__ import annotations

from pgsbench.data.evalset import Pair
from pgsbench.worlds.emoji import captions
from pgsbench.worlds.emoji.catalogue import TONES, Emoji
from pgsbench.worlds.emoji.concepts import KINDS, siblings

#: Neighbouring tones look much alike at 64 px: a wrong tone is at least this many steps away.
_MIN_TONE_STEPS = 2


def make_pairs(held_out: list[Emoji]) -> dict[str, list[Pair]]:
    """Return the pairs among held-out emoji by subset: skin_tone, gender, colour, direction.

    Gender and direction pairs exist once more in every skin tone that both pictures have.
    """
    by_name = {emoji.name.lower(): emoji for emoji in held_out}
    subsets = {"skin_tone": [pair for emoji in held_out for pair in _tone_pairs(emoji)]}
    for kind in KINDS:
        subsets[kind] = [
            pair
            for right in held_out
            for name in siblings(right.name, kind)
            if name in by_name
            for pair in _sibling_pairs(right, by_name[name])
        ]
    return subsets


def _tone_pairs(emoji: Emoji) -> list[Pair]:
    order = list(TONES.values())
    return [
        Pair(key, captions.emoji_of(emoji, tone), captions.emoji_of(emoji, wrong))
        for tone, key in emoji.tones.items()
        for wrong in emoji.tones
        if abs(order.index(tone) - order.index(wrong)) >= _MIN_TONE_STEPS
    ]


def _sibling_pairs(right: Emoji, wrong: Emoji) -> list[Pair]:
    shown: list[tuple[str | None, str]] = [
        (None, right.key),
        *((tone, key) for tone, key in right.tones.items() if tone in wrong.tones),
    ]
    return [Pair(key, captions.emoji_of(right, tone), captions.emoji_of(wrong, tone)) for tone, key in shown]
