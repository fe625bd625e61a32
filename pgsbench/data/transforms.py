"""From image files to pixels of the size a model wants, as open_clip's transforms do it.

With the same draws the pixels of a training are those of ``open_clip.image_transform(is_train=True)``:
torchvision chooses the crop and the colours and changes them. The map of objects is cropped along.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pgsbench.config.data import AugmentConfig
from pgsbench.data.damage import DAMAGED, PILLOW_ERRORS, UnusableError, check_picture, open_picture

#: Raw pixels, (h, w, 3) or (h, w).
Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


@dataclass(frozen=True)
class Transform:
    """From image files to pixels of the size that a model wants.

    Attributes:
        size: (height, width) in pixels.
        augment: What is drawn; None: shorter side to `size`, centre crop.
        scaled_decoding: Let the JPEG decoder scale large pictures down: faster, and slightly other pixels.
    """

    size: tuple[int, int]
    augment: AugmentConfig | None = None
    scaled_decoding: bool = False

    def __call__(self, data: bytes, objects: bytes | None, seed: int) -> tuple[Pixels, Pixels | None]:
        """Return the picture, (h, w, 3) uint8, and its map of objects, (h, w) uint8.

        Args:
            data: The image file.
            objects: The map as an image file; None: there is none.
            seed: Decides what is drawn.

        Raises:
            UnusableError: A file is damaged.
        """
        picture = open_picture(data)
        try:
            return self._changed(picture, None if objects is None else _map_of(objects), seed)
        except PILLOW_ERRORS:
            check_picture(data)
            raise UnusableError(DAMAGED) from None

    def _changed(
        self, picture: Image.Image, objects: Image.Image | None, seed: int
    ) -> tuple[Pixels, Pixels | None]:
        if self.augment is None:
            if self.scaled_decoding:
                self._draft(picture, (0, 0, picture.height, picture.width))
            shown = _fit(picture.convert("RGB"), self.size, Image.Resampling.BICUBIC)
            fitted = None if objects is None else _fit(objects, self.size, Image.Resampling.NEAREST)
            return np.asarray(shown), None if fitted is None else np.asarray(fitted)
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would seed all devices, too, and look where it was called from each time.
            torch.default_generator.manual_seed(seed)
            from torchvision.transforms import RandomResizedCrop  # slow to import

            box = RandomResizedCrop.get_params(picture, list(self.augment.scale), list(self.augment.ratio))
            whole = picture.size
            if self.scaled_decoding:
                self._draft(picture, box)
            shown = self._cropped(picture.convert("RGB"), _scaled(box, whole, picture.size))
            shown = _coloured(shown, self.augment, random.Random(seed))
        if objects is None:
            return np.asarray(shown), None
        box = _scaled(box, whole, objects.size)
        return np.asarray(shown), np.asarray(self._cropped(objects, box, Image.Resampling.NEAREST))

    def _cropped(
        self,
        picture: Image.Image,
        box: tuple[int, int, int, int],
        resampling: Image.Resampling = Image.Resampling.BICUBIC,
    ) -> Image.Image:
        top, left, height, width = box
        return picture.crop((left, top, left + width, top + height)).resize(self.size[::-1], resampling)

    def _draft(self, picture: Image.Image, box: tuple[int, int, int, int]) -> None:
        """Let a JPEG decoder scale so far that the box still has the pixels that are wanted."""
        height, width = self.size
        scale = max(height / box[2], width / box[3])
        picture.draft("RGB", (round(picture.width * scale), round(picture.height * scale)))


def _scaled(
    box: tuple[int, int, int, int], whole: tuple[int, int], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return a box (top, left, height, width) of a picture in a copy of another (width, height)."""
    if whole == size:
        return box
    across, down = size[0] / whole[0], size[1] / whole[1]
    top, left = round(box[0] * down), round(box[1] * across)
    height, width = max(1, round(box[2] * down)), max(1, round(box[3] * across))
    return top, left, min(height, size[1] - top), min(width, size[0] - left)


def _coloured(picture: Image.Image, augment: AugmentConfig, chance: random.Random) -> Image.Image:
    # In open_clip's order, with its draws: of whether from `random`, of how much from torch.
    from torchvision.transforms import ColorJitter
    from torchvision.transforms import functional as change

    if augment.color_jitter and augment.color_jitter_prob and chance.random() < augment.color_jitter_prob:
        picture = ColorJitter(*augment.color_jitter)(picture)
    if augment.gray_scale_prob and chance.random() < augment.gray_scale_prob:
        picture = change.rgb_to_grayscale(picture, num_output_channels=3)
    return picture


def _map_of(data: bytes) -> Image.Image:
    """Return a map of objects as numbers in one channel: 0 background, else the object's number.

    Raises:
        UnusableError: It is no image, or a bomb.
        OSError: It is damaged; or another of `PILLOW_ERRORS`.
    """
    image = open_picture(data)
    # A palette image keeps its numbers in "P"; converting to "L" would turn them into grey levels.
    return image.copy() if image.mode in ("P", "L") else image.convert("L")


def _fit(image: Image.Image, size: tuple[int, int], resampling: Image.Resampling) -> Image.Image:
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
