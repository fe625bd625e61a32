"""The one way to training data: names of shards, and a reader in memory where they fit, else streamed.

Batches depend on (seed, step) alone: every arm of a study sees the same pairs in the same order, and a
resumed training goes on with exactly the batch it would have had.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from braceexpand import braceexpand

from pgsbench.data import store
from pgsbench.data.contents import content_hashes
from pgsbench.data.first_batches import FirstBatches
from pgsbench.data.memory import InMemory, decoded
from pgsbench.data.samples import OBJECTS, Reader, Tokenize, is_usable
from pgsbench.data.streaming import StreamedShards
from pgsbench.data.tar import read_tar
from pgsbench.errors import DataError, nearest
from pgsbench.hashing import digest

#: More shards than any data set has; and more letters than any path.
MAX_SHARDS, MAX_PATTERN = 1_000_000, 4096


def resolve(train: str, *, progress: store.Progress | None = None) -> list[Path]:
    """Return the shards of training data (`DataConfig.source`).

    A built-in data set is made where it does not exist yet.

    Raises:
        DataError: Nothing is found.
    """
    if store.is_builtin(train):
        folder = store.ensure(train, progress=progress)
        return sorted(folder.glob(store.read_manifest(folder).train))
    try:
        shards = [path for part in train.split("::") for path in _expand(part)]
        missing = [path for path in shards if not path.is_file()]
    except OSError as error:  # a name that no file can have
        rule = f"the shards cannot be looked for: {error.strerror}"
        raise DataError(rule, where="data.train", value=train[:200]) from None
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
    if _num_names(pattern) > MAX_SHARDS:
        raise DataError(
            f"the braces stand for more than {MAX_SHARDS:,} shards", where="data.train", value=pattern[:200]
        )
    if Path(pattern).is_dir():
        return sorted(Path(pattern).glob("*.tar"))
    try:
        paths = [Path(name) for name in braceexpand(pattern)]
    except (ValueError, RecursionError):
        rule = "every `{` needs its `}`"
        raise DataError(rule, where="data.train", value=pattern[:200]) from None
    return [found for path in paths for found in _matches(path)]


def _matches(path: Path) -> list[Path]:
    return sorted(path.parent.glob(path.name)) if "*" in path.name else [path]


def _num_names(pattern: str) -> int:
    """Return how many names a pattern stands for at most: the product over its braces."""
    if len(pattern) > MAX_PATTERN:
        return MAX_SHARDS + 1
    count, commas = 1, [0]
    for first, last in re.findall(r"\{(-?\d+)\.\.(-?\d+)(?:\.\.-?\d+)?\}", pattern):
        count *= abs(int(last) - int(first)) + 1
    for character in pattern:
        if character == "{":
            commas.append(0)
        elif character == ",":
            commas[-1] += 1
        elif character == "}" and len(commas) > 1:
            count *= commas.pop() + 1
    return count


def identity(train: str, *, progress: store.Progress | None = None) -> str:
    """Return what the training data is, by content: equal identities, equal pairs in equal order.

    Names and places make no difference, only what the shards hold and in which order they come.

    Raises:
        DataError: The data is not there.
    """
    if store.is_builtin(train):
        name = train.partition("?")[0]
        return f"{name}-{store.read_manifest(store.ensure(train, progress=progress)).fingerprint}"
    hashes = content_hashes(resolve(train, progress=progress), progress=progress)
    return f"shards-{digest(hashes)[:16]}"


def reading_order(train: str, image_size: tuple[int, int], *, memory_limit_gib: float, workers: int) -> str:
    """Return what decides the order of pairs beside the seed: ``memory``, or ``stream`` and its readers.

    Args:
        train: As `resolve` takes it.
        image_size: (height, width) of decoded pictures in pixels.
        memory_limit_gib: Decoded pictures up to this size are held in memory.
        workers: Reader processes that are asked for.
    """
    shards = resolve(train)
    num_first, _ = preflight(shards[0])
    if _fits(shards, num_first, image_size, memory_limit_gib):
        return "memory"
    return f"stream {min(workers, len(shards))}"


def _fits(
    shards: Sequence[Path], num_first: int, image_size: tuple[int, int], memory_limit_gib: float
) -> bool:
    total_bytes = sum(path.stat().st_size for path in shards)
    num_estimated = num_first * total_bytes / shards[0].stat().st_size
    return num_estimated * image_size[0] * image_size[1] * 3 <= memory_limit_gib * 2**30


def open_reader(
    shards: Sequence[Path],
    *,
    image_size: tuple[int, int],
    tokenize: Tokenize,
    memory_limit_gib: float,
    workers: int,
    progress: store.Progress | None = None,
    num_batches: int | None = None,
) -> Reader:
    """Open the shards, in memory where all decoded pictures fit into the limit.

    Args:
        shards: The archives.
        image_size: (height, width) in pixels.
        tokenize: Texts to token ids.
        memory_limit_gib: Decoded pictures that take more are streamed.
        workers: Reading processes, where they are streamed.
        progress: Told of every shard.
        num_batches: Number of batches that will be read; the rest of the data is not decoded.

    Raises:
        DataError: The first shard has no usable sample.
    """
    num_first, has_objects = preflight(shards[0])
    if _fits(shards, num_first, image_size, memory_limit_gib):
        if num_batches is not None:
            return FirstBatches(
                shards,
                image_size=image_size,
                tokenize=tokenize,
                has_objects=has_objects,
                num_batches=num_batches,
                progress=progress,
            )
        pairs = decoded(tuple(shards), image_size, has_objects, progress)
        captions = pairs.captions
        texts = torch.cat([tokenize(captions[i : i + 4096]).int() for i in range(0, len(captions), 4096)])
        return InMemory(pairs.images, texts, pairs.objects)
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
