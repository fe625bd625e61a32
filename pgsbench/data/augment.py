"""What training does to a picture: open_clip's transform, drawn anew for each place of the stream.

With the same draws the pixels are those of ``open_clip.image_transform(is_train=True)``: torchvision chooses
the crop and the colours and changes them. The map of objects is cropped along.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from pgsbench.config.augmentation import AugmentConfig
from pgsbench.data.damage import DAMAGED, PILLOW_ERRORS, UnusableError, open_picture
from pgsbench.data.transforms import Pixels, fit, map_of


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
            return self._changed(picture, None if objects is None else map_of(objects), seed)
        except PILLOW_ERRORS:
            raise UnusableError(DAMAGED) from None

    def _changed(
        self, picture: Image.Image, objects: Image.Image | None, seed: int
    ) -> tuple[Pixels, Pixels | None]:
        if self.augment is None:
            if self.scaled_decoding:
                self._draft(picture, (0, 0, picture.height, picture.width))
            shown = fit(picture.convert("RGB"), self.size, Image.Resampling.BICUBIC)
            fitted = None if objects is None else fit(objects, self.size, Image.Resampling.NEAREST)
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
