"""clip_benchmark's local layouts: written here by the data generators, read here by the evaluation.

======================  =======================================================================
layout                  files under the folder of one data set
======================  =======================================================================
classification          ``classnames.txt``, ``zeroshot_classification_templates.txt`` (``{c}``),
                        ``test/nshards.txt``, ``test/{0..}.tar`` with KEY.jpg|png|webp and KEY.cls;
                        ``train/...`` likewise, for linear probes
retrieval               ``dataset_type.txt`` = "retrieval", ``test/...`` with KEY.jpg|png|webp and
                        KEY.txt, one caption a line
pairs (SugarCrepe)      ``val2017/*`` pictures and one JSON file per subset:
                        ``{id: {"filename", "caption", "negative_caption"}}``
======================  =======================================================================

Tools that read clip_benchmark's layouts read these folders, and folders made for clip_benchmark are
read here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import islice
from pathlib import Path

from pgsbench.data.tar import EncodedImage, count_tar, image_of, read_tar, write_tar
from pgsbench.errors import DataError, nearest

PAIRS_IMAGE_FOLDER = "val2017"

#: Where a sample has several pictures, an evaluation takes the first of these, as clip_benchmark does.
IMAGE_ORDER = ("webp", "png", "jpg", "jpeg")

#: More shards than this in one split are a damaged count.
MAX_SHARDS = 1_000_000

_PLAIN_NAME = re.compile(r"[\w+-][\w.+-]*")


@dataclass(frozen=True)
class Pair:
    """One image with a right and a wrong caption."""

    image_key: str
    caption: str
    negative_caption: str


# -------------------------------------------------------------------------------------------- writing


def write_classification(
    folder: Path,
    samples: Iterable[tuple[str, EncodedImage, int]],
    *,
    classnames: Sequence[str],
    templates: Sequence[str],
    samples_per_shard: int = 2000,
    split: str = "test",
) -> int:
    """Write a classification set and return its size.

    Args:
        folder: Where; made if missing.
        samples: ``(key, image, class index)``.
        classnames: One name per class, in index order.
        templates: Prompt templates; ``{c}`` stands for the class name.
        samples_per_shard: Samples in one archive.
        split: ``"test"``, or ``"train"`` for what a linear probe learns from.
    """
    parts = ((key, image.members | {"cls": str(label).encode()}) for key, image, label in samples)
    count = _write_split(folder / split, parts, samples_per_shard)
    _write_lines(folder / "classnames.txt", classnames)
    _write_lines(folder / "zeroshot_classification_templates.txt", templates)
    return count


def write_retrieval(
    folder: Path, samples: Iterable[tuple[str, EncodedImage, Sequence[str]]], *, samples_per_shard: int = 2000
) -> int:
    """Write a retrieval set (``(key, image, captions)``) and return its number of images."""
    parts = ((key, image.members | {"txt": "\n".join(captions).encode()}) for key, image, captions in samples)
    count = _write_split(folder / "test", parts, samples_per_shard)
    _write_lines(folder / "dataset_type.txt", ["retrieval"])
    return count


def write_pairs(
    folder: Path, images: Mapping[str, EncodedImage], subsets: Mapping[str, Sequence[Pair]]
) -> dict[str, int]:
    """Write image-caption pairs in SugarCrepe's format and return the size of each subset.

    Args:
        folder: Where; made if missing.
        images: Pictures by key; written once however many pairs use them.
        subsets: For example ``{"swap_att": [Pair(...), ...]}``, one JSON file each.
    """
    (folder / PAIRS_IMAGE_FOLDER).mkdir(parents=True, exist_ok=True)
    for key, image in images.items():
        (folder / PAIRS_IMAGE_FOLDER / f"{key}.{image.kind}").write_bytes(image.data)
    for name, pairs in subsets.items():
        entries = {
            str(i): {
                "filename": f"{pair.image_key}.{images[pair.image_key].kind}",
                "caption": pair.caption,
                "negative_caption": pair.negative_caption,
            }
            for i, pair in enumerate(pairs)
        }
        (folder / f"{name}.json").write_text(json.dumps(entries, indent=1) + "\n")
    return {name: len(pairs) for name, pairs in subsets.items()}


def _write_split(
    split: Path, samples: Iterable[tuple[str, Mapping[str, bytes]]], samples_per_shard: int
) -> int:
    split.mkdir(parents=True, exist_ok=True)
    num_shards, count, rest = 0, 0, iter(samples)
    while shard := list(islice(rest, samples_per_shard)):
        count += write_tar(split / f"{num_shards}.tar", shard)
        num_shards += 1
    _write_lines(split / "nshards.txt", [str(num_shards)])
    return count


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


# -------------------------------------------------------------------------------------------- reading


def read_split(
    folder: Path, split: str = "test", *, keys: Collection[str] | None = None
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield the samples of a classification or retrieval set in order.

    Args:
        folder: The data set.
        split: Folder of the shards.
        keys: Only these samples; None: all.

    Raises:
        DataError: The folder, its shard count or a shard is missing or unreadable, or two samples have one
            key: results name their items by it.
    """
    known = set[str]()
    for shard in shards_of(folder / split):
        for key, parts in read_tar(shard, keys=keys):
            if key in known:
                raise DataError("two samples have the same key", where=str(shard), value=key)
            known.add(key)
            yield key, parts


def read_images(
    folder: Path, split: str = "test", *, keys: Collection[str] | None = None
) -> Iterator[tuple[str, str, EncodedImage, dict[str, bytes]]]:
    """Yield key, place for messages, picture and all parts of each sample of a split, in order.

    Args:
        folder: The data set.
        split: Folder of the shards.
        keys: Only these samples; None: all.

    Raises:
        DataError: As `read_split`, or a sample has no picture.
    """
    for key, parts in read_split(folder, split, keys=keys):
        where = f"{folder / split}: sample {key}"
        yield key, where, image_of(parts, where, kinds=IMAGE_ORDER), parts


def check_name(field: str, name: object) -> None:
    """Raise where a field that names a file or folder of a data set could lead out of it.

    Raises:
        ValueError: The name is no plain name.
    """
    if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name):
        raise ValueError(f"{field} must be a plain name without slashes, not {name!r}")


def count_split(folder: Path, split: str = "test") -> int:
    """Return how many samples a split has, without reading them.

    Raises:
        DataError: The shard count or a shard is missing or unreadable.
    """
    return sum(map(count_tar, shards_of(folder / split)))


def read_text(path: Path) -> str:
    """Return the content of a text file.

    Raises:
        DataError: There is no such file, or it is not UTF-8.
    """
    if not path.is_file():
        raise DataError(
            "the evaluation set lacks this file",
            where=str(path),
            way_out="docs/add-an-evaluation.md lists the files of each layout",
        )
    return decoded(path.read_bytes(), str(path))


def decoded(content: bytes, where: str) -> str:
    """Return bytes as text.

    Raises:
        DataError: They are not UTF-8.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"text must be UTF-8 ({error.reason} at byte {error.start})", where=where) from error


def read_lines(path: Path) -> list[str]:
    """Return the non-empty lines of a text file.

    Raises:
        DataError: There is no such file, or it is not UTF-8.
    """
    return [line for line in read_text(path).splitlines() if line.strip()]


def read_pairs(folder: Path, subset: str) -> list[Pair]:
    """Return one subset of a set in SugarCrepe's format; `image_key` is the file name.

    Raises:
        DataError: The file is missing or not of this format.
    """
    path = folder / f"{subset}.json"
    if not path.is_file():
        there = sorted(file.stem for file in folder.glob("*.json"))
        raise DataError(
            "the evaluation set lacks this subset", where=str(path), way_out=nearest(subset, there)
        )
    try:
        entries = json.loads(read_text(path))
        found = [Pair(e["filename"], e["caption"], e["negative_caption"]) for e in entries.values()]
        if odd := [part for pair in found for part in astuple(pair) if not isinstance(part, str)]:
            raise TypeError(f"{odd[0]!r} is no text")
        return found
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise DataError(
            f"not a SugarCrepe file ({type(error).__name__}: {error})",
            where=str(path),
            way_out="each entry needs filename, caption and negative_caption",
        ) from error


def check_pictures(folder: Path, file_names: Iterable[str], where: Path) -> None:
    """Raise where a folder of pictures lacks one that is asked for.

    Args:
        folder: The folder of pictures.
        file_names: Names of files in it.
        where: The file that asks for them.

    Raises:
        DataError: Pictures are missing.
    """
    there = {path.name for path in folder.iterdir() if path.is_file()} if folder.is_dir() else set()
    if missing := sorted(set(file_names) - there):
        raise DataError(
            f"{len(missing)} pictures are missing in {folder.name}",
            where=str(where),
            value=missing[:3],
            way_out="copy, fetch or make them again",
        )


def read_pictures(folder: Path, file_names: Iterable[str]) -> Iterator[tuple[str, EncodedImage]]:
    """Yield image files of a folder, each with its path."""
    for name in file_names:
        path = folder / name
        yield str(path), EncodedImage(path.read_bytes(), path.suffix.removeprefix("."))


def shards_of(split: Path) -> list[Path]:
    """Return the archives that a split says it has, whether they are there or not.

    Raises:
        DataError: It does not say how many there are.
    """
    path = split / "nshards.txt"
    text = read_text(path).strip()
    try:
        if (count := int(text)) not in range(MAX_SHARDS):
            raise ValueError
    except ValueError:
        raise DataError("must hold the number of shards", where=str(path), value=text[:20]) from None
    return [split / f"{number}.tar" for number in range(count)]
