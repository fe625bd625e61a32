"""Webdataset archives: each sample has named parts, and one of them is an image file.

Archives are deterministic: same samples, same bytes.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pgsbench.errors import DataError

#: Endings of image files. Where a sample has several, training takes the first of these, as open_clip does.
IMAGE_TYPES = ("jpg", "png", "jpeg", "webp")

#: What may be wrong with a sample or with the rest of an archive.
TWICE, CUT, NO_ARCHIVE = "key used twice", "archive cut off", "not an archive"

#: Ending of each part of a sample -> its offset and length in bytes.
Parts = dict[str, tuple[int, int]]

#: Bytes read at a header: with it come a pax header before it and a caption behind it.
_WINDOW = 4096
#: Types of headers: of files, of what has no content, and those that tell of the next file.
_FILES, _EMPTY, _NOTED = (b"0", b"\0", b"7"), (b"1", b"2", b"3", b"4", b"5", b"6"), (b"x", b"g", b"L", b"K")
_CODEC = ("utf-8", "surrogateescape")
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
    try:
        with path.open("rb") as file:
            for key, parts, fault in samples_of(file):
                if fault == TWICE:
                    raise DataError("two samples have the same key", where=str(path), value=key)
                if fault:
                    raise _unreadable(path, fault)
                if keys is None or key in keys:
                    read = parts if with_content else dict.fromkeys(parts, (0, 0))
                    yield key, {ending: content_of(file, *span) for ending, span in read.items()}
    except OSError as error:
        raise _unreadable(path, f"{type(error).__name__}: {error}") from error


def _unreadable(path: Path, fault: str) -> DataError:
    return DataError(
        f"the archive cannot be read: {fault}",
        where=str(path),
        way_out="copy, fetch or make it again; `pgsbench data status SUITE` checks all archives of a suite, "
        "`pgsbench data verify NAME` those of a generated data set",
    )


def count_tar(path: Path) -> int:
    """Return how many samples a webdataset archive holds, from its table of contents alone.

    Raises:
        DataError: As `read_tar`.
    """
    return sum(1 for _ in read_tar(path, with_content=False))


def content_of(file: BinaryIO, offset: int, size: int) -> bytes:
    """Return a part of a file; shorter where the file ends."""
    file.seek(offset)
    return file.read(size)


def samples_of(file: BinaryIO) -> Iterator[tuple[str, Parts, str]]:
    """Yield name and parts of each sample of an archive, and what is wrong with it, if anything.

    Headers alone are read. tarfile takes ten times as long for each.
    """
    key, parts, fault = "", Parts(), ""
    try:
        for name, offset, size in _files_of(file.fileno()):
            this, ending = _key_and_ending(name)
            if not (this and ending):
                continue
            if this != key and key:
                yield key, parts, fault
                parts, fault = {}, ""
            if ending in parts:  # two samples of one key beside each other would pass for one
                fault = TWICE
            key, parts[ending] = this, (offset, size)
    except (EOFError, ValueError) as error:
        # Of the last sample nobody knows whether it is whole.
        fault = NO_ARCHIVE if str(error) == NO_ARCHIVE else CUT
    if key or fault:
        yield key or "-", parts, fault


def _files_of(file: int) -> Iterator[tuple[str, int, int]]:
    """Yield name, offset and size of each plain file of an archive: ustar, pax and GNU's long names.

    Raises:
        EOFError: It is no archive, or its end is missing.
        ValueError: A header is damaged.
    """
    place, told = 0, dict[bytes, bytes]()
    window, start = b"", 0
    while True:
        if place + tarfile.BLOCKSIZE > start + len(window):
            window, start = os.pread(file, _WINDOW, place), place
        header = window[place - start : place - start + tarfile.BLOCKSIZE]
        if len(header) == tarfile.BLOCKSIZE and not any(header):
            _check_end(file, place)
            return
        if not _is_whole(header):
            raise EOFError(CUT if place else NO_ARCHIVE)
        kind, size, place = header[156:157], _number(header[124:136]), place + tarfile.BLOCKSIZE
        if kind in _NOTED:  # of the file behind it
            content = os.pread(file, size, place)
            told |= (
                {b"path": content.rstrip(b"\0")} if kind == b"L" else _pax(content) if kind == b"x" else {}
            )
        else:
            size = 0 if kind in _EMPTY else int(told.get(b"size", size))
            if kind in _FILES:
                name, prefix = _text(header[:100]), _text(header[345:500])
                name = f"{prefix}/{name}" if prefix else name
                yield told[b"path"].decode(*_CODEC) if b"path" in told else name, place, size
            told = {}
        place += -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _is_whole(header: bytes) -> bool:
    written = header[148:156]
    try:
        return len(header) == tarfile.BLOCKSIZE and sum(header) - sum(written) + 256 == _number(written)
    except ValueError:
        return False


def _number(field: bytes) -> int:
    if field[:1] == b"\x80":  # GNU's way with large ones
        return int.from_bytes(field[1:], "big")
    return int(field.partition(b"\0")[0].strip() or b"0", 8)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode(*_CODEC)


def _pax(content: bytes) -> dict[bytes, bytes]:
    found = {}
    while content.strip(b"\0"):
        length = int(content.partition(b" ")[0])
        key, _, value = content[: length - 1].partition(b" ")[2].partition(b"=")
        found[key], content = value, content[max(length, 1) :]
    return found


def _check_end(file: int, place: int) -> None:
    # A damaged header may pass for the end. A real one has nothing but zeros behind it.
    while rest := os.pread(file, tarfile.RECORDSIZE, place):
        if any(rest):
            raise EOFError
        place += len(rest)


def _key_and_ending(name: str) -> tuple[str, str]:
    # A member's sample and its ending; empty ones for what is no part of a sample: notes about the archive,
    # files without an ending, hidden ones as macOS adds them. webdataset skips these, too, but takes hidden
    # ones in folders for samples.
    folder, _, base = name.rpartition("/")
    stem, _, ending = base.partition(".")
    if not stem or _NOTES.match(name):
        return "", ""
    return (f"{folder}/{stem}" if folder else stem), ending.lower()


def image_of(parts: Mapping[str, bytes], where: str, *, kinds: Sequence[str] = IMAGE_TYPES) -> EncodedImage:
    """Return the image among the members of a sample: of several the first kind that is there.

    Raises:
        DataError: There is none.
    """
    for kind in kinds:
        if kind in parts:
            return EncodedImage(parts[kind], kind)
    raise DataError(f"a sample needs an image ({', '.join(kinds)})", where=where, value=sorted(parts))
