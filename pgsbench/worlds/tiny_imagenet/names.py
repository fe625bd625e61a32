"""What photos are called: ImageNet's curated class names by WordNet id, captions and prompts.

open_clip has the names that CLIP's authors curated, in the order of the sorted 1,000 ids; timm has the ids.
Both are read as files, since importing the packages takes seconds.
"""

from __future__ import annotations

import hashlib
import runpy
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

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
    """Return the curated name of each of ImageNet's 1,000 ids."""
    ids = distribution("timm").locate_file("timm/data/_info/imagenet_synsets.txt")
    names = distribution("open_clip_torch").locate_file("open_clip/zero_shot_metadata.py")
    said = runpy.run_path(str(names))["IMAGENET_CLASSNAMES"]
    read = Path(str(ids)).read_text()
    return dict(zip(sorted(read.split()), said, strict=True))


def caption(name: str, key: str, *, seed: int) -> str:
    """Return the caption of a photo; the phrase follows from the photo's key alone.

    Args:
        name: Name of its class.
        key: Name of the photo.
        seed: Chooses other phrases.
    """
    number = int.from_bytes(hashlib.sha256(f"{seed}/{key}".encode()).digest()[:8])
    return TEMPLATES[number % len(TEMPLATES)].format(c=name)
