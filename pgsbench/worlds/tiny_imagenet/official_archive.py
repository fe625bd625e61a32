"""Reading the official archive, zipped or unpacked: which photos there are, and what is known of them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from pgsbench.errors import DataError

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
TOP = "tiny-imagenet-200"
WAY_OUT = (
    f"give {TOP}.zip from {URL}, or the folder that it unpacks to: "
    "pgsbench data make tiny-imagenet --from PATH"
)

#: (left, top, right, bottom) in pixels, the last ones included.
Box = tuple[int, int, int, int]
T = TypeVar("T")


@dataclass(frozen=True)
class Photo:
    """One photo of the archive.

    Attributes:
        key: Its file's name without the ending; unique.
        path: The file within the archive.
        wnid: WordNet id of its class.
        box: The box of its object.
    """

    key: str
    path: str
    wnid: str
    box: Box


@dataclass(frozen=True)
class Archive:
    """An open archive; see `open_archive`.

    Attributes:
        where: Its path, for messages.
        read_file: From a path within the archive to the file's bytes.
    """

    where: Path
    read_file: Callable[[str], bytes]

    def read(self, path: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            DataError: It is missing or damaged.
        """
        try:
            return self.read_file(path)
        except (KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise self.unusable(path, error) from error

    def unusable(self, path: str, error: Exception) -> DataError:
        """Return what to raise where a file cannot be used."""
        return DataError(
            f"this file is missing or damaged: {type(error).__name__}: {error}",
            where=f"{self.where}: {path}",
            way_out=WAY_OUT,
        )

    def classes(self) -> dict[str, str]:
        """Return the synonyms of each class by WordNet id, in the order of the ids.

        Raises:
            DataError: A list is missing or damaged, or lacks a class.
        """
        words = dict(self._rows("words.txt", lambda wnid, synonyms: (wnid, synonyms)))
        return dict(sorted(self._rows("wnids.txt", lambda wnid: (wnid, words[wnid]))))

    def training_photos(self, wnid: str) -> list[Photo]:
        """Return the training photos of a class by their number.

        Raises:
            DataError: The list of its photos is missing or damaged.
        """
        folder = f"train/{wnid}/images"
        return self._photos(
            f"train/{wnid}/{wnid}_boxes.txt", lambda file, *box: _photo(folder, file, wnid, *box)
        )

    def validation_photos(self) -> list[Photo]:
        """Return the validation photos by their number.

        Raises:
            DataError: Their list is missing or damaged.
        """
        return self._photos("val/val_annotations.txt", partial(_photo, "val/images"))

    def _photos(self, path: str, of: Callable[..., Photo]) -> list[Photo]:
        return sorted(self._rows(path, of), key=lambda photo: (len(photo.key), photo.key))

    def _rows(self, path: str, of: Callable[..., T]) -> list[T]:
        """Return what a function makes of the columns, separated by tabs, of each line of a list."""
        lines = self.read(path).decode("utf-8", "replace").splitlines()
        try:
            return [of(*line.split("\t")) for line in lines if line]
        except (TypeError, ValueError, KeyError) as error:
            raise self.unusable(path, error) from error


def _photo(folder: str, file: str, wnid: str, left: str, top: str, right: str, bottom: str) -> Photo:
    box = (int(left), int(top), int(right), int(bottom))
    return Photo(file.partition(".")[0], f"{folder}/{file}", wnid, box)


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open the archive: a zip, the folder that it unpacks to, or the one above.

    Raises:
        DataError: There is nothing here, or it is something else.
    """
    if path.is_dir():
        top = path / TOP if (path / TOP).is_dir() else path
        yield Archive(path, lambda name: (top / name).read_bytes())
        return
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"no readable zip or folder: {error}", where=str(path), way_out=WAY_OUT) from error
    with archive:
        yield Archive(path, lambda name: archive.read(f"{TOP}/{name}"))
