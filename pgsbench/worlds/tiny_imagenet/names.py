"""ImageNet's curated class names by WordNet id.

open_clip has the names that CLIP's authors curated, in the order of the sorted 1,000 ids; timm has the ids.
Both are read as files and never imported, since importing them takes seconds. An id that is not among them
is called by the first synonym that the archive has.
"""

from __future__ import annotations

import ast
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

IDS = ("timm", "timm/data/_info/imagenet_synsets.txt")
NAMES = ("open_clip_torch", "open_clip/zero_shot_metadata.py")
NAMES_VARIABLE = "IMAGENET_CLASSNAMES"


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
