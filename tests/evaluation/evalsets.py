"""Pictures, suites and counts that the tests of the evaluation share."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, nn

from pgsbench.data.tar import EncodedImage
from pgsbench.evaluation.evaluate import evaluate
from pgsbench.evaluation.suite import Suite, load_suite
from pgsbench.evaluation.task_data import Availability, survey
from pgsbench.models.clip import Clip
from pgsbench.records.scores import Scores

#: Protocols as they stand in a file.
MINE = """
from dataclasses import dataclass
from pgsbench.evaluation.protocols.zero_shot import ZeroShot
@dataclass(frozen=True)
class Mine(ZeroShot):
    pass
@dataclass(frozen=True)
class Yours(ZeroShot):
    pass
"""

#: What `counted` says where no model was asked.
NOTHING = {"encode_image": 0, "encode_text": 0}


@contextmanager
def counted(model: nn.Module) -> Iterator[dict[str, int]]:
    """Count the pictures and texts that pass through the towers."""
    seen = {"encode_image": 0, "encode_text": 0}
    originals = {name: getattr(model, name) for name in seen}

    def watch(name: str) -> Callable[[Tensor], Tensor]:
        def tower(batch: Tensor) -> Tensor:
            seen[name] += len(batch)
            return originals[name](batch)

        return tower

    for name in seen:
        setattr(model, name, watch(name))
    try:
        yield seen
    finally:
        for name in seen:
            delattr(model, name)


def picture(
    seed: int, size: tuple[int, int] = (32, 32), kind: str = "png", mode: str = "RGB", tint: int | None = None
) -> EncodedImage:
    """A picture of coarse random blocks as an image file, those above bright in the channel `tint`."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    if tint is not None:
        blocks[:2, :, tint] = 255
    image = Image.fromarray(blocks).resize(size, Image.Resampling.BILINEAR).convert(mode)
    file = io.BytesIO()
    image.save(file, {"jpg": "JPEG"}.get(kind, kind.upper()))
    return EncodedImage(file.getvalue(), kind)


def write_four(data: Path, folder: Path) -> Path:
    """Write the suite and what it needs below `folder`, where tests may change them."""
    shutil.copytree(data, folder / "data")
    path = folder / "mine.yaml"
    path.write_text("""
name: mine
version: 3
tasks:
  - {name: my/six, data: data/classes, protocol: zero_shot, group: a}
  - {name: my/two, data: data/two, protocol: zero_shot, group: a, metric: mean_per_class_recall}
  - {name: my/find, data: data/retrieval, protocol: retrieval, group: b, version: 2}
  - {name: my/swap, data: data/pairs, protocol: compositional, group: c, subset: swap_att, chance: 0.4}
""")
    return path


def run(tiny: Clip, suite: Path, **more: Any) -> Scores:
    given = {"checkpoint_sha256": "abc", "out": suite.parent / "out", "batch_size": 16} | more
    return evaluate(tiny, load_suite(suite), **given)


def write_suite(folder: Path, *tasks: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text("name: mine\ntasks:\n" + "".join(f"  - {task}\n" for task in tasks))
    return path


def suite_of(folder: Path, *tasks: str) -> Suite:
    return load_suite(write_suite(folder, *tasks))


def classes(name: str, **more: object) -> str:
    extra = "".join(f", {key}: {value}" for key, value in more.items())
    return f'{{name: {name}, data: "clip_benchmark:{name}", protocol: zero_shot, group: g{extra}}}'


def states(suite: Suite) -> dict[str, Availability]:
    return {one.data.partition(":")[2]: one for one in survey(suite)}
