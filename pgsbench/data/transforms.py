"""From image files to tensors of the size a model wants, the way open_clip's evaluation transform does it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pgsbench.data.damage import PILLOW_ERRORS, UnusableError, open_picture
from pgsbench.errors import DataError

#: Raw pixels, (h, w, 3) or (h, w).
Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def decode(
    data: bytes, size: tuple[int, int], *, where: str, way_out: str = "copy, fetch or make the data again"
) -> Pixels:
    """Decode an image file to (height, width, 3) uint8: shorter side to `size`, bicubic, centre crop.

    Args:
        data: The file's bytes.
        size: (height, width) in pixels.
        where: The file, or its place in an archive, for messages.
        way_out: What to do about a damaged one.

    Raises:
        DataError: The bytes are no readable image.
    """
    try:
        image = open_picture(data).convert("RGB")
    except UnusableError as error:
        raise DataError(f"an image cannot be decoded: {error.reason}", where=where, way_out=way_out) from None
    except PILLOW_ERRORS as error:
        raise DataError(f"an image cannot be decoded: {error}", where=where, way_out=way_out) from error
    return np.asarray(fit(image, size, Image.Resampling.BICUBIC), dtype=np.uint8)


def map_of(data: bytes) -> Image.Image:
    """Return a map of objects as numbers in one channel: 0 background, else the object's number.

    Raises:
        UnusableError: It is no image, or a bomb.
        OSError: It is damaged; or another of `PILLOW_ERRORS`.
    """
    image = open_picture(data)
    # A palette image keeps its numbers in "P"; converting to "L" would turn them into grey levels.
    return image.copy() if image.mode in ("P", "L") else image.convert("L")


def fit(image: Image.Image, size: tuple[int, int], resampling: Image.Resampling) -> Image.Image:
    """Return an image scaled by its shorter side to `size`, (height, width), and cropped at the centre."""
    height, width = size
    if image.size == (width, height):
        return image
    if height == width:  # torchvision's rounding, which open_clip uses for squares, and its own for others
        short = min(image.size)
        scaled = (int(width * image.width / short), int(height * image.height / short))
    else:
        scale = max(height / image.height, width / image.width)
        scaled = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
    image = image.resize(scaled, resampling)
    left, top = round((scaled[0] - width) / 2), round((scaled[1] - height) / 2)
    return image.crop((left, top, left + width, top + height))


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Turn (b, 3, h, w) uint8 pictures into normalised float32, on the device they are on."""
    mean_, std_ = (_channels(tuple(values), images.device) for values in (mean, std))
    return images.to(torch.float32).div_(255).sub_(mean_).div_(std_)


@lru_cache  # a device waits for the host once for each
def _channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # a gradient may pass through later
        return torch.tensor(values, dtype=torch.float32, device=device).view(1, -1, 1, 1)
