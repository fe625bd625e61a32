"""Writes the files: training shards and evaluation sets from the photos of the archive."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from pgsbench.data import fetch, store
from pgsbench.data.evalset import write_classification
from pgsbench.data.tar import EncodedImage, write_tar
from pgsbench.errors import DataError
from pgsbench.worlds import pictures
from pgsbench.worlds.tiny_imagenet import Recipe
from pgsbench.worlds.tiny_imagenet.names import TEMPLATES, caption, class_name
from pgsbench.worlds.tiny_imagenet.official_archive import TOP, URL, WAY_OUT, Archive, Photo, open_archive

#: The kinds of damage, in turn.
DAMAGES = (pictures.noise, pictures.blur, pictures.brightness, pictures.sketch)

# Streams of random numbers; the order is part of the recipe's version.
_ORDER, _DAMAGE = range(2)


def write(
    folder: Path, recipe: Recipe, *, source: Path | None = None, progress: store.Progress | None = None
) -> dict[str, int]:
    """Write the data set into an empty folder and return the size of each evaluation set.

    Args:
        folder: Where.
        recipe: What to make.
        source: The official archive or the folder that it unpacks to; None: it is fetched.
        progress: Told of every photo.

    Raises:
        DataError: The archive is missing, another one or damaged, or it cannot be fetched.
    """
    with _given_or_fetched(source, folder.parent) as path, open_archive(path) as archive:
        return _Writer(archive, recipe, progress).write(folder)


@contextmanager
def _given_or_fetched(source: Path | None, root: Path) -> Iterator[Path]:
    """Give the archive; one that had to be fetched stays until the data set is made of it."""
    if source is not None:
        yield source
        return
    archive = root / f".{TOP}.zip"
    if not archive.is_file():
        try:
            fetch.download(URL, archive)
        except DataError as error:
            raise DataError(error.rule, where=error.where, way_out=WAY_OUT) from error
    yield archive
    archive.unlink()


class _Writer:
    """Writes what one archive holds.

    Args:
        archive: The open archive.
        recipe: What to make.
        progress: Told of every photo.

    Raises:
        DataError: The archive has other classes or fewer photos than the recipe wants.
    """

    def __init__(self, archive: Archive, recipe: Recipe, progress: store.Progress | None) -> None:
        self._archive, self._recipe, self._progress = archive, recipe, progress
        classes = archive.classes()
        self._wnids = list(classes)
        self._names = {wnid: class_name(wnid, synonyms) for wnid, synonyms in classes.items()}
        self._expect("classes", len(classes), recipe.num_classes)
        self._training = [photo for wnid in self._wnids for photo in self._first(wnid)]
        self._validation = archive.validation_photos()
        self._expect("validation photos", len(self._validation), recipe.num_val)
        if unknown := [photo.wnid for photo in self._validation if photo.wnid not in classes]:
            raise DataError("a validation photo is of no class", where=str(archive.where), value=unknown[0])
        self._done, self._total = 0, len(self._training) + 3 * len(self._validation)

    def write(self, folder: Path) -> dict[str, int]:
        """Write everything and return the size of each evaluation set."""
        (folder / "train").mkdir()
        generator = np.random.default_rng([self._recipe.seed, _ORDER])
        order = [self._training[index] for index in generator.permutation(len(self._training))]
        size = self._recipe.train_shard
        for number, start in enumerate(range(0, len(order), size)):
            write_tar(folder / "train" / f"{number:05d}.tar", map(self._pair, order[start : start + size]))
        halves = {"val-a": self._wnids[::2], "val-b": self._wnids[1::2]}
        return {
            "val": self._write_set(folder / "eval" / "val", self._wnids),
            "val-shifted": self._write_set(folder / "eval" / "val-shifted", self._wnids, damaged=True),
            **{name: self._write_set(folder / "eval" / name, half) for name, half in halves.items()},
        }

    def _first(self, wnid: str) -> list[Photo]:
        photos = self._archive.training_photos(wnid)[: self._recipe.per_class]
        self._expect(f"training photos of {wnid}", len(photos), self._recipe.per_class)
        return photos

    def _expect(self, what: str, found: int, wanted: int) -> None:
        if found != wanted:
            raise DataError(
                f"this is not Tiny-ImageNet: it must have {wanted:,} {what}",
                where=str(self._archive.where),
                value=found,
                way_out=WAY_OUT,
            )

    def _pair(self, photo: Photo) -> tuple[str, Mapping[str, bytes]]:
        text = caption(self._names[photo.wnid], photo.key, seed=self._recipe.seed)
        return photo.key, {**self._image(photo).members, "txt": text.encode()}

    def _write_set(self, folder: Path, wnids: Sequence[str], *, damaged: bool = False) -> int:
        """Write the validation photos of some classes; a photo has the same key and damage in every set."""
        label = {wnid: index for index, wnid in enumerate(wnids)}
        image = self._damaged if damaged else self._image
        return write_classification(
            folder,
            (
                (photo.key, image(photo), label[photo.wnid])
                for photo in self._validation
                if photo.wnid in label
            ),
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
        data = self._archive.read(photo.path)
        try:
            with Image.open(io.BytesIO(data)) as file:
                pixels = np.asarray(file.convert("RGB"))
        except (OSError, ValueError, SyntaxError) as error:
            raise self._archive.unusable(photo.path, error) from error
        left, top, right, bottom = photo.box
        objects = np.zeros(pixels.shape[:2], np.uint8)
        objects[top : bottom + 1, left : right + 1] = 1
        return data, objects, pixels
