"""Writing a data set of scenes: training archives by a pool of processes, then the evaluation sets.

Every archive and every picture set draws from a generator of its own, seeded by the recipe's seed, a
stream and a number: the bytes do not depend on how many processes work.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from pgsbench.data.evalset import write_classification, write_pairs, write_retrieval
from pgsbench.data.store import Progress
from pgsbench.data.tar import EncodedImage, write_tar
from pgsbench.errors import DataError
from pgsbench.worlds import pictures
from pgsbench.worlds.scenes import Recipe, pairs
from pgsbench.worlds.scenes.captions import caption
from pgsbench.worlds.scenes.paint import Look, paint
from pgsbench.worlds.scenes.scene import Scenes, draw, draw_mixed, draw_single
from pgsbench.worlds.scenes.words import BACKGROUNDS, COLOURS, COUNTS, SHAPES

CHUNK = 64  # pictures painted at once: larger chunks leave the processor's cache
SMALL = 2_000  # for fewer pictures, starting processes costs more than it saves
NUM_CAPTIONS = 5

CLASSES = {"shape": SHAPES, "colour": COLOURS, "background": BACKGROUNDS, "count": COUNTS}
TEMPLATES = {
    "shape": ("a {c}", "a photo of a {c}", *(f"a {colour} {{c}}" for colour in COLOURS)),
    "colour": tuple(f"a {{c}} {shape}" for shape in SHAPES),
    "background": tuple(f"a {shape} on {{c}}" for shape in SHAPES),
    "count": ("{c}", *(f"{{c}}, a {shape}" for shape in SHAPES)),
}

# Streams of random numbers; the order is part of the recipe's version.
_TRAIN, _SINGLE, _SHIFTED, _RETRIEVAL = range(4)


@dataclass(frozen=True)
class Shift:
    """One kind of shift.

    Attributes:
        look: How the scenes are painted.
        damage: What happens to the finished pictures.
        fresh: Draw other scenes instead of repainting the clean ones.
        scale: Factor on the objects' radii.
        keeps_colour: Whether the colour task makes sense under the shift.
    """

    look: Look = Look()  # noqa: RUF009  (frozen)
    damage: pictures.Damage = pictures.untouched
    fresh: bool = False
    scale: float = 1.0
    keeps_colour: bool = True

    def change(self, scenes: Scenes) -> Scenes:
        """Return the scenes as this shift shows them."""
        return replace(scenes, radius=(scenes.radius * self.scale).astype(np.float32))


SHIFTS = {
    "resampled": Shift(fresh=True),
    "small": Shift(scale=0.62),
    "cluttered": Shift(look=Look(extra_things=7)),
    "lowcontrast": Shift(look=Look(opacity=(0.35, 0.50))),
    "rendition": Shift(look=Look(flat=True)),
    "sketch": Shift(look=Look(flat=True), damage=pictures.sketch, keeps_colour=False),
    "noise": Shift(damage=pictures.noise),
    "blur": Shift(damage=pictures.blur),
    "brightness": Shift(damage=pictures.brightness),
}


def write(
    folder: Path, recipe: Recipe, *, source: Path | None = None, progress: Progress | None = None
) -> dict[str, int]:
    """Write the data set into an empty folder and return the size of each evaluation set.

    Args:
        folder: Where.
        recipe: What to make.
        source: None.
        progress: Told after each archive or set.

    Raises:
        DataError: There is a source.
    """
    if source is not None:
        raise DataError("scenes are generated, not read", where="--from", value=str(source))
    (folder / "train").mkdir()
    num_shards = -(-recipe.num_train // recipe.train_shard)
    tasks = [
        *(partial(_write_train_shard, recipe, folder / "train", number) for number in range(num_shards)),
        partial(_write_single, recipe, folder / "eval"),
        partial(_write_retrieval, recipe, folder / "eval"),
        *(partial(_write_shifted, recipe, folder / "eval", name) for name in SHIFTS),
    ]
    sizes: dict[str, int] = {}
    progress = progress or (lambda *_: None)
    progress("making scenes", 0, len(tasks))
    for number, found in enumerate(_run(tasks, parallel=recipe.num_train >= SMALL), 1):
        sizes |= found
        progress("making scenes", number, len(tasks))
    return sizes


def _run(tasks: list[partial[dict[str, int]]], *, parallel: bool) -> Iterator[dict[str, int]]:
    """Yield what the tasks return, in their order."""
    if not parallel:
        yield from (task() for task in tasks)
        return
    pool = ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"), initializer=_ignore_interrupt)
    try:
        futures: list[Future[dict[str, int]]] = [pool.submit(task) for task in tasks]
        for future in futures:
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _ignore_interrupt() -> None:
    # Ctrl-C reaches the whole process group; only the parent should answer it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


# ------------------------------------------------------------------------------------------- pictures


def _seed(recipe: Recipe, stream: int, number: int = 0) -> np.random.SeedSequence:
    return np.random.SeedSequence([recipe.seed, stream, number])


def _render(
    seed: np.random.SeedSequence, scenes: Scenes, recipe: Recipe, shift: Shift = Shift()
) -> list[EncodedImage]:
    """Paint scenes and return them as JPEG files with their object maps."""
    found: list[EncodedImage] = []
    chunks = -(-len(scenes) // CHUNK)
    for number, child in enumerate(seed.spawn(chunks)):
        part = scenes[number * CHUNK : (number + 1) * CHUNK]
        painted, objects = paint(child, part, recipe.image_size, recipe.knobs, shift.look)
        damaged = shift.damage(np.random.default_rng(child.spawn(1)[0]), painted)
        for pixels, ids in zip(pictures.to_bytes(damaged), objects, strict=True):
            found.append(pictures.encoded(pixels, ids, recipe.jpeg_quality))
    return found


# ------------------------------------------------------------------------------------------- archives


def _write_train_shard(recipe: Recipe, folder: Path, number: int) -> dict[str, int]:
    first = number * recipe.train_shard
    n = min(recipe.train_shard, recipe.num_train - first)
    drawing, painting = _seed(recipe, _TRAIN, number).spawn(2)
    rng = np.random.default_rng(drawing)
    scenes = draw_mixed(rng, n, recipe.knobs)
    captions = [caption(rng, scenes, row) for row in range(n)]
    images = _render(painting, scenes, recipe)
    write_tar(
        folder / f"{number:05d}.tar",
        (
            (f"{first + row:06d}", {"jpg": image.data, "txt": text.encode(), "objects.png": image.objects})
            for row, (image, text) in enumerate(zip(images, captions, strict=True))
        ),
    )
    return {}


def _single(recipe: Recipe) -> tuple[Scenes, np.random.SeedSequence]:
    drawing, painting = _seed(recipe, _SINGLE).spawn(2)
    return draw_single(np.random.default_rng(drawing), recipe.num_single, recipe.knobs), painting


def _write_tasks(
    folder: Path, names: dict[str, str], keys: Sequence[str], images: Sequence[EncodedImage], scenes: Scenes
) -> dict[str, int]:
    """Write classification sets of the same pictures, one for each name -> task, and return their sizes."""
    labels = {
        "shape": scenes.shape[:, 0],
        "colour": scenes.colour[:, 0],
        "background": scenes.background,
        "count": scenes.count - 1,
    }
    return {
        name: write_classification(
            folder / name,
            zip(keys, images, labels[task].tolist(), strict=True),
            classnames=CLASSES[task],
            templates=TEMPLATES[task],
        )
        for name, task in names.items()
    }


def _write_single(recipe: Recipe, folder: Path) -> dict[str, int]:
    scenes, painting = _single(recipe)
    keys = [f"single{row:05d}" for row in range(len(scenes))]
    names = {task: task for task in ("shape", "colour", "background")}
    return _write_tasks(folder, names, keys, _render(painting, scenes, recipe), scenes)


def _write_shifted(recipe: Recipe, folder: Path, name: str) -> dict[str, int]:
    shift = SHIFTS[name]
    scenes, painting = _single(recipe)
    if shift.fresh:
        drawing, painting = _seed(recipe, _SHIFTED).spawn(2)
        scenes = draw_single(np.random.default_rng(drawing), recipe.num_shifted, recipe.knobs)
    scenes = shift.change(scenes[: recipe.num_shifted])
    # Repaints of the unshifted pictures keep their keys, so that statistics know what belongs together.
    prefix = "fresh" if shift.fresh else "single"
    keys = [f"{prefix}{row:05d}" for row in range(len(scenes))]
    tasks = ("shape", "colour") if shift.keeps_colour else ("shape",)
    images = _render(painting, scenes, recipe, shift)
    return _write_tasks(folder, {f"{name}-{task}": task for task in tasks}, keys, images, scenes)


def _write_retrieval(recipe: Recipe, folder: Path) -> dict[str, int]:
    """Write the retrieval set, and the count task and the pairs on the same pictures."""
    drawing, painting = _seed(recipe, _RETRIEVAL).spawn(2)
    rng = np.random.default_rng(drawing)
    n = recipe.num_retrieval
    scenes = draw(rng, 1 + rng.permutation(n) % len(COUNTS), recipe.knobs)
    captions = [[caption(rng, scenes, row) for _ in range(NUM_CAPTIONS)] for row in range(n)]
    images = _render(painting, scenes, recipe)
    keys = [f"scene{row:05d}" for row in range(n)]
    subsets = pairs.build(rng, scenes, keys, recipe.num_pairs)
    used = {pair.image_key for found in subsets.values() for pair in found}
    shown = {key: image for key, image in zip(keys, images, strict=True) if key in used}
    return {
        "retrieval": write_retrieval(folder / "retrieval", zip(keys, images, captions, strict=True)),
        **_write_tasks(folder, {"count": "count"}, keys, images, scenes),
        "sugarcrepe": sum(write_pairs(folder / "sugarcrepe", shown, subsets).values()),
    }
