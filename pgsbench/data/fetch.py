"""Fetching public evaluation sets from where they are published.

What is being fetched lies in a hidden folder beside the final one until it is complete, so that a set is
there as a whole or not at all; fetching again goes on with what is there.
"""

from __future__ import annotations

import os
import shutil
import urllib.request
import zipfile
from collections.abc import Collection
from pathlib import Path
from urllib.error import HTTPError

from pgsbench.data.evalset import PAIRS_IMAGE_FOLDER, count_split
from pgsbench.data.public import PublicSet
from pgsbench.errors import DataError

SUGAR_CREPE_URL = "https://raw.githubusercontent.com/RAIVNLab/sugar-crepe/main/data/{subset}.json"
COCO_URL = "http://images.cocodataset.org/zips/val2017.zip"
TIMEOUT_SECONDS = 60

#: What lies beside the splits of a set on the Hub.
TEXT_FILES = ("classnames.txt", "zeroshot_classification_templates.txt", "dataset_type.txt")
HUB_NOTES = ".cache"  #: Where the Hub's library notes what it has downloaded.

#: Said of what stops every set alike; the caller need not try the next one.
NO_NETWORK = "the server cannot be reached"


def is_offline() -> bool:
    """Whether ``HF_HUB_OFFLINE`` forbids every access to the network."""
    return os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in ("1", "ON", "YES", "TRUE")


def fetch(wanted: PublicSet, splits: Collection[str], root: Path) -> Path:
    """Fetch what is missing of a public set and return its folder.

    Args:
        wanted: The set.
        splits: Splits that must be there, for example ``("test",)``.
        root: The folder of all data sets.

    Raises:
        DataError: There is no network or it is forbidden, the set cannot be had, or it came incomplete.
    """
    if is_offline():
        raise DataError("HF_HUB_OFFLINE forbids the network", value=wanted.name, way_out="unset it to fetch")
    folder = root / wanted.folder
    staging = root / f".{wanted.folder}.part"
    if not wanted.repository and not wanted.subset:
        raise DataError("this set must be put there by hand", where=str(folder), way_out=wanted.source)
    staging.mkdir(parents=True, exist_ok=True)
    try:
        if wanted.repository:
            complete = _from_hub(wanted.repository, splits, staging)
        else:
            complete = _sugar_crepe(wanted.subset, folder, staging)
        folder.mkdir(exist_ok=True)
        for name in complete:
            if (folder / name).is_dir():  # a split that lacked shards
                shutil.rmtree(folder / name)
            (staging / name).replace(folder / name)
        if not any(path.name != HUB_NOTES for path in staging.iterdir()):
            shutil.rmtree(staging)
    finally:  # what has come before a failure stays for the next time
        if staging.is_dir() and not any(staging.iterdir()):
            staging.rmdir()
    return folder


def _from_hub(repository: str, splits: Collection[str], staging: Path) -> list[str]:
    """Fetch splits and the text files beside them; return the names of all that is complete."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    patterns = [*TEXT_FILES, *(f"{split}/*" for split in splits)]
    try:
        # Goes on where it was interrupted, and checks sizes and hashes.
        snapshot_download(repository, repo_type="dataset", local_dir=staging, allow_patterns=patterns)
    except HfHubHTTPError as error:
        raise DataError(
            f"the Hub refuses: {_first_line(error)}", where=f"hf.co/datasets/{repository}",
            way_out="accept the set's terms on that page and `hf auth login`, if it asks for them",
        ) from error  # fmt: skip
    except Exception as error:  # libraries of the network raise anything
        raise _unreachable(f"hf.co/datasets/{repository}", error) from error
    for split in splits:
        count_split(staging, split)  # raises where a shard is missing or damaged
    return [*splits, *(name for name in TEXT_FILES if (staging / name).is_file())]


def _sugar_crepe(subset: str, folder: Path, staging: Path) -> list[str]:
    """Fetch a subset's pairs and the pictures of all subsets; return the names of all that is complete."""
    pairs = f"{subset}.json"
    if not (staging / pairs).is_file():
        _download(SUGAR_CREPE_URL.format(subset=subset), staging / pairs)
    if (folder / PAIRS_IMAGE_FOLDER).is_dir():
        return [pairs]
    archive = staging / "val2017.zip"
    if not archive.is_file():
        _download(COCO_URL, archive)
    try:
        with zipfile.ZipFile(archive) as pictures:
            pictures.extractall(staging / "unpacked")  # checks every file's checksum
        (staging / "unpacked" / PAIRS_IMAGE_FOLDER).rename(staging / PAIRS_IMAGE_FOLDER)
    except (OSError, zipfile.BadZipFile) as error:
        archive.unlink()
        raise DataError(f"the archive cannot be unpacked: {error}", where=COCO_URL) from error
    finally:
        shutil.rmtree(staging / "unpacked", ignore_errors=True)
    archive.unlink()
    return [pairs, PAIRS_IMAGE_FOLDER]


def _download(url: str, target: Path) -> None:
    part = target.with_name(f"{target.name}.part")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response, part.open("wb") as file:
            shutil.copyfileobj(response, file, 1 << 20)
            expected = response.headers.get("Content-Length")
    except HTTPError as error:
        raise DataError(f"the server refuses: {error}", where=url) from error
    except OSError as error:
        raise _unreachable(url, error) from error
    if expected is not None and part.stat().st_size != int(expected):
        raise DataError("the connection broke off", where=url, way_out="run the same command again")
    part.rename(target)


def _unreachable(where: str, error: Exception) -> DataError:
    return DataError(f"{NO_NETWORK}: {_first_line(error)}", where=where)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
