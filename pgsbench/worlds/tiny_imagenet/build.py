"""Writes training shards and evaluation sets from the photos of the official archive, zipped or unpacked."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from pgsbench.data import public, store
from pgsbench.data.evalset import write_classification
from pgsbench.data.tar import EncodedImage, write_tar
from pgsbench.errors import DataError
from pgsbench.worlds import pictures
from pgsbench.worlds.tiny_imagenet import TEMPLATES, Recipe, caption, curated_names

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
TOP = "tiny-imagenet-200"
WAY_OUT = (
    f"give {TOP}.zip from {URL}, or the folder that it unpacks to: "
    "pgsbench data make tiny-imagenet --from PATH"
)

#: The kinds of damage, in turn.
DAMAGES = (pictures.noise, pictures.blur, pictures.brightness, pictures.sketch)

# Streams of random numbers; the order is part of the recipe's version.
_ORDER, _DAMAGE = range(2)

#: A file or folder, in an archive or not.
Place: TypeAlias = Path | zipfile.Path


@dataclass(frozen=True)
class Photo:
    """One photo of the archive.

    Attributes:
        key: Its file's name without the ending; unique.
        file: Where it is.
        wnid: WordNet id of its class.
        box: (left, top, right, bottom) of its object in pixels, the last ones included.
    """

    key: str
    file: Place
    wnid: str
    box: tuple[int, int, int, int]


def write(
    folder: Path, recipe: Recipe, *, source: Path | None = None, progress: store.Progress | None = None
) -> dict[str, int]:
    """Write the data set into an empty folder and return the size of each evaluation set.

    Args:
        folder: Where.
        recipe: What to make.
        source: The official archive, the folder that it unpacks to or the one above; None: it is fetched, and
            stays until the data set is made of it.
        progress: Told of every photo.

    Raises:
        DataError: The archive is missing, another one or damaged, or it cannot be fetched.
    """
    fetched = folder.parent / f".{TOP}.zip"
    if source is None and not fetched.is_file():
        try:
            public.download(URL, fetched)
        except DataError as error:
            raise DataError(error.rule, where=error.where, way_out=WAY_OUT) from error
    sizes = _Writer(_top(source or fetched), recipe, progress).write(folder)
    if source is None:
        fetched.unlink()
    return sizes


def _top(source: Path) -> Place:
    if source.is_dir():
        return source / TOP if (source / TOP).is_dir() else source
    with _usable(source):
        return zipfile.Path(source, f"{TOP}/")


@contextmanager
def _usable(file: Place) -> Iterator[None]:
    """Tell of a file what goes wrong while it is read."""
    try:
        yield
    except (OSError, ValueError, SyntaxError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        rule = f"this file is missing or damaged: {type(error).__name__}: {error}"
        raise DataError(rule, where=str(file), way_out=WAY_OUT) from error


def _photos(listed: Place, images: Place, wnid: str = "") -> list[Photo]:
    """Return the photos of a list in the order of their numbers.

    Args:
        listed: In each line a file's name, its class where `wnid` does not say it, and the box.
        images: Where the photos are.
        wnid: Class of all.
    """
    found = []
    with _usable(listed):
        for line in listed.read_text(encoding="utf-8").splitlines():
            name, *kind, left, top, right, bottom = line.split("\t")
            box = (int(left), int(top), int(right), int(bottom))
            found.append(Photo(name.partition(".")[0], images / name, wnid or kind[0], box))
    return sorted(found, key=lambda photo: (len(photo.key), photo.key))


class _Writer:
    """Writes what one archive holds.

    Args:
        top: The folder of all of it.
        recipe: What to make.
        progress: Told of every photo.

    Raises:
        DataError: The archive has other classes or fewer photos than the recipe wants.
    """

    def __init__(self, top: Place, recipe: Recipe, progress: store.Progress | None) -> None:
        self._top, self._recipe, self._progress = top, recipe, progress
        with _usable(top / "wnids.txt"):
            self._wnids = sorted((top / "wnids.txt").read_text(encoding="utf-8").split())
        self._names = {wnid: name for wnid, name in curated_names().items() if wnid in self._wnids}
        self._expect("classes", self._names, recipe.num_classes)
        self._training: list[Photo] = []
        for wnid in self._wnids:
            folder = top / "train" / wnid
            photos = _photos(folder / f"{wnid}_boxes.txt", folder / "images", wnid)[: recipe.per_class]
            self._expect(f"training photos of {wnid}", photos, recipe.per_class)
            self._training += photos
        listed = _photos(top / "val" / "val_annotations.txt", top / "val" / "images")
        self._validation = [photo for photo in listed if photo.wnid in self._names]
        self._expect("validation photos", self._validation, recipe.num_val)
        self._done, self._total = 0, len(self._training) + 3 * len(self._validation)

    def write(self, folder: Path) -> dict[str, int]:
        """Write everything and return the size of each evaluation set."""
        (folder / "train").mkdir()
        generator = np.random.default_rng([self._recipe.seed, _ORDER])
        order = [self._training[index] for index in generator.permutation(len(self._training))]
        size = self._recipe.train_shard
        for number, start in enumerate(range(0, len(order), size)):
            write_tar(folder / "train" / f"{number:05d}.tar", map(self._pair, order[start : start + size]))
        sets = {"val": self._wnids, "val-shifted": self._wnids}
        sets |= {"val-a": self._wnids[::2], "val-b": self._wnids[1::2]}
        return {name: self._write_set(folder / "eval" / name, wnids) for name, wnids in sets.items()}

    def _expect(self, what: str, found: Iterable[object], wanted: int) -> None:
        if (number := len(list(found))) != wanted:
            raise DataError(
                f"this is not Tiny-ImageNet: it must have {wanted:,} {what}",
                where=str(self._top),
                value=number,
                way_out=WAY_OUT,
            )

    def _pair(self, photo: Photo) -> tuple[str, Mapping[str, bytes]]:
        text = caption(self._names[photo.wnid], photo.key, seed=self._recipe.seed)
        return photo.key, {**self._image(photo).members, "txt": text.encode()}

    def _write_set(self, folder: Path, wnids: list[str]) -> int:
        """Write the validation photos of some classes; a photo has the same key in every set."""
        image = self._damaged if folder.name == "val-shifted" else self._image
        label = {wnid: index for index, wnid in enumerate(wnids)}
        photos = (photo for photo in self._validation if photo.wnid in label)
        return write_classification(
            folder,
            ((photo.key, image(photo), label[photo.wnid]) for photo in photos),
            classnames=[self._names[wnid] for wnid in wnids],
            templates=TEMPLATES,
        )

    def _image(self, photo: Photo) -> EncodedImage:
        """Return a photo with the bytes that it has in the archive, and the map of its object."""
        data, objects, _ = self._read(photo)
        return EncodedImage(data, "jpg", pictures.png(objects))

    def _damaged(self, photo: Photo) -> EncodedImage:
        number = int(photo.key.rpartition("_")[2])
        _, objects, pixels = self._read(photo)
        picture = np.moveaxis(pixels, 2, 0)[None].astype(np.float32) / np.float32(255)
        spoil = DAMAGES[number % len(DAMAGES)]
        spoilt = spoil(np.random.default_rng([self._recipe.seed, _DAMAGE, number]), picture)
        return pictures.encoded(pictures.to_bytes(spoilt)[0], objects, self._recipe.jpeg_quality)

    def _read(self, photo: Photo) -> tuple[bytes, pictures.Bytes, pictures.Bytes]:
        """Return a photo's file, the map of its object (h, w): 1 within the box, and its pixels (h, w, 3)."""
        self._done += 1
        if self._progress:
            self._progress("reading photos", self._done, self._total)
        with _usable(photo.file):
            data = photo.file.read_bytes()
            with Image.open(io.BytesIO(data)) as file:
                pixels = np.asarray(file.convert("RGB"))
        left, top, right, bottom = photo.box
        objects = np.zeros(pixels.shape[:2], np.uint8)
        objects[top : bottom + 1, left : right + 1] = 1
        return data, objects, pixels
