"""What counts as one concept, and which concepts are held out for evaluation.

A picture is held out together with everything that would give it away: all its skin tones, its man, woman
and person, its colours, directions and sizes. A split by picture would test on a woman cook after training on
a man cook.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable

from pgsbench.worlds.emoji.catalogue import Emoji, words_of

#: Words of one kind: swapping one for another of its kind makes the name of a sibling.
KINDS = {
    "gender": words_of("man woman men women boy girl boys girls prince princess merman mermaid male female"),
    "colour": words_of("red orange yellow green blue purple brown black white grey pink"),
    "direction": words_of(
        "left right up down leftwards rightwards upwards downwards left-facing right-facing "
        "up-left up-right down-left down-right"
    ),
}

#: Words that do not make another concept, beyond the kinds.
_ASIDE = words_of(
    "and person people merperson adult child older person's man's woman's men's women's "
    "large small medium medium-small left-right up-down facing oncoming fast hollow mrs mx santa"
)

_FAMILIES = (
    (r"o'clock$|-thirty$", "clock face"),
    (r"^keycap", "keycap"),
    (r"moon( face)?$", "moon"),
    (r"^globe showing", "globe"),
    (r"^family", "family"),
    (r"speaker", "speaker"),
    (r"mailbox", "mailbox"),
    (r"^sun behind", "sun behind cloud"),
)

#: Concepts that are always held out: theirs are most of the names that differ in a colour or direction only.
#: Squares, arrows, buttons and fists teach the same words in training.
ALWAYS_HELD_OUT = frozenset(
    {"heart", "circle", "backhand index pointing", "pushing hand", "triangle pointed"}
)


def concept_of(emoji: Emoji) -> str:
    """Return the concept of an emoji: its name without gender, colour, direction, size.

    >>> concept_of(Emoji("", "woman health worker", (), "people and body", "", {}))
    'health worker'
    """
    name = emoji.name.lower().replace("light blue", "blue")
    for pattern, family in _FAMILIES:
        if re.search(pattern, name):
            return family
    aside = _ASIDE.union(*KINDS.values())
    words = [word for word in name.split() if word not in aside]
    if emoji.group == "animals and nature" and len(words) > 1 and words[-1] == "face":
        words = words[:-1]
    return " ".join(words) or ("merperson" if "mer" in name else "royalty" if "prince" in name else "person")


def split_by_concept(
    catalogue: Iterable[Emoji], *, held_out: float, seed: int
) -> tuple[list[Emoji], list[Emoji]]:
    """Split into ``(training, held-out)`` so that no concept is on both sides.

    Args:
        catalogue: All emoji.
        held_out: Share of the concepts of each group that is held out.
        seed: Chooses another split; concepts are taken in the order of a hash.
    """
    members: dict[str, list[Emoji]] = defaultdict(list)
    for emoji in catalogue:
        members[concept_of(emoji)].append(emoji)
    by_group: dict[str, list[str]] = defaultdict(list)
    for concept, emojis in members.items():
        by_group[emojis[0].group].append(concept)
    chosen: set[str] = set()
    for concepts in by_group.values():
        forced = ALWAYS_HELD_OUT.intersection(concepts)
        free = sorted(set(concepts) - forced, key=lambda concept: _hash(seed, concept))
        chosen.update(forced, free[: max(0, round(held_out * len(concepts)) - len(forced))])
    training = [emoji for concept, emojis in members.items() if concept not in chosen for emoji in emojis]
    evaluation = [emoji for concept, emojis in members.items() if concept in chosen for emoji in emojis]
    return sorted(training, key=lambda emoji: emoji.key), sorted(evaluation, key=lambda emoji: emoji.key)


def siblings(name: str, kind: str) -> list[str]:
    """Return the lower-case names that differ from this one in one word of a kind, whether or not they exist.

    >>> siblings("pregnant man", "gender")[:2]
    ['pregnant boy', 'pregnant boys']
    """
    words = name.lower().split()
    return [
        " ".join([*words[:place], other, *words[place + 1 :]])
        for place, word in enumerate(words)
        if word in KINDS[kind]
        for other in sorted(KINDS[kind] - {word})
    ]


def _hash(seed: int, concept: str) -> str:
    return hashlib.sha256(f"{seed}\0{concept}".encode()).hexdigest()
