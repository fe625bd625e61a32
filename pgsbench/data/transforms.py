"""From image files to tensors of the size a model wants, the way open_clip's evaluation transform does it."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

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
        with Image.open(io.BytesIO(data)) as file:
            image = file.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:  # PIL reports damaged PNGs as SyntaxError
        raise DataError(
            f"an image cannot be decoded: {_reason(error)}", where=where, way_out=way_out
        ) from error
    return np.asarray(_fit(image, size, Image.Resampling.BICUBIC), dtype=np.uint8)


def decode_objects(data: bytes, size: tuple[int, int], *, where: str) -> Pixels:
    """Decode an object map to (height, width) uint8: 0 background, else the object's number.

    Raises:
        DataError: The bytes are no readable image.
    """
    try:
        with Image.open(io.BytesIO(data)) as file:
            # A palette image keeps its numbers in "P"; converting to "L" would turn them into grey levels.
            image = file.copy() if file.mode in ("P", "L") else file.convert("L")
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"an object map cannot be decoded: {_reason(error)}", where=where) from error
    return np.asarray(_fit(image, size, Image.Resampling.NEAREST), dtype=np.uint8)


def _reason(error: Exception) -> str:
    # PIL names the object in memory that it has read from, which tells a user nothing.
    if isinstance(error, UnidentifiedImageError):
        return "it is in no image format that Pillow knows"
    return str(error)


def _fit(image: Image.Image, size: tuple[int, int], resampling: Image.Resampling) -> Image.Image:
    height, width = size
    if image.size == (width, height):
        return image
    scale = max(height / image.height, width / image.width)
    scaled = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
    image = image.resize(scaled, resampling)
    left, top = round((scaled[0] - width) / 2), round((scaled[1] - height) / 2)
    return image.crop((left, top, left + width, top + height))


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Turn (b, 3, h, w) uint8 pictures into normalised float32, on the device they are on."""
    shape = (1, len(mean), 1, 1)
    mean_ = torch.tensor(mean, device=images.device).view(shape)
    std_ = torch.tensor(std, device=images.device).view(shape)
    return images.to(torch.float32).div_(255).sub_(mean_).div_(std_)
