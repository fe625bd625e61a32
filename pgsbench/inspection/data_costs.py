"""What reading pairs costs: samples a second and core, beside open_clip_train's own loader."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pgsbench.config.augmentation import AugmentConfig
from pgsbench.config.schema import DataConfig
from pgsbench.data import shards
from pgsbench.data.store import Progress
from pgsbench.data.tar import write_tar
from pgsbench.data.transforms import normalise
from pgsbench.models.clip import Clip, build
from pgsbench.models.wds_loader import open_clip_batches
from pgsbench.reporting.render import Table

#: Of the pictures that are made where none are named: height, width, how many, in how many shards.
MADE = (480, 640, 256, 2)


def bench_data(
    train: str | None,
    *,
    image_size: int = 224,
    batch_size: int = 64,
    rounds: int = 5,
    progress: Progress = lambda *_: None,
) -> Table:
    """Time the reading of shards in one process, ours and open_clip_train's in turn, with one transform.

    Pictures are decoded, cropped and normalised as open_clip does by default, captions tokenised: both give
    the same. A training of ours normalises on its device instead; here that is timed with the reading.

    Args:
        train: The shards; None: some are made, of smooth noise.
        image_size: Height and width in pixels.
        batch_size: Pairs in a batch.
        rounds: Times that each loader is timed, for four batches.
        progress: Told how far it is.
    """
    with _one_thread(), nullcontext(train) if train else TemporaryDirectory() as place:
        if not train:
            _make(Path(place))
        loaders = _loaders(str(place), (image_size, image_size), batch_size)
        seconds: dict[str, list[float]] = {name: [] for name in loaders}
        for run in loaders.values():
            run()  # buffers fill, files come into memory
        for number in range(rounds):
            for name, run in loaders.items():
                started = time.process_time()
                for _ in range(4):
                    run()
                seconds[name].append((time.process_time() - started) / 4 / batch_size)
            progress("timing loaders", number + 1, rounds)
        fresh, late = _starts(str(place), (image_size, image_size), batch_size)
    theirs = seconds["open_clip_train"]
    rows = [
        [
            name,
            f"{1 / median(found):.0f}",
            f"{median(their / our for their, our in zip(theirs, found, strict=True)):.2f}",
        ]
        for name, found in seconds.items()
    ]
    return Table(
        f"Pairs a second and core, at {image_size} pixels",
        ["loader", "pairs/s", "of open_clip_train's"],
        rows,
        [
            "Processor time of one process without reader processes; medians, of ratios where one is told.",
            "Both give normalised pictures and token ids, with equal pixels where decoding is not scaled.",
            f"First batch: {fresh:.2f} s after a start at the beginning, {late:.2f} s at 90 % of 30 epochs.",
        ],
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    # As in a reader process. On a busy machine threads that wait for one another take processor time, too.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _loaders(train: str, size: tuple[int, int], batch_size: int) -> dict[str, Callable[[], object]]:
    augment, clip = AugmentConfig(), build("tiny-vit", seed=0)
    data = DataConfig(train=train, augment=augment, workers=0, max_bad_share=1.0)
    pairs = shards.open_pairs(data)
    theirs = open_clip_batches(
        pairs.shards,
        image_size=size,
        augment=augment,
        tokenize=clip.tokenize,
        batch_size=batch_size,
        num_samples=len(pairs),
    )
    scaled = data.model_copy(update={"scaled_decoding": True})
    return {
        "open_clip_train": lambda: next(theirs),
        "pgsbench": _ours(data, size, batch_size, clip).__next__,
        "pgsbench, data.scaled_decoding": _ours(scaled, size, batch_size, clip).__next__,
    }


def _ours(
    data: DataConfig, size: tuple[int, int], batch_size: int, clip: Clip
) -> Iterator[tuple[Tensor, Tensor]]:
    reader = shards.open_reader(shards.open_pairs(data), data, image_size=size, tokenize=clip.tokenize)
    for batch in reader.batches(seed=0, batch_size=batch_size):
        yield normalise(batch.images, clip.mean, clip.std), batch.texts


def _starts(train: str, size: tuple[int, int], batch_size: int) -> list[float]:
    """Return the seconds to a first batch, data opened anew: at the beginning, and at 90 % of 30 epochs."""
    found, tokenize = [], build("tiny-vit", seed=0).tokenize
    data = DataConfig(train=train, augment=AugmentConfig(), workers=0, max_bad_share=1.0)
    last = 27 * len(shards.open_pairs(data)) // batch_size
    for start in (0, last):
        started = time.perf_counter()
        reader = shards.open_reader(shards.open_pairs(data), data, image_size=size, tokenize=tokenize)
        next(reader.batches(seed=0, batch_size=batch_size, start_step=start))
        found.append(time.perf_counter() - started)
    return found


def _make(folder: Path) -> None:
    height, width, count, num_shards = MADE
    rng = np.random.default_rng(0)
    for shard in range(num_shards):
        samples = []
        for number in range(shard, count, num_shards):
            pixels = np.zeros((height, width, 3))
            for scale in (4, 16, 64):  # coarse shapes and some grain, as photographs have
                noise = rng.integers(0, 256, (height // 100 * scale, width // 100 * scale, 3), dtype=np.uint8)
                resized = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
                pixels += np.asarray(resized) / scale
            pixels *= 255 / np.max(pixels)
            file = io.BytesIO()
            Image.fromarray(pixels.astype(np.uint8)).save(file, "jpeg", quality=90)
            caption = f"a picture of smooth noise, the {number}th of its kind".encode()
            samples.append((f"{number:05d}", {"jpg": file.getvalue(), "txt": caption}))
        write_tar(folder / f"{shard}.tar", samples)
