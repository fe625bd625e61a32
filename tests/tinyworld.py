"""A tiny world for tests: coloured squares on noise, as shards, an evaluation suite and a study."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pgsbench.data import evalset
from pgsbench.data.tar import EncodedImage, write_tar

#: A strategy as it stands in a file.
HALF = """
from dataclasses import dataclass
from pgsbench.masking.base import Selection, keep_all

@dataclass(frozen=True)
class Half:
    mask_ratio: float = 0.5
    needs = frozenset()
    def select(self, view, *, draws):
        return Selection(keep_all(view).keep[:, ::2])
"""

COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 80, 220)}


def png(pixels: np.ndarray) -> bytes:
    """Return an image array as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def picture(index: int, size: int = 32) -> tuple[np.ndarray, np.ndarray, str]:
    """Return (pixels, object map, colour name): a coloured square on grey noise."""
    rng = np.random.default_rng(index)
    pixels = rng.integers(90, 140, (size, size, 3), dtype=np.uint8)
    objects = np.zeros((size, size), np.uint8)
    top, left = rng.integers(0, size - 12, 2)
    name = list(COLOURS)[index % len(COLOURS)]
    pixels[top : top + 12, left : left + 12] = COLOURS[name]
    objects[top : top + 12, left : left + 12] = 1
    return pixels, objects, name


@dataclass(frozen=True)
class TinyWorld:
    """Shards, an evaluation suite and a study file that trains in a second."""

    folder: Path

    @property
    def shards(self) -> Path:
        return self.folder / "train"

    @property
    def suite(self) -> Path:
        return self.folder / "suite.yaml"

    @property
    def study(self) -> Path:
        return self.folder / "tiny.yaml"


def make(folder: Path) -> TinyWorld:
    """Write the world into a folder."""
    (folder / "train").mkdir()
    for shard in range(3):
        samples = []
        for index in range(shard * 32, shard * 32 + 32):
            pixels, objects, name = picture(index)
            parts = {
                "png": png(pixels),
                "txt": f"a {name} square, number {index}".encode(),
                "objects.png": png(objects),
            }
            samples.append((f"{index:05d}", parts))
        write_tar(folder / "train" / f"{shard:05d}.tar", samples)
    tests = [(index, *picture(index)) for index in range(1000, 1024)]
    evalset.write_classification(
        folder / "colour",
        [(str(i), EncodedImage(png(pixels), "png"), i % 3) for i, pixels, _, _ in tests],
        classnames=[list(COLOURS)[i] for i in range(3)],
        templates=["a {c} square"],
    )
    evalset.write_retrieval(
        folder / "retrieval",
        [
            (str(i), EncodedImage(png(pixels), "png"), [f"a {name} square, number {i}"])
            for i, pixels, _, name in tests
        ],
    )
    (folder / "suite.yaml").write_text(
        "name: tiny\n"
        "tasks:\n"
        "- {name: tiny/colour, data: colour, protocol: zero_shot, group: classification}\n"
        "- {name: tiny/retrieval, data: retrieval, protocol: retrieval, group: retrieval,"
        " metric: image_recall_at_5}\n"
    )
    (folder / "tiny.yaml").write_text(
        f"question: Is it tiny?\n"
        f"data: {{train: '{folder}/train/{{00000..00002}}.tar', augment: none}}\n"
        f"model: tiny-vit\n"
        f"strategy: {{name: pgs, mask_ratio: 0.5}}\n"
        f"training: {{samples: 96, batch_size: 16, checkpoint_every_steps: 2, log_every_steps: 1}}\n"
        f"evaluation: {{suite: '{folder}/suite.yaml'}}\n"
        f"arms: {{flip: {{strategy: flip}}, none: {{strategy: none}}, oracle: {{strategy: oracle}}}}\n"
        f"search: {{space: {{strategy.mask_ratio: [0.5, 0.75]}}, arms: [pgs, flip]}}\n"
    )
    return TinyWorld(folder)
