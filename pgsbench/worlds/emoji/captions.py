"""What is said about an emoji: its names in phrases, its group, its keywords."""

from __future__ import annotations

import numpy as np

from pgsbench.worlds.emoji.catalogue import GROUPS, Emoji, words_of

#: Prompts of the group classification; `GROUPS` has the class names.
GROUP_TEMPLATES = ("an emoji from the group {c}", "{c}", "{c} emoji", "a picture of {c}")

#: Training phrases and how often each is drawn. ``{a}``: name with article and tone, ``{n}``: without
#: article, ``{o}``: another name where there is one, ``{s}``: subgroup, ``{g}``: group.
_PHRASES = (
    (0.30, "an emoji of {a}"),
    (0.14, "{a}"),
    (0.10, "a picture of {a}"),
    (0.14, "{n}, {s}"),
    (0.12, "{g} emoji, {n}"),
    (0.08, "an emoji of {o}"),
    (0.06, "{n}, {o}, {s}"),
    (0.06, "an emoji from the group {g}"),
)
_SHARES = np.cumsum([share for share, _ in _PHRASES])

_NO_ARTICLE = words_of("no input open closed medium bread fire fog hair people men women two")
_PLURAL_EXCEPTIONS = ("ss", "us", "is", "as")


def with_article(name: str) -> str:
    """Return a name with ``a`` or ``an`` where English wants one, as far as a rule can tell.

    >>> with_article("orange heart"), with_article("grapes"), with_article("glass of milk")
    ('an orange heart', 'grapes', 'a glass of milk')
    """
    words = name.lower().split()
    head = words[0]
    for word in words:  # the head noun is the last word before "of", "with", ...
        if word in {"of", "with", "in", "on", "behind", "from", "holding", "facing"}:
            break
        head = word
    plural = head.endswith("s") and not head.endswith(_PLURAL_EXCEPTIONS)
    if plural or words[0] in _NO_ARTICLE or not words[0][0].isalpha():
        return name
    return f"{'an' if words[0][0] in 'aeiou' else 'a'} {name}"


def named(name: str, tone: str | None) -> str:
    """Return a name with its skin tone, for example ``"woman surfing, dark skin tone"``."""
    return f"{name}, {tone} skin tone" if tone else name


def emoji_of(emoji: Emoji, tone: str | None = None) -> str:
    """Return the plainest caption: ``"an emoji of a red apple"``."""
    return f"an emoji of {named(with_article(emoji.name), tone)}"


def training_caption(
    emoji: Emoji, tone: str | None, background: str | None, generator: np.random.Generator
) -> str:
    """Draw one phrase about a picture.

    Args:
        emoji: What is shown.
        tone: Its skin tone, if it has one.
        background: Colour behind it, where the caption is to name it.
        generator: Chooses the phrase and among the other names.
    """
    phrase = _PHRASES[
        int(np.searchsorted(_SHARES, generator.random(), side="right").clip(0, len(_PHRASES) - 1))
    ][1]
    other = str(generator.choice(emoji.other_names)) if emoji.other_names else emoji.name
    text = phrase.format(
        a=named(with_article(emoji.name), tone),
        n=named(emoji.name, tone),
        o=named(with_article(other), tone),
        s=emoji.subgroup,
        g=emoji.group,
    )
    return f"{text} on {with_article(background)} background" if background else text


def retrieval_captions(emoji: Emoji) -> list[str]:
    """Return the captions of a retrieval image: its name in two phrases, then up to two other names."""
    others = [f"an emoji of {with_article(other)}" for other in emoji.other_names[:2]]
    return [emoji_of(emoji), f"{emoji.name}, {emoji.subgroup}", *others]


def class_names() -> list[str]:
    """Return the class names of the group classification, in index order."""
    return list(GROUPS.values())
