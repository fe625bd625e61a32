"""Sets that clip_benchmark builds itself, through torchvision or TFDS: written once into its layout.

clip_benchmark's own copy of a set (archives, torchvision's folders, records of TFDS) lies under the root in
``clip_benchmark/NAME``: linked there by the user, or downloaded by clip_benchmark. The result is written to
``wds_NAME``, the pictures as PNG and so without loss. ``export.json`` says what it was made from.
"""

from __future__ import annotations

import io
import itertools
import json
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image

from pgsbench.data import evalset, fetch, public
from pgsbench.data.tar import EncodedImage
from pgsbench.errors import DataError

COPIES = "clip_benchmark"
MANIFEST = "export.json"


def copy_of(known: public.PublicSet, root: Path) -> tuple[str, Path] | None:
    """Return clip_benchmark's name of a set and its copy under the root; None: there is no copy.

    ``vtab/NAME`` is built through TFDS. If only torchvision's set ``NAME`` is there, that is taken; its size
    tells whether its test split is another.
    """
    for name in (known.name, known.name.removeprefix("vtab/")):
        if (root / COPIES / name).is_dir():
            return name, root / COPIES / name
    return None


def export(known: public.PublicSet, splits: Collection[str], root: Path) -> Path:
    """Build a set as clip_benchmark does, write splits of it and return its folder.

    Args:
        known: The set.
        splits: For example ``("test",)``.
        root: The folder of all data sets.

    Raises:
        DataError: clip_benchmark has no such set, a package or the network is missing, or the set is of
            another kind.
    """
    name, source = copy_of(known, root) or (known.name, root / COPIES / known.name)
    if fetch.is_offline() and not source.is_dir():
        raise DataError(
            "there is no copy of this set, and HF_HUB_OFFLINE forbids the network",
            where=str(source),
            value=known.name,
            way_out=_way_out(known),
        )
    folder = root / known.folder
    staging = root / f".{known.folder}.export"
    shutil.rmtree(staging, ignore_errors=True)
    counts = {}
    try:
        for split in splits:
            with _said(known, name, source):
                counts[split] = _write(staging, split, _build(name, source, split), name)
        _publish(staging, folder, {"name": name, "source": str(source), "splits": counts})
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def _build(name: str, source: Path, split: str) -> Any:
    from clip_benchmark.datasets import builder

    return builder.build_dataset(
        name,
        root=str(source),
        transform=None,
        split=split,
        download=not fetch.is_offline(),
        task=builder.get_dataset_default_task(name),
    )


def _write(folder: Path, split: str, dataset: Any, name: str) -> int:
    """Write one split of a data set of (picture, class number) or of (picture, captions); return its size."""
    samples = _samples(dataset)
    first = next(samples, None)
    if first is None:
        raise DataError("the set holds no pictures", value=name)
    target, samples = first[2], itertools.chain([first], samples)
    if isinstance(target, str | list | tuple):
        captions = (
            (key, _png(image), [found] if isinstance(found, str) else found) for key, image, found in samples
        )
        return evalset.write_retrieval(folder, captions)
    try:
        int(target)
        classnames, templates = list(dataset.classes), list(dataset.templates)
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise DataError(
            f"neither one class a picture nor captions ({error})",
            value=name,
            way_out="export it with clip_benchmark_export_wds and put the result under the same root",
        ) from error
    labelled = ((key, _png(image), int(label)) for key, image, label in samples)
    return evalset.write_classification(
        folder, labelled, classnames=classnames, templates=templates, split=split
    )


def _samples(dataset: Any) -> Iterator[tuple[str, Any, Any]]:
    # TFDS gives streams. What torchvision gives has places, and not always an end beyond its length.
    items = iter(dataset) if hasattr(dataset, "__iter__") else (dataset[i] for i in range(len(dataset)))
    for number, (image, target) in enumerate(items):
        yield f"{number:08}", image, target


def _png(image: Image.Image) -> EncodedImage:
    file = io.BytesIO()
    image.convert("RGB").save(file, "PNG", compress_level=1)
    return EncodedImage(file.getvalue(), "png")


def _publish(staging: Path, folder: Path, manifest: dict[str, Any]) -> None:
    """Move what was written to its place, the manifest last."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(staging.iterdir()):
        target = folder / path.name
        if target.is_dir():
            shutil.rmtree(target)
        path.replace(target)
    libraries = {library: version(library) for library in ("clip_benchmark", "torchvision")}
    (folder / MANIFEST).write_text(json.dumps({**manifest, "libraries": libraries}, indent=1) + "\n")


def _way_out(known: public.PublicSet) -> str:
    doubt = "" if known.is_known else f"{known.source}; "  # the name may be mistyped
    return (
        f"{doubt}put or link its files there as clip_benchmark wants them under --dataset_root, or run this "
        "where there is a network"
    )


@contextmanager
def _said(known: public.PublicSet, name: str, source: Path) -> Iterator[None]:
    """Turn what clip_benchmark raises where it cannot build a set into what a user can do."""
    try:
        yield
    except DataError:
        raise
    except ModuleNotFoundError as error:
        raise DataError(
            f"clip_benchmark builds this set with {error.name}, which is not installed",
            value=name,
            way_out=f"install it (pip install {error.name})",
        ) from error
    except (Exception, SystemExit) as error:  # its builders raise, assert and exit as they like
        rule = "clip_benchmark has no set of this name"
        if not (isinstance(error, ValueError) and str(error).startswith("Unsupported dataset")):
            rule = f"clip_benchmark cannot build this set: {type(error).__name__}: {str(error)[:200]}"
        raise DataError(
            rule,
            where=str(source),
            value=name,
            way_out=_way_out(known),
        ) from error
