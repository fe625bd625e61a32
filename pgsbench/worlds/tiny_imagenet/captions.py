"""Captions and prompts: those of CLIP's templates that may be said of any photo."""

from __future__ import annotations

import hashlib

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


def caption(name: str, key: str, *, seed: int) -> str:
    """Return the caption of a photo; the phrase follows from the photo's key alone.

    Args:
        name: Name of its class.
        key: Name of the photo.
        seed: Chooses other phrases.
    """
    number = int.from_bytes(hashlib.sha256(f"{seed}/{key}".encode()).digest()[:8])
    return TEMPLATES[number % len(TEMPLATES)].format(c=name)
