"""Reading the official archive, zipped or unpacked: which photos there are, and what is known of them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pgsbench.errors import DataError

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
TOP = "tiny-imagenet-200"
WAY_OUT = (
    f"give {TOP}.zip from {URL}, or the folder that it unpacks to: "
    "pgsbench data make tiny-imagenet --from PATH"
)

#: (left, top, right, bottom) in pixels, the last ones included.
Box = tuple[int, int, int, int]


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
            DataError: There is no such file, or it is damaged.
        """
        try:
            return self.read_file(path)
        except (KeyError, FileNotFoundError, NotADirectoryError):
            raise DataError("this file is missing", where=f"{self.where}: {path}", way_out=WAY_OUT) from None
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(
                f"a file cannot be read: {error}", where=f"{self.where}: {path}", way_out=WAY_OUT
            ) from error

    def classes(self) -> dict[str, str]:
        """Return the synonyms of each class by WordNet id, in the order of the ids.

        Raises:
            DataError: A list is missing or damaged, or lacks a class.
        """
        words = dict(row[:2] for row in self._rows("words.txt", 2))
        wnids = sorted(row[0] for row in self._rows("wnids.txt", 1))
        if unnamed := [wnid for wnid in wnids if wnid not in words]:
            raise DataError(
                "a class has no name", where=f"{self.where}: words.txt", value=unnamed[0], way_out=WAY_OUT
            )
        return {wnid: words[wnid] for wnid in wnids}

    def training_photos(self, wnid: str) -> list[Photo]:
        """Return the training photos of a class by their number.

        Raises:
            DataError: The list of its photos is missing or damaged.
        """
        path = f"train/{wnid}/{wnid}_boxes.txt"
        rows = self._rows(path, 5)
        photos = [self._photo(path, row[0], wnid, row[1:], f"train/{wnid}/images") for row in rows]
        return sorted(photos, key=lambda photo: (len(photo.key), photo.key))

    def validation_photos(self) -> list[Photo]:
        """Return the validation photos by their number.

        Raises:
            DataError: Their list is missing or damaged.
        """
        path = "val/val_annotations.txt"
        photos = [self._photo(path, row[0], row[1], row[2:], "val/images") for row in self._rows(path, 6)]
        return sorted(photos, key=lambda photo: (len(photo.key), photo.key))

    def _photo(self, listed_in: str, file: str, wnid: str, numbers: list[str], folder: str) -> Photo:
        try:
            left, top, right, bottom = map(int, numbers)
        except ValueError:
            raise DataError(
                "the box of a photo must be four whole numbers",
                where=f"{self.where}: {listed_in}",
                value=f"{file}: {' '.join(numbers)}",
                way_out=WAY_OUT,
            ) from None
        return Photo(file.partition(".")[0], f"{folder}/{file}", wnid, (left, top, right, bottom))

    def _rows(self, path: str, columns: int) -> list[list[str]]:
        """Return the lines of a list, split at tabs."""
        rows = [line.split("\t") for line in self.read(path).decode("utf-8", "replace").splitlines() if line]
        if odd := next((row for row in rows if len(row) != columns), None):
            raise DataError(
                f"each line must have {columns} columns",
                where=f"{self.where}: {path}",
                value="\t".join(odd)[:100],
                way_out=WAY_OUT,
            )
        return rows


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
    if not path.is_file():
        raise DataError("there is no such file or folder", where="--from", value=str(path), way_out=WAY_OUT)
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"no readable zip: {error}", where=str(path), way_out=WAY_OUT) from error
    with archive:
        yield Archive(path, lambda name: archive.read(f"{TOP}/{name}"))
