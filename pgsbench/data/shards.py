"""The one reader of training data: webdataset shards, held in memory where they fit, else streamed.

A shard is a tar of ``KEY.jpg|png|webp`` and ``KEY.txt``; ``KEY.objects.png``, where present, numbers the
object of each pixel. Batches depend on (seed, step) alone: every arm of a study sees the same pairs in the
same order, and a resumed training goes on with exactly the batch it would have had.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pgsbench.data import store
from pgsbench.data.tar import IMAGE_TYPES, image_of, read_tar
from pgsbench.data.transforms import Pixels, decode, decode_objects
from pgsbench.errors import DataError, nearest

OBJECTS = "objects.png"

Tokenize = Callable[[list[str]], Tensor]


@dataclass(frozen=True)
class Batch:
    """Image-text pairs.

    Attributes:
        images: (b, 3, h, w) uint8.
        texts: (b, context length) int64 token ids.
        objects: (b, h, w) uint8 number of the object at each pixel, 0 for background; None where unknown.
    """

    images: Tensor
    texts: Tensor
    objects: Tensor | None


class Reader(Protocol):
    """A source of training batches."""

    @property
    def has_objects(self) -> bool:
        """Whether batches carry object maps."""

    def batches(self, *, seed: int, batch_size: int, start_step: int = 0) -> Iterator[Batch]:
        """Yield batches without end, beginning with the batch of step `start_step`."""


# ------------------------------------------------------------------------------------- naming the data


def resolve(train: str, *, progress: store.Progress | None = None) -> list[Path]:
    """Return the shards that `data.train` names, making a built-in data set where it does not exist yet.

    Raises:
        DataError: Nothing is found.
    """
    if train in store.BUILTIN:
        folder = store.ensure(train, progress=progress)
        return sorted(folder.glob(store.read_manifest(folder).train))
    shards = [path for part in train.split("::") for path in _expand(part)]
    missing = [path for path in shards if not path.is_file()]
    if missing or not shards:
        rule = (
            f"{len(missing)} of {len(shards)} shards are missing" if missing else "there are no shards here"
        )
        way_out = "name a folder of .tar files, or PATH/{00000..00010}.tar"
        if not re.search(r"[/\\{*.]", train):
            way_out = nearest(train, store.BUILTIN)
        raise DataError(
            rule, where="data.train", value=str(missing[0]) if missing else train, way_out=way_out
        )
    return shards


def _expand(pattern: str) -> list[Path]:
    if Path(pattern).is_dir():
        return sorted(Path(pattern).glob("*.tar"))
    span = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if span:
        first, last = span.groups()
        numbers = (f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1))
        return [
            path for n in numbers for path in _expand(pattern[: span.start()] + n + pattern[span.end() :])
        ]
    path = Path(pattern)
    return sorted(path.parent.glob(path.name)) if "*" in path.name else [path]


def data_id(train: str) -> str:
    """Return what the training data is, cheaply and without making it: part of a run's id.

    For a built-in data set it is the recipe's identity; for shards a hash of their names and sizes.
    """
    if train in store.BUILTIN:
        return f"{train}-{store.identity(train)}"
    listing = "".join(f"{path.name}\0{path.stat().st_size}\n" for path in resolve(train))
    return f"shards-{hashlib.sha256(listing.encode()).hexdigest()[:16]}"


# --------------------------------------------------------------------------------------------- reading


def open_reader(
    shards: Sequence[Path],
    *,
    image_size: tuple[int, int],
    tokenize: Tokenize,
    memory_limit_gib: float,
    workers: int,
    progress: store.Progress | None = None,
) -> Reader:
    """Open the shards, in memory where all decoded pictures fit into the limit.

    Raises:
        DataError: The first shard has no usable sample.
    """
    num_first, has_objects = preflight(shards[0])
    total_bytes = sum(path.stat().st_size for path in shards)
    num_estimated = num_first * total_bytes / shards[0].stat().st_size
    if num_estimated * image_size[0] * image_size[1] * 3 <= memory_limit_gib * 2**30:
        pairs = _decoded(tuple(shards), image_size, has_objects, progress)
        captions = pairs.captions
        texts = torch.cat([tokenize(captions[i : i + 4096]).int() for i in range(0, len(captions), 4096)])
        return InMemory(pairs.images, texts, pairs.objects)
    from pgsbench.data.streaming import StreamedShards

    return StreamedShards(tuple(shards), image_size, tokenize, has_objects, workers)


def preflight(shard: Path) -> tuple[int, bool]:
    """Look into a shard before anything long starts.

    Returns:
        The number of samples with a picture and a caption, and whether the first of them knows its objects.

    Raises:
        DataError: No sample has both picture and caption.
    """
    keys: set[str] = set()
    usable, has_objects = 0, False
    for _key, parts in read_tar(shard, with_content=False):
        keys.update(parts)
        if is_usable(parts):
            has_objects = has_objects if usable else OBJECTS in parts
            usable += 1
    if not usable:
        raise DataError(
            "no sample has a picture and a caption",
            where=str(shard),
            value=sorted(keys),
            way_out="each sample needs KEY.jpg|png|webp and KEY.txt",
        )
    return usable, has_objects


def is_usable(parts: Mapping[str, bytes]) -> bool:
    """Tell whether a sample has a picture and a caption."""
    return "txt" in parts and any(kind in parts for kind in IMAGE_TYPES)


def caption_of(parts: Mapping[str, bytes]) -> str:
    """Return the caption of a sample."""
    return parts["txt"].decode("utf-8", "replace").strip()


def objects_of(parts: Mapping[str, bytes], size: tuple[int, int], where: str) -> Pixels:
    """Return the object map of a sample, (h, w) uint8.

    Raises:
        DataError: It has none, although the first sample of the data had one.
    """
    if OBJECTS not in parts:
        raise DataError("this sample lacks its object map, others have one", where=where, value=sorted(parts))
    return decode_objects(parts[OBJECTS], size, where=where)


@dataclass(frozen=True)
class InMemory:
    """All pairs as tensors: images (n, 3, h, w) uint8, texts (n, context) int32, objects (n, h, w) uint8."""

    images: Tensor
    texts: Tensor
    objects: Tensor | None

    @property
    def has_objects(self) -> bool:
        """Whether batches carry object maps."""
        return self.objects is not None

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, *, seed: int, batch_size: int, start_step: int = 0) -> Iterator[Batch]:
        """Yield batches without end; each epoch is a new permutation, its incomplete rest is left out.

        Raises:
            DataError: There are fewer pairs than one batch needs.
        """
        steps_per_epoch = len(self) // batch_size
        if not steps_per_epoch:
            raise DataError(
                f"a batch needs more pairs than the {len(self)} there are",
                where="training.batch_size",
                value=batch_size,
            )
        epoch, order = -1, torch.empty(0)
        for step in count(start_step):
            if step // steps_per_epoch != epoch:
                epoch = step // steps_per_epoch
                generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
                order = torch.randperm(len(self), generator=generator)
            first = step % steps_per_epoch * batch_size
            index = order[first : first + batch_size]
            objects = self.objects[index] if self.objects is not None else None
            yield Batch(self.images[index], self.texts[index].long(), objects)


@dataclass(frozen=True)
class _Decoded:
    images: Tensor
    captions: list[str]
    objects: Tensor | None


# The runs of a study share their data, and a worker process trains one after another: keep the last set.
_last_decoded: dict[tuple[tuple[Path, ...], tuple[int, int]], _Decoded] = {}


def _decoded(
    shards: tuple[Path, ...], size: tuple[int, int], has_objects: bool, progress: store.Progress | None
) -> _Decoded:
    key = (shards, size)
    if key in _last_decoded:
        return _last_decoded[key]
    images: list[Pixels] = []
    maps: list[Pixels] = []
    captions: list[str] = []
    for number, shard in enumerate(shards):
        for name, parts in read_tar(shard):
            if not is_usable(parts):
                continue
            where = f"{shard}:{name}"
            images.append(decode(image_of(parts, where).data, size, where=where))
            captions.append(caption_of(parts))
            if has_objects:
                maps.append(objects_of(parts, size, where))
        if progress:
            progress("reading shards", number + 1, len(shards))
    pictures = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    _last_decoded.clear()
    _last_decoded[key] = _Decoded(
        pictures, captions, torch.from_numpy(np.stack(maps)) if has_objects else None
    )
    return _last_decoded[key]
