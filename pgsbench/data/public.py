"""Public evaluation sets under clip_benchmark's names: where they lie, their size, and fetching them.

``public.yaml`` is the catalogue. All sets lie under one root (`store.root`) in clip_benchmark's own local
layouts (`pgsbench.data.evalset`):

=====================  ==============================================================================
folder                 content
=====================  ==============================================================================
``wds_NAME``           a copy of the Hub's data set ``clip-benchmark/wds_NAME``; ``/`` in a name is ``-``
``sugar_crepe``        SugarCrepe's JSON files and COCO's pictures in ``val2017/``
=====================  ==============================================================================

A set is fetched into a hidden folder and moved to its own when it is complete, so it is there as a whole or
not at all. Fetching again goes on with what has come.
"""

from __future__ import annotations

import difflib
import os
import shutil
import zipfile
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pgsbench.config.yaml_text import parse_yaml
from pgsbench.data import remote, store
from pgsbench.data.evalset import PAIRS_IMAGE_FOLDER, check_pictures, count_split, read_pairs
from pgsbench.disk.whole_files import atomic
from pgsbench.errors import DataError

CATALOGUE = Path(__file__).with_suffix(".yaml")
HUB_OWNER = "clip-benchmark"
#: What clip_benchmark has and the Hub has not.
BY_HAND = "`clip_benchmark_export_wds` writes what clip_benchmark builds through torchvision or TFDS"
SUGAR_CREPE = "sugar_crepe"


@dataclass(frozen=True)
class PublicSet:
    """One public evaluation set.

    Attributes:
        name: clip_benchmark's name, for example ``"vtab/cifar10"``.
        folder: Its folder under the root.
        size: Pictures (or pairs of captions) in its test split; None: not known.
        repository: Data set of the Hugging Face Hub that holds it; empty: fetched from elsewhere, or unknown.
        protocol: The protocol that clip_benchmark tests it with.
        subset: For sets in SugarCrepe's layout the name of its JSON file without the ending.
        source: Where it comes from, for a reader.
    """

    name: str
    folder: str
    size: int | None = None
    repository: str = ""
    protocol: str = "zero_shot"
    subset: str = ""
    source: str = ""

    @property
    def is_known(self) -> bool:
        """Whether it is in the catalogue."""
        return self.name in _catalogue()

    @property
    def is_fetchable(self) -> bool:
        """Whether it can be fetched; what cannot must be put into its folder by hand."""
        return bool(self.repository or self.subset)


def lookup(name: str) -> PublicSet:
    """Return a set by clip_benchmark's name; ``wds/`` in front makes no difference.

    ``vtab/`` may be left out: ``cifar10`` is ``vtab/cifar10``. A name that is not in the catalogue stands for
    a folder ``wds_NAME`` that the user has exported (``clip_benchmark_export_wds``): its size is not known,
    and it cannot be fetched.
    """
    catalogue = _catalogue()
    name = name.removeprefix("wds/")
    if name not in catalogue and f"vtab/{name}" in catalogue:
        name = f"vtab/{name}"
    if name in catalogue:
        return catalogue[name]
    close = difflib.get_close_matches(name, catalogue, n=1)
    guess = f": did you mean {close[0]!r}?" if close else ""
    return PublicSet(name, _wds_folder(name), source=f"not in the catalogue{guess}; {BY_HAND}")


def collection(name: str) -> tuple[str, ...] | None:
    """Return the names of the sets in one of clip_benchmark's collections; None: no collection."""
    found = _yaml()["collections"].get(name)
    return None if found is None else tuple(found)


def folder(name: str, *, root: Path | None = None) -> Path:
    """Return where a set lies or would lie: under `root`, by default the folder of all data sets."""
    return (root or store.root()) / lookup(name).folder


@cache
def _yaml() -> dict[str, Any]:
    data, _ = parse_yaml(CATALOGUE.read_text(), str(CATALOGUE))
    assert isinstance(data, dict)
    return data


@cache
def _catalogue() -> dict[str, PublicSet]:
    data = _yaml()
    sets = []
    for name, size in data["hub"].items():
        where = _wds_folder(name)
        repository = f"{HUB_OWNER}/{where}"
        protocol = data["protocols"].get(name, "zero_shot")
        source = f"hf.co/datasets/{repository}"
        sets.append(PublicSet(name, where, size, repository, protocol, source=source))
    for subset, size in data[SUGAR_CREPE].items():
        source = "github.com/RAIVNLab/sugar-crepe + COCO val2017"
        name = f"{SUGAR_CREPE}/{subset}"
        sets.append(PublicSet(name, SUGAR_CREPE, size, "", "compositional", subset, source))
    return {known.name: known for known in sets}


def _wds_folder(name: str) -> str:
    return "wds_" + name.replace("/", "-")


SUGAR_CREPE_URL = "https://raw.githubusercontent.com/RAIVNLab/sugar-crepe/main/data/{subset}.json"
COCO_URL = "http://images.cocodataset.org/zips/val2017.zip"
TIMEOUT_SECONDS = 10.0

#: What lies beside the splits of a set on the Hub.
TEXT_FILES = ("classnames.txt", "zeroshot_classification_templates.txt", "dataset_type.txt")

#: The message when the network or the disk refuses: the caller need not try the next set.
NOT_FETCHED = "this cannot be fetched"


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
        _remove(staging)
    except OSError as error:
        raise _not_fetched(wanted.source, error) from error
    return folder


def download(url: str, target: Path) -> None:
    """Download a file, as a whole or not at all.

    Raises:
        DataError: There is no network or it is forbidden, the server refuses, or the disk does.
    """
    _check_allowed(url)
    try:
        with atomic(target) as scratch:
            remote.copy(url, scratch)
    except OSError as error:
        raise _not_fetched(url, error) from error


def _check_allowed(what: str) -> None:
    if is_offline():
        raise DataError("HF_HUB_OFFLINE forbids the network", value=what, way_out="unset it to fetch")


def _not_fetched(where: str, error: Exception) -> DataError:
    return DataError(f"{NOT_FETCHED}: {type(error).__name__}: {_first_line(error)}", where=where)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _remove(path: Path) -> None:
    """Make room for what has come; of a link only the link goes."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _from_hub(repository: str, splits: Collection[str], folder: Path, staging: Path) -> list[str]:
    """Fetch the splits and text files that the folder lacks; return the names of all that is complete."""
    from huggingface_hub import constants, get_session, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    page = f"hf.co/datasets/{repository}"
    splits = [split for split in splits if not _is_whole(folder, split)]
    texts = [name for name in TEXT_FILES if not (folder / name).is_file()]
    patterns = [*texts, *(f"{split}/*" for split in splits)]
    try:
        # Asked first: without a network its library tries again for most of a minute, at length.
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT_SECONDS)
        # Goes on where it was interrupted, and checks sizes and hashes.
        snapshot_download(repository, repo_type="dataset", local_dir=staging, allow_patterns=patterns)
    except HfHubHTTPError as error:
        raise DataError(
            f"the Hub refuses: {_first_line(error)}",
            where=page,
            way_out="accept the set's terms on that page and `hf auth login`, if it asks for them",
        ) from error
    except Exception as error:  # libraries of the network raise anything
        raise _not_fetched(page, error) from error
    for split in splits:
        count_split(staging, split)  # raises where a shard is missing or damaged
    return [*splits, *(name for name in TEXT_FILES if (staging / name).is_file())]


def _is_whole(folder: Path, split: str) -> bool:
    try:
        count_split(folder, split)
    except DataError:
        return False
    return True


def _sugar_crepe(subset: str, folder: Path, staging: Path) -> list[str]:
    """Fetch a subset's pairs, and all pictures where it lacks some; return the names of what is complete."""
    pairs = f"{subset}.json"
    download(SUGAR_CREPE_URL.format(subset=subset), staging / pairs)
    names = [pair.image_key for pair in read_pairs(staging, subset)]
    try:
        check_pictures(folder / PAIRS_IMAGE_FOLDER, names, staging / pairs)
        return [pairs]
    except DataError:
        pass
    archive = staging / "val2017.zip"
    if not archive.is_file():
        download(COCO_URL, archive)
    try:
        with zipfile.ZipFile(archive) as pictures:
            pictures.extractall(staging)  # checks every file's checksum
    except (EOFError, zipfile.BadZipFile, zlib.error) as error:
        archive.unlink()
        raise DataError(f"the archive cannot be unpacked: {error}", where=COCO_URL) from error
    return [pairs, PAIRS_IMAGE_FOLDER]
