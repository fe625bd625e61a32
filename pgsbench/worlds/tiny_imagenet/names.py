"""What photos are called: ImageNet's curated class names by WordNet id, captions and prompts.

open_clip has the names that CLIP's authors curated, in the order of the sorted 1,000 ids; timm has the ids.
Both are read as files and never imported, since importing them takes seconds. An id that is not among them
is called by the first synonym that the archive has.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

IDS = ("timm", "timm/data/_info/imagenet_synsets.txt")
NAMES = ("open_clip_torch", "open_clip/zero_shot_metadata.py")
NAMES_VARIABLE = "IMAGENET_CLASSNAMES"

#: A selection from the 80 templates that CLIP's authors wrote for ImageNet, articles as they have them.
#: Templates that claim a style, a size or a state (a sketch, the small one, a dirty one) would be untrue.
TEMPLATES = (
    "a photo of a {c}.",
    "a photo of the {c}.",
    "a photo of one {c}.",
    "a photo of my {c}.",
    "a good photo of a {c}.",
    "a good photo of the {c}.",
    "a cropped photo of a {c}.",
    "a cropped photo of the {c}.",
    "a low resolution photo of a {c}.",
    "a low resolution photo of the {c}.",
    "itap of a {c}.",
    "itap of the {c}.",
)


@cache
def curated_names() -> dict[str, str]:
    """Return the curated name of each of ImageNet's 1,000 ids; empty where the packages have other files."""
    ids = sorted(_read(*IDS).split())
    names = _list_of(_read(*NAMES), NAMES_VARIABLE)
    return dict(zip(ids, names, strict=True)) if len(ids) == len(names) else {}


def class_name(wnid: str, synonyms: str) -> str:
    """Return the name of a class for captions and prompts.

    Args:
        wnid: Its WordNet id.
        synonyms: Its names in ``words.txt``, joined by commas.
    """
    return curated_names().get(wnid, synonyms.split(",")[0].strip())


def caption(name: str, key: str, *, seed: int) -> str:
    """Return the caption of a photo; the phrase follows from the photo's key alone.

    Args:
        name: Name of its class.
        key: Name of the photo.
        seed: Chooses other phrases.
    """
    number = int.from_bytes(hashlib.sha256(f"{seed}/{key}".encode()).digest()[:8])
    return TEMPLATES[number % len(TEMPLATES)].format(c=name)


def _read(package: str, path: str) -> str:
    try:
        return Path(str(distribution(package).locate_file(path))).read_text(encoding="utf-8")
    except (PackageNotFoundError, OSError):
        return ""


def _list_of(source: str, variable: str) -> list[str]:
    """Return the list of texts that a Python file assigns to a variable; empty where it does not."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == variable for target in node.targets
        ):
            return [str(name) for name in ast.literal_eval(node.value)]
    return []
