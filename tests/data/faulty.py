"""Shards with planted faults, each kind in known places; and a tokenizer that reads a caption's number."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tinyworld import picture, png

from pgsbench.config.data import DataConfig
from pgsbench.data import damage, shards
from pgsbench.data.samples import Reader
from pgsbench.data.tar import write_tar


def lengths(texts: list[str]) -> torch.Tensor:
    """Stand in for a tokenizer: the number at the end of each caption."""
    return torch.tensor([[int(text.split()[-1]) if text else 0] for text in texts])


def loaded(texts: list[str]) -> torch.Tensor:
    """Stand in for a tokenizer: which heavy modules the process that reads has loaded."""
    heavy = ("transformers", "open_clip.model", "torchvision.models", "pgsbench.models", "pgsbench.cli")
    return torch.tensor([[int(name in sys.modules) for name in heavy]] * len(texts))


def reader(data: DataConfig, size: int = 24, **options: Any) -> Reader:
    """Open data as a training would, with pictures of this size."""
    pairs = shards.open_pairs(data)
    return shards.open_reader(pairs, data, image_size=(size, size), tokenize=lengths, **options)


def jpeg(number: int, size: tuple[int, int] = (40, 40)) -> bytes:
    """Return a JPEG file of noise that differs for each number."""
    pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", quality=85)
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """Return a PNG file of a few hundred bytes that says it is of this size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


def damaged_inside(number: int) -> bytes:
    """Return a PNG file that begins and ends well; only decoding it shows that it is damaged."""
    content = bytearray(png(picture(number)[0]))
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    return bytes(content)


def plant(folder: Path, per_shard: int = 40) -> dict[str, int]:
    """Write three shards of which every fifth sample is faulty; return reason -> how many."""
    folder.mkdir(parents=True)
    faults = {
        damage.TRUNCATED: lambda n: {"jpg": jpeg(n)[:-300], "txt": b"x 1"},
        damage.EMPTY: lambda n: {"jpg": b"", "txt": b"x 1"},
        damage.NO_CAPTION: lambda n: {"jpg": jpeg(n)},
        damage.NO_PICTURE: lambda n: {"txt": b"x 1", "json": b"{}"},
        damage.NO_IMAGE: lambda n: {"jpg": b"<html>404 not found</html>", "txt": b"x 1"},
        damage.TOO_LARGE: lambda n: {"png": bomb(50_000, 50_000), "txt": b"x 1"},
        damage.DAMAGED: lambda n: {"png": damaged_inside(n), "txt": b"x 1"},
    }
    counts, kinds = dict.fromkeys(faults, 0), list(faults)
    for shard in range(3):
        samples = []
        for number in range(shard * per_shard, (shard + 1) * per_shard):
            parts = {"jpg": jpeg(number), "txt": f"number {number}".encode()}
            if number % 5 == 3:
                kind = kinds[number // 5 % len(kinds)]
                counts[kind] += 1
                parts = faults[kind](number)
            samples.append((f"{number:05d}", parts))
        write_tar(folder / f"{shard}.tar", samples)
    return counts


def cut(shard: Path, keep: float) -> None:
    """Cut an archive off in the middle of a member."""
    content = shard.read_bytes()
    shard.write_bytes(content[: int(len(content) * keep)])
