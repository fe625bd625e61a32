"""Fetching public evaluation sets from where they are published.

A set is fetched into a hidden folder and moved to its own when it is complete, so it is there as a whole or
not at all. Fetching again goes on with what has come.
"""

from __future__ import annotations

import errno
import os
import shutil
import urllib.request
import zipfile
import zlib
from collections.abc import Collection
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

from pgsbench.data.evalset import PAIRS_IMAGE_FOLDER, check_pictures, count_split, read_pairs
from pgsbench.data.public import PublicSet
from pgsbench.errors import DataError

SUGAR_CREPE_URL = "https://raw.githubusercontent.com/RAIVNLab/sugar-crepe/main/data/{subset}.json"
COCO_URL = "http://images.cocodataset.org/zips/val2017.zip"
TIMEOUT_SECONDS = 10.0  #: For a connection, and for the next part of a file.

#: What lies beside the splits of a set on the Hub.
TEXT_FILES = ("classnames.txt", "zeroshot_classification_templates.txt", "dataset_type.txt")
HUB_NOTES = ".cache"  #: Where the Hub's library notes what it has downloaded.

#: The message when there is no network: the caller need not try the next set.
NO_NETWORK = "the server cannot be reached"

#: Errors of the disk. Those of the network are OSErrors, too, but wrapped or with other numbers.
DISK_ERRORS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.EXDEV,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
)


def is_offline() -> bool:
    """Whether ``HF_HUB_OFFLINE`` forbids every access to the network."""
    return os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in ("1", "ON", "YES", "TRUE")


def _check_allowed(what: str) -> None:
    if is_offline():
        raise DataError("HF_HUB_OFFLINE forbids the network", value=what, way_out="unset it to fetch")


def fetch(wanted: PublicSet, splits: Collection[str], root: Path) -> Path:
    """Fetch what is missing of a public set and return its folder.

    Args:
        wanted: The set.
        splits: Splits that must be there, for example ``("test",)``.
        root: The folder of all data sets.

    Raises:
        DataError: There is no network or it is forbidden, the set cannot be had, it came incomplete, or the
            disk is full or must not be written to.
    """
    folder = root / wanted.folder
    staging = root / f".{wanted.folder}.part"
    if not wanted.is_fetchable:
        raise DataError("this set must be put there by hand", where=str(folder), way_out=wanted.source)
    _check_allowed(wanted.name)
    try:
        staging.mkdir(parents=True, exist_ok=True)
        if wanted.repository:
            complete = _from_hub(wanted.repository, splits, folder, staging)
        else:
            complete = _sugar_crepe(wanted.subset, folder, staging)
        folder.mkdir(exist_ok=True)
        for name in complete:
            _remove(folder / name)
            (staging / name).replace(folder / name)
        if not any(path.name != HUB_NOTES for path in staging.iterdir()):
            _remove(staging)
    except OSError as error:
        raise DataError(
            f"the disk refuses: {_first_line(error)}",
            where=str(folder),
            way_out="make room, or see whether the folder may be written to",
        ) from error
    finally:  # what has come before a failure stays for the next time
        if staging.is_dir() and not any(staging.iterdir()):
            _remove(staging)
    return folder


def _lacking(folder: Path, splits: Collection[str]) -> list[str]:
    """Return the splits that are not there as a whole."""
    lacking = []
    for split in splits:
        try:
            count_split(folder, split)
        except DataError:
            lacking.append(split)
    return lacking


def _remove(path: Path) -> None:
    """Make room for what has come; of a link only the link goes."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _from_hub(repository: str, splits: Collection[str], folder: Path, staging: Path) -> list[str]:
    """Fetch the splits and text files that the folder lacks; return the names of all that is complete."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    _check_hub(f"hf.co/datasets/{repository}")
    splits = _lacking(folder, splits)
    texts = [name for name in TEXT_FILES if not (folder / name).is_file()]
    patterns = [*texts, *(f"{split}/*" for split in splits)]
    try:
        # Goes on where it was interrupted, and checks sizes and hashes.
        snapshot_download(repository, repo_type="dataset", local_dir=staging, allow_patterns=patterns)
    except HfHubHTTPError as error:
        raise DataError(
            f"the Hub refuses: {_first_line(error)}",
            where=f"hf.co/datasets/{repository}",
            way_out="accept the set's terms on that page and `hf auth login`, if it asks for them",
        ) from error
    except Exception as error:  # libraries of the network raise anything
        if _is_of_disk(error):
            raise
        raise _unreachable(f"hf.co/datasets/{repository}", error) from error
    for split in splits:
        count_split(staging, split)  # raises where a shard is missing or damaged
    return [*splits, *(name for name in TEXT_FILES if (staging / name).is_file())]


def _check_hub(where: str) -> None:
    """Raise where the Hub does not answer: its own library tries again for most of a minute, at length.

    Raises:
        DataError: It cannot be reached.
    """
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT_SECONDS)
    except Exception as error:  # libraries of the network raise anything
        raise _unreachable(where, error) from error


def _sugar_crepe(subset: str, folder: Path, staging: Path) -> list[str]:
    """Fetch a subset's pairs, and all pictures where it lacks some; return the names of what is complete."""
    pairs = f"{subset}.json"
    if not (staging / pairs).is_file():
        download(SUGAR_CREPE_URL.format(subset=subset), staging / pairs)
    if _has_pictures(subset, folder, staging):
        return [pairs]
    archive = staging / "val2017.zip"
    if not archive.is_file():
        download(COCO_URL, archive)
    try:
        with zipfile.ZipFile(archive) as pictures:
            pictures.extractall(staging / "unpacked")  # checks every file's checksum
        _remove(staging / PAIRS_IMAGE_FOLDER)
        (staging / "unpacked" / PAIRS_IMAGE_FOLDER).rename(staging / PAIRS_IMAGE_FOLDER)
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if _is_of_disk(error):
            raise  # the archive is good and need not come again
        archive.unlink()
        raise DataError(f"the archive cannot be unpacked: {error}", where=COCO_URL) from error
    finally:
        shutil.rmtree(staging / "unpacked", ignore_errors=True)
    archive.unlink()
    return [pairs, PAIRS_IMAGE_FOLDER]


def _has_pictures(subset: str, folder: Path, staging: Path) -> bool:
    pairs = staging / f"{subset}.json"
    try:
        names = [pair.image_key for pair in read_pairs(staging, subset)]
    except DataError:
        pairs.unlink()  # it would be damaged the next time, too
        raise
    try:
        check_pictures(folder / PAIRS_IMAGE_FOLDER, names, pairs)
    except DataError:
        return False
    return True


def download(url: str, target: Path) -> None:
    """Download a file, as a whole or not at all.

    Raises:
        DataError: There is no network or it is forbidden, the server refuses, or the connection broke off.
        OSError: The disk refuses.
    """
    _check_allowed(url)
    part = target.with_name(f"{target.name}.part")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response, part.open("wb") as file:
            shutil.copyfileobj(response, file, 1 << 20)
            expected = response.headers.get("Content-Length")
    except HTTPError as error:
        raise DataError(f"the server refuses: {error}", where=url) from error
    except (OSError, HTTPException) as error:
        if _is_of_disk(error):
            raise
        raise _unreachable(url, error) from error
    if expected is not None and part.stat().st_size != int(expected):
        raise DataError("the connection broke off", where=url, way_out="run the same command again")
    part.rename(target)


def _is_of_disk(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in DISK_ERRORS


def _unreachable(where: str, error: Exception) -> DataError:
    return DataError(f"{NO_NETWORK}: {_first_line(error)}", where=where)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
