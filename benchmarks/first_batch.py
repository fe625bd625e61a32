"""How soon data gives its first batch, beside open_clip_train's loader: ``python -m benchmarks.first_batch``.

Small shards are made in the layout of CC12M as img2dataset leaves it. Each figure comes from a process of its
own.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import forkserver
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from benchmarks.data import made_picture, open_clip_batches
from benchmarks.script import show, start
from pgsbench.config.data import AugmentConfig, DataConfig
from pgsbench.data import shards
from pgsbench.data.tar import write_tar
from pgsbench.models.clip import build

PAIRS, PICTURES, SIZE = 100, 64, 256
#: In which readers have read ahead as far as they may, and wait.
REST_SECONDS = 5.0
Measured = dict[str, float]


def make(folder: Path, num_shards: int) -> None:
    """Write shards of `PAIRS` pairs, KEY.jpg, KEY.txt, KEY.json, and ``sizes.json``."""
    rng = np.random.default_rng(0)
    pool = [made_picture(rng, SIZE, SIZE) for _ in range(PICTURES)]
    folder.mkdir()
    told = json.dumps({"url": "x" * 150}).encode()
    for shard in range(num_shards):
        samples = []
        for number in range(PAIRS):
            picture, text = pool[(7 * shard + number) % PICTURES], f"picture {number} of shard {shard}"
            samples.append((f"{shard:05d}{number:04d}", {"jpg": picture, "txt": text.encode(), "json": told}))
        write_tar(folder / f"{shard:05d}.tar", samples)
    (folder / "sizes.json").write_text(json.dumps({f"{n:05d}.tar": PAIRS for n in range(num_shards)}))


def ours(
    folder: Path, data_folder: Path, batch_size: int, *, workers: int, at: float = 0.0, times: int = 1
) -> Measured:
    """Return what a first batch takes, the last of some in one process; `at` is its place in an epoch."""
    os.environ["PGSBENCH_DATA"] = str(data_folder)
    clip, data = build("tiny-vit", seed=0), DataConfig(train=str(folder), workers=workers)
    found = Measured()
    for _ in range(times):
        before, cpu, started = _memory(), _cpu(), time.perf_counter()
        pairs = shards.open_pairs(data)
        opened = time.perf_counter() - started
        grown = (_memory() - before) / len(pairs)
        reader = shards.open_reader(pairs, data, image_size=(224, 224), tokenize=clip.tokenize)
        step = int(at * len(pairs)) // batch_size
        batches = reader.batches(seed=0, batch_size=batch_size, start_step=step)
        next(batches)
        found = {"open s": opened, "first batch s": time.perf_counter() - started, "bytes/pair": grown}
        found["cpu s"] = _cpu() - cpu
        if workers:
            time.sleep(REST_SECONDS)
            found["reader MB"] = _readers_memory() / 1e6
        del batches
    return found


def theirs(folder: Path, data_folder: Path, batch_size: int, *, num_samples: int) -> Measured:
    """Return what open_clip_train's loader takes to its first batch; it must be told the count."""
    clip, before, cpu, started = build("tiny-vit", seed=0), _memory(), _cpu(), time.perf_counter()
    batches = open_clip_batches(
        [str(path) for path in sorted(folder.glob("*.tar"))],
        image_size=(224, 224),
        augment=AugmentConfig(),
        tokenize=clip.tokenize,
        batch_size=batch_size,
        num_samples=num_samples,
    )
    next(batches)
    seconds = time.perf_counter() - started
    return {"first batch s": seconds, "bytes/pair": (_memory() - before) / num_samples, "cpu s": _cpu() - cpu}


def _memory() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return float(pages * resource.getpagesize())


def _cpu() -> float:
    """Return the processor time of this process, its readers and the process they are forked from (Linux)."""
    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]  # told nowhere else
    ticks = 0
    for pid in (os.getpid(), server, *(child.pid for child in multiprocessing.active_children())):
        if pid is not None:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))  # its own, and of children that have ended
    return ticks / os.sysconf("SC_CLK_TCK")


def _readers_memory() -> float:
    """Return the largest memory of a reader that it shares with no other process, in bytes (Linux)."""
    found = [0.0]
    for child in multiprocessing.active_children():
        lines = Path(f"/proc/{child.pid}/smaps_rollup").read_text().splitlines()[1:]
        told = {name: int(value) for name, value, *_ in map(str.split, lines)}
        found.append(1024.0 * (told["Private_Clean:"] + told["Private_Dirty:"]))
    return max(found)


def _apart(measure: Callable[..., Measured], *inputs: Any) -> Measured:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *inputs).result()


def main(
    num_shards: Annotated[int, typer.Option("--shards", help="Shards of 100 pairs.", min=2)] = 1243,
    batch_size: Annotated[int, typer.Option(min=1)] = 64,
) -> None:
    """Time the way to a first batch of many shards, with and without counts, and of a resume."""
    rows: dict[str, Measured] = {}
    with TemporaryDirectory() as place:
        root = Path(place)
        make(root / "one", 1)
        make(root / "many", num_shards)
        here = partial(ours, workers=0)
        two, late = partial(ours, workers=2), partial(ours, workers=0, at=0.9)
        second = partial(ours, workers=2, times=2)
        for row, measure, name, data in (
            ("1 shard, sizes.json", here, "one", "a"),
            (f"{num_shards:,} shards, sizes.json", here, "many", "b"),
            ("the same again", here, "many", "b"),
            ("the same at 90 % of an epoch", late, "many", "b"),
            ("the same, 2 reader processes", two, "many", "b"),
            ("the same, second run of a process", second, "many", "b"),
            (f"{num_shards:,} shards, no counts", here, "many", "c"),
        ):
            if data == "c":
                (root / "many" / "sizes.json").unlink()
            rows[row] = _apart(measure, root / name, root / f"data-{data}", batch_size)
        yardstick = partial(theirs, num_samples=PAIRS * num_shards)
        rows["open_clip_train, told the count"] = _apart(yardstick, root / "many", root, batch_size)
    table = pd.DataFrame([{"data": row, **found} for row, found in rows.items()]).round(2)
    counted = rows[f"{num_shards:,} shards, no counts"]["open s"] / num_shards / PAIRS
    show(
        f"The first batch of {batch_size} pairs",
        table,
        f"Without counts opening takes {1000 * counted:.3f} ms a pair.",
        "bytes/pair: how much the process grew while the data was opened.",
        "cpu s: with readers. reader MB: what a reader at rest shares with no other process.",
    )


if __name__ == "__main__":
    start(main)
