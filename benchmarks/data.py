"""What reading pairs costs, beside open_clip_train's own loader: ``python -m benchmarks.data [SHARDS]``."""

from __future__ import annotations

import io
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer
from PIL import Image
from torch import Tensor
from webdataset.tariterators import tar_file_expander

from benchmarks.script import show, start
from pgsbench.config.data import AugmentConfig, DataConfig
from pgsbench.data import shards
from pgsbench.data.samples import Tokenize
from pgsbench.data.tar import write_tar
from pgsbench.data.transforms import normalise
from pgsbench.models.clip import Clip, build
from pgsbench.models.openclip import open_clip

#: Of the pictures that are made where none are named: height, width, how many, in how many shards.
MADE = (480, 640, 256, 2)


def data_costs(train: str, *, image_size: int, batch_size: int, rounds: int) -> pd.DataFrame:
    """Time the reading of shards in one process, ours and open_clip_train's in turn, with one transform.

    Pictures are decoded, cropped and normalised as open_clip does by default, captions tokenised: both give
    the same. A training of ours normalises on its device instead; here that is timed with the reading.

    Args:
        train: The shards.
        image_size: Height and width in pixels.
        batch_size: Pairs in a batch.
        rounds: Times that each loader is timed, for four batches.

    Returns:
        One row for each loader; medians, of ratios where one is told.
    """
    with one_thread():
        loaders = _loaders(train, (image_size, image_size), batch_size)
        seconds: dict[str, list[float]] = {name: [] for name in loaders}
        for run in loaders.values():
            run()  # buffers fill, files come into memory
        for _ in range(rounds):
            for name, run in loaders.items():
                started = time.process_time()
                for _ in range(4):
                    run()
                seconds[name].append((time.process_time() - started) / 4 / batch_size)
    theirs = seconds["open_clip_train"]
    return pd.DataFrame(
        {
            "loader": name,
            "pairs/s": round(1 / median(found)),
            "of open_clip_train's": round(median(a / b for a, b in zip(theirs, found, strict=True)), 2),
        }
        for name, found in seconds.items()
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Give torch one thread, as in a reader process: threads that wait for one another take time, too."""
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


def open_clip_batches(
    shards: Sequence[str],
    *,
    image_size: tuple[int, int],
    augment: AugmentConfig,
    tokenize: Tokenize,
    batch_size: int,
    num_samples: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield normalised pictures and token ids as open_clip_train reads them, in this process, without end.

    Args:
        shards: The archives.
        image_size: (height, width) in pixels.
        augment: The numbers of its transform.
        tokenize: Texts to token ids.
        batch_size: Pairs in a batch.
        num_samples: Pairs in an epoch.
    """
    from open_clip_train import data  # it imports much

    # Since webdataset 1.0 an empty sample ends each shard, which open_clip_train does not expect.
    data.tar_file_expander = partial(tar_file_expander, eof_value=None)
    settings = {key: value for key, value in augment.model_dump(exclude={"ratio"}).items() if value}
    transform = open_clip.image_transform(image_size, is_train=True, aug_cfg=settings)
    wanted = Namespace(
        train_data="::".join(shards),
        train_num_samples=num_samples,
        dataset_resampled=False,
        train_data_upsampling_factors=None,
        seed=0,
        batch_size=batch_size,
        workers=0,
        world_size=1,
    )
    while True:
        loader = data.get_wds_dataset(wanted, transform, is_train=True, tokenizer=tokenize).dataloader
        yield from loader


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
    for start_step in (0, last):
        started = time.perf_counter()
        reader = shards.open_reader(shards.open_pairs(data), data, image_size=size, tokenize=tokenize)
        next(reader.batches(seed=0, batch_size=batch_size, start_step=start_step))
        found.append(time.perf_counter() - started)
    return found


def made_picture(rng: np.random.Generator, height: int, width: int, *, subsampling: int = 2) -> bytes:
    """Return a JPEG file of noise with coarse shapes and some grain, as photographs have.

    Args:
        rng: Draws it.
        height: In pixels.
        width: Likewise.
        subsampling: Pillow's number of the sampling of colours; 2: 4:2:0.
    """
    pixels = np.zeros((height, width, 3))
    for scale in (4, 16, 64):
        noise = rng.integers(0, 256, (height // 100 * scale, width // 100 * scale, 3), dtype=np.uint8)
        resized = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
        pixels += np.asarray(resized) / scale
    pixels *= 255 / np.max(pixels)
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "jpeg", quality=90, subsampling=subsampling)
    return file.getvalue()


def _make(folder: Path) -> None:
    height, width, count, num_shards = MADE
    rng = np.random.default_rng(0)
    for shard in range(num_shards):
        samples = []
        for number in range(shard, count, num_shards):
            caption = f"a picture of smooth noise, the {number}th of its kind".encode()
            samples.append((f"{number:05d}", {"jpg": made_picture(rng, height, width), "txt": caption}))
        write_tar(folder / f"{shard}.tar", samples)


def main(
    train: Annotated[str | None, typer.Argument(help="Shards; default: some are made, of noise.")] = None,
    size: Annotated[int, typer.Option(help="Height and width in pixels.", min=16)] = 224,
    batch_size: Annotated[int, typer.Option(min=1)] = 64,
    rounds: Annotated[int, typer.Option(help="Times that each loader is timed.", min=1)] = 5,
) -> None:
    """Time the reading of pairs beside open_clip_train's own loader, on one core."""
    with nullcontext(train) if train else TemporaryDirectory() as place:
        if not train:
            _make(Path(place))
        table = data_costs(place, image_size=size, batch_size=batch_size, rounds=rounds)
        with one_thread():
            fresh, late = _starts(place, (size, size), batch_size)
    show(
        f"Reading pairs, a second and core, at {size} pixels",
        table,
        "Processor time of one process without reader processes.",
        "Both give normalised pictures and token ids, with equal pixels where decoding is not scaled.",
        f"First batch: {fresh:.2f} s after a start at the beginning, {late:.2f} s at 90 % of 30 epochs.",
    )


if __name__ == "__main__":
    start(main)
