"""Which library decodes JPEG files fastest, and whether pixels are equal: ``python -m benchmarks.decoding``.

Pillow and torchvision are there; simplejpeg is timed where it is installed (``pip install simplejpeg``).
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from statistics import median
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from numpy.typing import NDArray
from PIL import Image

from benchmarks.data import made_picture, one_thread
from benchmarks.script import show, start
from pgsbench.config.data import AugmentConfig
from pgsbench.data import transforms
from pgsbench.data.damage import open_picture

#: Height, width, and Pillow's number of the sampling of colours.
KINDS = {"480 x 640": (480, 640, 0), "480 x 640, 4:2:0": (480, 640, 2), "256 x 256, 4:2:0": (256, 256, 2)}

Decode = Callable[[bytes], NDArray[np.uint8]]


def decoders() -> dict[str, Decode]:
    """Return the decoders that are there: from a file to pixels, (h, w, 3)."""
    from torchvision.io import ImageReadMode, decode_jpeg

    def of_torchvision(data: bytes) -> NDArray[np.uint8]:
        content = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        pixels: NDArray[np.uint8] = decode_jpeg(content, ImageReadMode.RGB).permute(1, 2, 0).numpy()
        return pixels

    found: dict[str, Decode] = {
        "Pillow": lambda data: np.asarray(Image.open(io.BytesIO(data)).convert("RGB")),
        "torchvision.io": of_torchvision,
    }
    with suppress(ImportError):
        simplejpeg: Any = import_module("simplejpeg")
        found["simplejpeg"] = lambda data: simplejpeg.decode_jpeg(data, fastdct=False, fastupsample=False)
    return found


def costs(*, count: int, rounds: int) -> pd.DataFrame:
    """Time each decoder alone, and in the transform of a training, whose crop and scaling are Pillow's.

    Args:
        count: Pictures of each kind.
        rounds: Times that each is timed; the median counts.
    """
    rows = []
    for kind, (height, width, sampling) in KINDS.items():
        rng = np.random.default_rng(0)
        files = [made_picture(rng, height, width, subsampling=sampling) for _ in range(count)]
        expected = [decoders()["Pillow"](data) for data in files]
        for name, decode in decoders().items():
            equal = all(np.array_equal(decode(data), one) for data, one in zip(files, expected, strict=True))
            alone, whole = list[float](), list[float]()
            for _ in range(rounds):
                alone.append(_ms(decode, files))
                whole.append(_ms(_transform(None if name == "Pillow" else decode), files))
            row = {"ms alone": median(alone), "ms with crop and scaling": median(whole)}
            rows.append({"pictures": kind, "decoder": name, "pixels": "equal" if equal else "other", **row})
    return pd.DataFrame(rows).round(2)


def _transform(decode: Decode | None) -> Callable[[bytes], object]:
    change = transforms.Transform((224, 224), AugmentConfig())

    def changed(data: bytes) -> object:
        picture = open_picture(data)  # size and format are asked before
        shown = picture if decode is None else Image.fromarray(decode(data))
        return change._changed(shown, None, 0)

    return changed


def _ms(change: Callable[[bytes], object], files: list[bytes]) -> float:
    started = time.process_time()
    for data in files:
        change(data)
    return 1000 * (time.process_time() - started) / len(files)


def main(
    count: Annotated[int, typer.Option(help="Pictures of each kind.", min=1)] = 40,
    rounds: Annotated[int, typer.Option(help="Times that each is timed.", min=1)] = 5,
) -> None:
    """Time libraries that decode JPEG files, on one core."""
    with one_thread():
        table = costs(count=count, rounds=rounds)
    show("Decoding a picture", table, "Processor time of one thread, medians.")


if __name__ == "__main__":
    start(main)
