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

    Pictures that have the model's size already need neither resizing nor cropping, so a whole batch is
    normalised at once: the same operations on the same numbers, hence the same bits. All others go one
    by one through open_clip's own transform.

    Args:
        preprocess_cfg: open_clip's configuration: size, mean, std, interpolation, resize_mode.
    """

    def __init__(self, preprocess_cfg: Mapping[str, Any]) -> None:
        from pgsbench.models.transform import eval_transform  # open_clip: seconds, so not for reading suites

        size = preprocess_cfg["size"]
        self.height, self.width = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        self._transform = eval_transform(preprocess_cfg)
        self._mean, self._std = preprocess_cfg["mean"], preprocess_cfg["std"]

    def __call__(self, batch: Sequence[NamedImage]) -> Tensor:
        """Return a batch of b pictures as (b, 3, height, width) float32.

        Raises:
            DataError: A picture cannot be decoded, or not be brought to the model's size.
        """
        pictures = [decode(name, image) for name, image in batch]
        if any(picture.size != (self.width, self.height) for picture in pictures):
            names = [name for name, _ in batch]
            return torch.stack([self._transformed(*pair) for pair in zip(names, pictures, strict=True)])
        pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
        return normalise(pixels.permute(0, 3, 1, 2).contiguous(), self._mean, self._std)

    def _transformed(self, name: str, picture: Image.Image) -> Tensor:
        try:
            return self._transform(picture)
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
        return Image.open(io.BytesIO(image.data)).convert("RGB")
    except Exception as error:  # decoders of damaged files raise anything
        raise DataError(
            f"the picture cannot be decoded: {type(error).__name__}: {error}",
            where=name,
            way_out="copy, fetch or make this picture again",
        ) from error
