"""Webdataset archives: each sample has named parts, and one of them is an image file.

Archives are deterministic: same samples, same bytes.
"""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgsbench.errors import DataError

#: Endings of image files. Where a sample has several, training takes the first of these, as open_clip does.
IMAGE_TYPES = ("jpg", "png", "jpeg", "webp")

_NOTES = re.compile(r"__[^/]*__($|/)")  # webdataset's pattern of names that are no samples


@dataclass(frozen=True)
class EncodedImage:
    """An image file as bytes, with the ending that says what it is (``"jpg"``, ``"png"``, ``"webp"``).

    `objects` is its map of objects as a PNG file, where it is known: 0 background, 1.. the objects.
    """

    data: bytes
    kind: str
    objects: bytes = b""

    @property
    def members(self) -> dict[str, bytes]:
        """The image and its map as members of an archive."""
        return {self.kind: self.data} | ({"objects.png": self.objects} if self.objects else {})


def write_tar(path: Path, samples: Iterable[tuple[str, Mapping[str, bytes]]]) -> int:
    """Write samples as one webdataset archive and return how many there were.

    Args:
        path: The archive; its folder must exist.
        samples: ``(key, {ending: content})``; members are named ``key.ending``. Time, owner and order are
            fixed, so that equal samples give equal bytes.
    """
    count = 0
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, parts in samples:
            for ending, content in parts.items():
                member = tarfile.TarInfo(f"{key}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            count += 1
    return count


def read_tar(
    path: Path, *, with_content: bool = True, keys: Collection[str] | None = None
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield ``(key, {ending: content})`` from a webdataset archive, in its order.

    Args:
        path: The archive.
        with_content: Read the files; otherwise only the table of contents, and contents are empty.
        keys: Yield only these samples, and read no others; None: all.

    Raises:
        DataError: The archive is missing or damaged, or two samples beside each other have one key.
    """
    key, parts = "", dict[str, bytes]()
    for this, ending, content in _members(path, read=with_content, keys=keys):
        if this != key and parts:
            yield key, parts
            parts = {}
        if ending in parts:  # two samples of one key beside each other would pass for one
            raise DataError("two samples have the same key", where=str(path), value=f"{this}.{ending}")
        key, parts[ending] = this, content
    if parts:
        yield key, parts


def count_tar(path: Path) -> int:
    """Return how many samples a webdataset archive holds, from its table of contents alone.

    Raises:
        DataError: As `read_tar`.
    """
    return sum(1 for _ in read_tar(path, with_content=False))


def _members(path: Path, *, read: bool, keys: Collection[str] | None) -> Iterator[tuple[str, str, bytes]]:
    """Yield key, ending and, where wanted, content of an archive's files, up to an end that is one."""
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                key, ending = key_and_ending(member)
                if member.isfile() and key and ending and (keys is None or key in keys):
                    handle = tar.extractfile(member) if read else None
                    yield key, ending, handle.read() if handle else b""
            check_end(tar)
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise _unreadable(path, error) from error


def check_end(tar: tarfile.TarFile) -> None:
    """Check, after the last member was read, that the archive ends there.

    Raises:
        ReadError: It is damaged or cut off.
    """
    # The library takes a damaged header, and a file that is cut off before one, for the end. A real end is
    # marked by blocks of zeros, and nothing else comes after it.
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    rest = tar.fileobj.read(tarfile.BLOCKSIZE)
    marked = len(rest) == tarfile.BLOCKSIZE
    while rest and not any(rest):
        rest = tar.fileobj.read(tarfile.RECORDSIZE)
    if rest or not marked:
        raise tarfile.ReadError(f"damaged or cut off after {tar.offset:,} bytes")


def key_and_ending(member: tarfile.TarInfo) -> tuple[str, str]:
    """Return a member's sample and its ending; empty ones for what is no part of a sample."""
    # Notes about the archive, files without an ending, hidden ones as macOS adds them. webdataset
    # skips these, too, but takes hidden ones in folders for samples.
    folder, _, base = member.name.rpartition("/")
    stem, _, ending = base.partition(".")
    if not stem or _NOTES.match(member.name):
        return "", ""
    return (f"{folder}/{stem}" if folder else stem), ending.lower()


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"the archive cannot be read: {type(error).__name__}: {error}",
        where=str(path),
        way_out="copy, fetch or make it again; `pgsbench data status SUITE` checks all archives of a suite, "
        "`pgsbench data verify NAME` those of a generated data set",
    )


def image_of(parts: Mapping[str, bytes], where: str, *, kinds: Sequence[str] = IMAGE_TYPES) -> EncodedImage:
    """Return the image among the members of a sample: of several the first kind that is there.

    Raises:
        DataError: There is none.
    """
    for kind in kinds:
        if kind in parts:
            return EncodedImage(parts[kind], kind)
    raise DataError(f"a sample needs an image ({', '.join(kinds)})", where=where, value=sorted(parts))
