"""The one way to training data: from its name to its pairs, and to a reader of them.

Which pairs a step sees depends on its number, the seed and the data alone: not on how many processes train or
read, nor on whether the data is held in memory, nor on where a training was interrupted.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from braceexpand import braceexpand

from pgsbench.config.data import AugmentConfig, DataConfig
from pgsbench.data import remote, store
from pgsbench.data.damage import DAMAGED, PILLOW_ERRORS, UnusableError, check_picture, open_picture
from pgsbench.data.memory import folder_of, in_memory
from pgsbench.data.pairs import Encoded, OpenShards, Pairs
from pgsbench.data.samples import Reader, Tokenize
from pgsbench.data.streaming import Streamed
from pgsbench.data.transforms import Transform
from pgsbench.devices import usable_cores
from pgsbench.errors import DataError, nearest

#: Pairs that a reader gives in a second, where nothing was timed: `benchmarks.data`, 640 x 480 pixels.
ASSUMED_PAIRS = 118
#: Pairs that a reader is timed with.
PACED_PAIRS = 64
#: A share of the time, above which waiting for data is told; and what helps.
MUCH = 0.05
MORE_READING = "raise data.workers where cores are free, set data.scaled_decoding, or store smaller pictures"
#: Reader processes of a device, at most, unless `data.workers` says more: each holds two batches ready.
MAX_READERS = 8


def open_pairs(
    data: DataConfig | str, *, run_pins: Path | None = None, progress: store.Progress | None = None
) -> Pairs:
    """Return the pairs of training data; a built-in data set is made where it does not exist yet.

    Args:
        data: The data, or its name alone.
        run_pins: The file in which a run remembers what its shards held.
        progress: Told how far it is with what is seen for the first time.

    Raises:
        DataError: Nothing is found, or no sample can be used.
    """
    config = DataConfig(train=data) if isinstance(data, str) else data
    sources = sources_of(config.source, progress=progress)
    weights = config.weights if len(sources) > 1 else None
    return Pairs.of(sources, weights or (), run_pins=run_pins, progress=progress)


def identity(data: DataConfig, *, progress: store.Progress | None = None) -> str:
    """Return what training data is: equal identities, equal pairs in equal order.

    Places make no difference. Of shards see `Pairs.identity`.

    Raises:
        DataError: The data is not there.
    """
    source = data.source
    if store.is_builtin(source) and "::" not in source:
        name = source.partition("?")[0]
        return f"{name}-{store.read_manifest(store.ensure(source, progress=progress)).fingerprint}"
    return f"shards-{open_pairs(data, progress=progress).identity}"


def reading(data: DataConfig) -> dict[str, Any]:
    """Return what decides the pixels beside the data itself; empty: nothing is drawn or scaled."""
    told: dict[str, Any] = {}
    augment = augmentation(data)
    if augment is not None:
        told["augment"] = augment.model_dump(mode="json")
    if data.scaled_decoding:
        told["scaled_decoding"] = True
    return told


def augmentation(data: DataConfig) -> AugmentConfig | None:
    """Return what is drawn anew whenever a picture is seen; None: nothing."""
    if data.augment != "auto":
        return data.augment
    return None if all(map(store.is_builtin, data.source.split("::"))) else AugmentConfig()


def open_reader(
    pairs: Pairs,
    data: DataConfig,
    *,
    image_size: tuple[int, int],
    tokenize: Tokenize,
    progress: store.Progress | None = None,
    few: bool = False,
) -> Reader:
    """Open pairs: in memory where they fit into `data.memory_limit_gib` and nothing is drawn, else streamed.

    Args:
        pairs: Those of `data`.
        data: How they are read.
        image_size: (height, width) in pixels.
        tokenize: Texts to token ids.
        progress: Told how far it is with pictures that are decoded for the first time.
        few: Only some batches will be read: the rest of the data is not decoded, and no process is started.

    Raises:
        DataError: A shard is out of reach while it is decoded to be kept.
    """
    transform = Transform(image_size, augmentation(data), data.scaled_decoding)
    if few or not fits(pairs, transform, data.memory_limit_gib):
        workers = num_readers() if data.workers is None else data.workers
        return Streamed(pairs, transform, tokenize, 0 if few else workers)
    return in_memory(pairs, transform, tokenize, progress=progress)


def num_readers() -> int:
    """Return how many reader processes each device gets, where nobody says how many."""
    return min(MAX_READERS, max(1, usable_cores() // max(1, torch.cuda.device_count()) - 1))


def reader_pace(data: DataConfig, image_size: tuple[int, int], tokenize: Tokenize) -> float | None:
    """Return how many pairs a second one reader gives on this machine, in processor time.

    Args:
        data: What is read; `PACED_PAIRS` pairs of its first shard are.
        image_size: (height, width) in pixels.
        tokenize: Texts to token ids.

    Returns:
        The pairs a second; None where the shard is elsewhere, or gives no batch.
    """
    try:
        first = data.model_copy(update={"train": resolve(data.source)[0]})
        if not Path(first.source).is_file():
            return None
        reader = open_reader(open_pairs(first), first, image_size=image_size, tokenize=tokenize, few=True)
        batches = reader.batches(seed=0, batch_size=PACED_PAIRS // 4)
        next(batches)  # what is read once is
        started = time.process_time()
        for _ in range(3):
            next(batches)
    except DataError:
        return None
    return 3 * (PACED_PAIRS // 4) / max(1e-9, time.process_time() - started)


def told_of_reading(pairs_per_second: float, data: DataConfig, readers: int, pace: float | None) -> str:
    """Return in words whether readers keep pace with a device; empty where all may fit into memory.

    Args:
        pairs_per_second: What the device computes, masks included.
        data: What is read.
        readers: Reader processes of the device.
        pace: Pairs a second that a reader gives (`reader_pace`); None: not known.
    """
    if augmentation(data) is None:
        return ""
    known = f"{ASSUMED_PAIRS} (assumed)" if pace is None else f"{pace:,.0f} (timed on this machine)"
    needed = math.ceil(pairs_per_second / (pace or ASSUMED_PAIRS))
    told = f"A device computes {pairs_per_second:,.0f} pairs/s, a reader gives {known}, and {readers} read"
    if readers >= needed:
        return f"{told}: computation binds."
    longer = f"reading binds, and training takes {needed / readers:.1f} times as long"
    return f"{told}: {longer}. {needed} would keep pace: {MORE_READING}."


def in_process(reader: Reader) -> Reader:
    """Return a reader of the same batches that starts no process: for a few of them."""
    return replace(reader, workers=0) if isinstance(reader, Streamed) else reader


def decode_first(
    data: DataConfig,
    *,
    image_size: tuple[int, int],
    tokenizer: Callable[[], Tokenize],
    progress: store.Progress | None = None,
) -> None:
    """Decode and tokenise pairs that `open_reader` would hold in memory, unless that was done before.

    Args:
        data: The data, and how it is read.
        image_size: (height, width) in pixels.
        tokenizer: Makes the tokenizer, where it is needed.
        progress: Told how far it is.

    Raises:
        DataError: A shard is out of reach.
    """
    pairs, transform = open_pairs(data), Transform(image_size, augmentation(data), data.scaled_decoding)
    if fits(pairs, transform, data.memory_limit_gib) and not folder_of(pairs, transform).is_dir():
        in_memory(pairs, transform, tokenizer(), progress=progress)


def fits(pairs: Pairs, transform: Transform, memory_limit_gib: float) -> bool:
    """Tell whether decoded pairs are held in memory."""
    height, width = transform.size
    return transform.augment is None and len(pairs) * height * width * 3 <= memory_limit_gib * 2**30


def verify(train: str, *, progress: store.Progress | None = None) -> tuple[int, list[tuple[str, str]]]:
    """Look at all samples of training data, and decode them.

    Args:
        train: The data, as `DataConfig.train`.
        progress: Told how far it is.

    Returns:
        How many samples can be used, and place and reason of each of the others.

    Raises:
        DataError: There is no such data, or no sample can be used.
    """
    pairs = open_pairs(train, progress=progress)
    opened = OpenShards(pairs)
    decoded = enumerate(opened.each(_decode, "decoding pictures", progress))
    faults = [(opened.where(n), found.reason) for n, found in decoded if isinstance(found, UnusableError)]
    return len(pairs) - len(faults), faults


def _decode(pair: Encoded) -> None:
    for data in (pair.picture, pair.objects):
        if data is not None:
            try:
                open_picture(data).load()
            except PILLOW_ERRORS:
                check_picture(data)
                raise UnusableError(DAMAGED) from None


def sources_of(train: str, *, progress: store.Progress | None = None) -> list[list[str]]:
    """Return the shards, paths or URLs, of each source that training data names (`DataConfig.source`).

    A built-in data set is made where it does not exist yet.

    Raises:
        DataError: Nothing is found, or a name would run a command.
    """
    return [_shards(part, train, progress) for part in train.split("::")]


def resolve(train: str, *, progress: store.Progress | None = None) -> list[str]:
    """Return the shards of all sources of training data, one after the other; see `sources_of`."""
    return [shard for source in sources_of(train, progress=progress) for shard in source]


def _shards(part: str, train: str, progress: store.Progress | None) -> list[str]:
    if store.is_builtin(part):
        folder = store.ensure(part, progress=progress)
        return [str(path) for path in sorted(folder.glob(store.read_manifest(folder).train))]
    _check_scheme(part)
    try:
        shards = expand(part)
        missing = [shard for shard in shards if not remote.is_remote(shard) and not Path(shard).is_file()]
    except (OSError, ValueError, RecursionError) as error:  # a name that no file can have, or open braces
        rule = f"this names no shards: {error}"
        raise DataError(rule, where="data.train", value=part[:200]) from None
    if missing or not shards:
        rule = (
            f"{len(missing)} of {len(shards)} shards are missing" if missing else "there are no shards here"
        )
        way_out = (
            "name a folder of .tar files, or PATH/{00000..00010}.tar; `pgsbench data ls` lists what is here"
        )
        if not re.search(r"[/\\{*.]", train):
            rule = "there is no such data set or folder"
            way_out = f"{nearest(train, [*store.BUILTIN, *store.own_names()])}; or {way_out}"
        raise DataError(rule, where="data.train", value=missing[0] if missing else train, way_out=way_out)
    return shards


def _check_scheme(part: str) -> None:
    # webdataset's readers run what stands behind `pipe:`; a study from elsewhere must not run anything.
    scheme = re.match(r"\s*([A-Za-z][A-Za-z0-9+.-]*):", part)
    if scheme and not remote.is_remote(part) and not Path(part).exists():
        raise DataError(
            "only files and the URLs of files are read, no commands",
            where="data.train",
            value=part[:200],
            way_out=f"name a folder, a pattern, or a URL that begins with {', '.join(remote.SCHEMES)}",
        )


def expand(pattern: str) -> list[str]:
    """Return the paths or URLs that a pattern stands for; a folder stands for its archives.

    Raises:
        DataError: A folder here and a data set of one's own have this name.
        ValueError: A brace is left open.
    """
    own = [store.own(pattern)] if pattern in store.own_names() else []
    folders = [folder for folder in (Path(pattern), *own) if folder.is_dir()]
    if len(folders) > 1:
        rule = "this names a folder here and a data set of your own"
        way_out = f"name the folder {folders[0].absolute()}, or rename one of them"
        raise DataError(rule, where="data.train", value=pattern, way_out=way_out)
    if folders:
        return [str(path) for path in sorted(folders[0].glob("*.tar"))]
    return [found for name in braceexpand(pattern) for found in _matches(name)]


def _matches(name: str) -> list[str]:
    if remote.is_remote(name):
        return remote.expand(name) if "*" in name else [name]
    if "*" not in Path(name).name:
        return [str(Path(name))]
    return [str(path) for path in sorted(Path(name).parent.glob(Path(name).name))]
