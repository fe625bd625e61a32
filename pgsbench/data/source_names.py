"""Names of training data, and the shards that they stand for."""

from __future__ import annotations

import re
from pathlib import Path

from braceexpand import braceexpand

from pgsbench.data import remote, store
from pgsbench.errors import DataError, nearest


def sources_of(train: str, *, progress: store.Progress | None = None) -> list[list[str]]:
    """Return the shards, paths or URLs, of each source that training data names (`DataConfig.source`).

    A built-in data set is made where it does not exist yet.

    Raises:
        DataError: Nothing is found, or a name would run a command.
    """
    return [_shards(part, train, progress) for part in train.split("::")]


def resolve(train: str, *, progress: store.Progress | None = None) -> list[str]:
    """Return the shards of all sources of training data, one after the other; see `sources_of`."""
    return [shard for source in sources_of(train, progress=progress) for shard in source]


def _shards(part: str, train: str, progress: store.Progress | None) -> list[str]:
    if store.is_builtin(part):
        folder = store.ensure(part, progress=progress)
        return [str(path) for path in sorted(folder.glob(store.read_manifest(folder).train))]
    _check_scheme(part)
    try:
        shards = expand(part)
        missing = [shard for shard in shards if not remote.is_remote(shard) and not Path(shard).is_file()]
    except (OSError, ValueError, RecursionError) as error:  # a name that no file can have, or open braces
        rule = f"this names no shards: {error}"
        raise DataError(rule, where="data.train", value=part[:200]) from None
    if missing or not shards:
        rule = (
            f"{len(missing)} of {len(shards)} shards are missing" if missing else "there are no shards here"
        )
        way_out = (
            "name a folder of .tar files, or PATH/{00000..00010}.tar; `pgsbench data ls` lists what is here"
        )
        if not re.search(r"[/\\{*.]", train):
            rule = "there is no such data set or folder"
            way_out = f"{nearest(train, [*store.BUILTIN, *store.own_names()])}; or {way_out}"
        raise DataError(rule, where="data.train", value=missing[0] if missing else train, way_out=way_out)
    return shards


def _check_scheme(part: str) -> None:
    # webdataset's readers run what stands behind `pipe:`; a study from elsewhere must not run anything.
    scheme = re.match(r"\s*([A-Za-z][A-Za-z0-9+.-]*):", part)
    if scheme and not remote.is_remote(part) and not Path(part).exists():
        raise DataError(
            "only files and the URLs of files are read, no commands",
            where="data.train",
            value=part[:200],
            way_out=f"name a folder, a pattern, or a URL that begins with {', '.join(remote.SCHEMES)}",
        )


def expand(pattern: str) -> list[str]:
    """Return the paths or URLs that a pattern stands for; a folder stands for its archives.

    Raises:
        DataError: A folder here and a data set of one's own have this name.
        ValueError: A brace is left open.
    """
    own = [store.own(pattern)] if pattern in store.own_names() else []
    folders = [folder for folder in (Path(pattern), *own) if folder.is_dir()]
    if len(folders) > 1:
        rule = "this names a folder here and a data set of your own"
        way_out = f"name the folder {folders[0].absolute()}, or rename one of them"
        raise DataError(rule, where="data.train", value=pattern, way_out=way_out)
    if folders:
        return [str(path) for path in sorted(folders[0].glob("*.tar"))]
    return [found for name in braceexpand(pattern) for found in _matches(name)]


def _matches(name: str) -> list[str]:
    if remote.is_remote(name):
        return remote.expand(name) if "*" in name else [name]
    if "*" not in Path(name).name:
        return [str(Path(name))]
    return [str(path) for path in sorted(Path(name).parent.glob(Path(name).name))]
