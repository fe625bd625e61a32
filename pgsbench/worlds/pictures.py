"""Finished pictures: damage to them, as a distribution shift that needs no generator, and their files.

Shapes: pictures (b, 3, h, w) float32 in [0, 1]; what damage gives back may leave this range and is clipped
when it is written.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from pgsbench.data.tar import EncodedImage

Bytes = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Damage = Callable[[np.random.Generator, Floats], Floats]


def untouched(rng: np.random.Generator, pictures: Floats) -> Floats:
    """Return the pictures as they are."""
    return pictures


def noise(rng: np.random.Generator, pictures: Floats) -> Floats:
    """Add Gaussian noise."""
    noisy: Floats = pictures + np.float32(0.16) * rng.standard_normal(pictures.shape, dtype=np.float32)
    return noisy


def blur(rng: np.random.Generator, pictures: Floats) -> Floats:
    """Blur: five passes of [1 2 1] / 4 both ways are near a Gaussian of 1.6 pixels."""
    for _ in range(5):
        for axis in (2, 3):
            pad = [(0, 0)] * 4
            pad[axis] = (1, 1)
            wide = np.moveaxis(np.pad(pictures, pad, mode="edge"), axis, 0)
            mean = (wide[:-2] + 2 * wide[1:-1] + wide[2:]) / np.float32(4)
            pictures = np.moveaxis(mean, 0, axis)
    return pictures


def brightness(rng: np.random.Generator, pictures: Floats) -> Floats:
    """Make each picture much darker or much brighter."""
    b = len(pictures)
    dark = rng.random((b, 1, 1, 1)) < 0.5
    gamma = np.where(dark, 2.0, 0.45).astype(np.float32)
    gain = np.where(dark, 0.7, 1.15).astype(np.float32)
    return np.clip(pictures, 0, 1) ** gamma * gain


def sketch(rng: np.random.Generator, pictures: Floats) -> Floats:
    """Draw edges as ink on paper."""
    grey = pictures.mean(1)
    slope_y, slope_x = np.gradient(grey, axis=(1, 2))
    ink = np.clip(np.hypot(slope_x, slope_y) * 6 - 0.08, 0, 0.9)
    paper = np.float32(0.95) + np.float32(0.02) * rng.standard_normal(grey.shape, dtype=np.float32)
    return np.repeat((paper * (1 - ink))[:, None], 3, axis=1).astype(np.float32)


def to_bytes(pictures: Floats) -> Bytes:
    """Return (b, h, w, 3) bytes of (b, 3, h, w) pictures in [0, 1]."""
    pixels = (np.clip(pictures, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))


def encoded(pixels: Bytes, objects: Bytes, quality: int) -> EncodedImage:
    """Return (h, w, 3) pixels as a JPEG file of this quality, with the map (h, w) of their objects."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return EncodedImage(file.getvalue(), "jpg", png(objects))


def png(objects: Bytes) -> bytes:
    """Return a map of objects (h, w) as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(objects).save(file, "PNG")
    return file.getvalue()
