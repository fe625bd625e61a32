"""From image files to the tensors that a model was made for, exactly as open_clip makes them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pgsbench.data.tar import EncodedImage
from pgsbench.data.transforms import normalise
from pgsbench.errors import DataError

#: A picture and its name in messages.
NamedImage = tuple[str, EncodedImage]


class Preprocess:
    """open_clip's evaluation transform for batches of image files.

    Pictures are resized and cropped one by one, by open_clip's own steps, where they do not have the model's
    size already. Then a whole batch is normalised at once: the same operations on the same numbers, hence the
    same bits.

    Args:
        preprocess_cfg: open_clip's configuration: size, mean, std, interpolation, resize_mode.
    """

    def __init__(self, preprocess_cfg: Mapping[str, Any]) -> None:
        from pgsbench.models.transform import fitting  # open_clip: seconds, so not for reading suites

        size = preprocess_cfg["size"]
        self.height, self.width = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        self._fit = fitting(preprocess_cfg)
        self._mean, self._std = preprocess_cfg["mean"], preprocess_cfg["std"]

    def __call__(self, batch: Sequence[NamedImage]) -> Tensor:
        """Return a batch of b pictures as (b, 3, height, width) float32.

        Raises:
            DataError: A picture cannot be decoded, or not be brought to the model's size.
        """
        pictures = [self._fitted(name, decode(name, image)) for name, image in batch]
        pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
        return normalise(pixels.permute(0, 3, 1, 2).contiguous(), self._mean, self._std)

    def _fitted(self, name: str, picture: Image.Image) -> Image.Image:
        if picture.size == (self.width, self.height):
            return picture
        try:
            return self._fit(picture)
        except Exception as error:  # of Pillow, torchvision or the memory
            raise DataError(
                f"the picture cannot be brought to the model's size: {type(error).__name__}: {error}",
                where=name,
                value=f"{picture.width} x {picture.height} pixels",
                way_out="leave this picture out, or crop it",
            ) from error


def decode(name: str, image: EncodedImage) -> Image.Image:
    """Return an image file's picture in RGB.

    Raises:
        DataError: It is no picture, or a damaged one.
    """
    try:
        picture: Image.Image = Image.open(io.BytesIO(image.data))
        picture.load()
        return picture if picture.mode == "RGB" else picture.convert("RGB")  # which would copy it
    except Exception as error:  # decoders of damaged files raise anything
        raise DataError(
            f"the picture cannot be decoded: {type(error).__name__}: {error}",
            where=name,
            way_out="copy, fetch or make this picture again",
        ) from error
