"""Data sets on disk: where they live, how one is made at most once, and what it says of itself.

A data set is a folder with ``dataset.json`` (written last: a folder without it does not exist for us),
``train/*.tar`` (webdataset: KEY.jpg|png|webp, KEY.txt, optionally KEY.objects.png) and ``eval/<name>/``
in the layouts of `pgsbench.data.evalset`.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pgsbench.config.data import named
from pgsbench.disk.whole_files import unwritable
from pgsbench.errors import DataError, nearest
from pgsbench.hashing import file_hash

#: ``(what, done, total)``, called now and then on long work.
Progress = Callable[[str, int, int], None]

#: Built-in data sets. Each package has ``recipe_with(knobs) -> recipe``, ``knobs_of(recipe) -> knobs``,
#: ``identity(recipe)`` and ATTRIBUTION; its ``build.write(folder, recipe, source=..., progress=...)`` writes
#: the files and returns the size of each evaluation set.
BUILTIN = {"scenes": "pgsbench.worlds.scenes", "tiny-imagenet": "pgsbench.worlds.tiny_imagenet"}

MANIFEST = "dataset.json"


@dataclass(frozen=True)
class Dataset:
    """What a data set says of itself in ``dataset.json``.

    Attributes:
        name: For example ``"scenes"``.
        identity: Hash of the recipe that makes it; part of the folder's name.
        recipe: The recipe itself.
        num_train: Training pairs.
        train: Glob of the training shards relative to the folder.
        evaluations: Name of each evaluation set under ``eval/`` -> its number of images or pairs.
        sha256: Content hash of every file, by path relative to the folder.
        attribution: Authors and licence of what the data set contains.
    """

    name: str
    identity: str
    recipe: dict[str, Any]
    num_train: int
    train: str = "train/*.tar"
    evaluations: dict[str, int] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    attribution: str = ""

    @property
    def fingerprint(self) -> str:
        """Hash over the content of all files: equal fingerprints mean the same data."""
        joined = "".join(f"{path}\0{digest}\n" for path, digest in sorted(self.sha256.items()))
        return hashlib.sha256(joined.encode()).hexdigest()[:16]


def root() -> Path:
    """Return the folder of all data sets: ``PGSBENCH_DATA``, else ``~/.cache/pgsbench/data``."""
    if "PGSBENCH_DATA" in os.environ:
        return Path(os.environ["PGSBENCH_DATA"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pgsbench" / "data"


def own(name: str) -> Path:
    """Return the folder of a data set that was made from somebody's own files; it need not exist."""
    return root() / "own" / name


def own_names() -> list[str]:
    """Return the names of the data sets that were made from somebody's own files."""
    return sorted(folder.name for folder in root().glob("own/[!.]*") if folder.is_dir())


def identity_of(name: str, recipe: dict[str, Any]) -> str:
    """Return the hash of a recipe, which names the folder of what it makes."""
    return hashlib.sha256(json.dumps([name, recipe], sort_keys=True).encode()).hexdigest()[:10]


def is_builtin(name: str) -> bool:
    """Tell whether this names a built-in data set, with or without knobs."""
    return name.partition("?")[0] in BUILTIN


def canonical(name: str) -> str:
    """Return the shortest name of the same data set: only knobs that differ from their defaults are named.

    Raises:
        DataError: There is no such data set or knob, or a value is out of range.
    """
    plain, knobs = split(name)
    if not knobs:
        return name
    world = _world(plain)
    return named(plain, world.knobs_of(asdict(world.recipe_with(knobs))))


def ensure(name: str, *, source: Path | None = None, progress: Progress | None = None) -> Path:
    """Return the folder of a built-in data set, making it first where it does not exist yet.

    Args:
        name: Its name, with or without knobs: ``scenes``, ``scenes?clutter=0.5``.
        source: An archive or a folder that it is made from, where it is made from one.
        progress: Told how far the making is.

    Raises:
        DataError: There is no such data set or knob, or it cannot be made.
    """
    return made(*_recipe_of(name), source=source, progress=progress)


def made(name: str, recipe: Any, *, source: Path | None = None, progress: Progress | None = None) -> Path:
    """Return the folder of what a recipe of a built-in data set makes; see `ensure`."""
    world, folder = _world(name), _folder(name, recipe)
    if not (folder / MANIFEST).is_file():
        with new_folder(folder) as scratch:
            build = importlib.import_module(f"{BUILTIN[name]}.build")  # with what only the making needs
            sizes = build.write(scratch, recipe, source=source, progress=progress)
            said = {"attribution": world.ATTRIBUTION, "evaluations": dict(sorted(sizes.items()))}
            write_manifest(
                scratch, Dataset(name, world.identity(recipe), asdict(recipe), recipe.num_train, **said)
            )
    return folder


def find(name: str) -> Path | None:
    """Return the folder of a built-in data set as its recipe stands now, or None where it is not made."""
    folder = _folder(*_recipe_of(name))
    return folder if (folder / MANIFEST).is_file() else None


def variants(name: str) -> list[str]:
    """Return the names, with knobs, under which a built-in data set is made beside its default recipe."""
    found, world = list[str](), _world(name)
    for manifest in sorted(root().glob(f"{name}-*/{MANIFEST}")):
        with suppress(DataError, KeyError):  # an older version may have had other knobs
            variant = named(name, world.knobs_of(read_manifest(manifest.parent).recipe))
            if variant != name and find(variant) == manifest.parent:
                found.append(variant)
    return found


def making(name: str) -> str:
    """Return the command that makes a data set."""
    return f"pgsbench data make {shlex.quote(name)}"


def typed(name: str, knobs: Sequence[str]) -> str:
    """Return the name of a data set with knobs as somebody types them, ``["clutter=0.5", "context=0"]``."""
    return f"{name}?{'&'.join(knobs)}" if knobs else name


def split(source: str) -> tuple[str, dict[str, float]]:
    """Return the name and the knobs of a data set (`pgsbench.config.data.named`).

    Raises:
        DataError: A knob is set to no number.
    """
    name, _, said = source.partition("?")
    knobs = {}
    for part in said.split("&") if said else ():
        knob, _, value = part.partition("=")
        try:
            knobs[knob] = float(value)
        except ValueError:
            raise DataError("a knob is set to a number", where=knob or source, value=value) from None
    return name, knobs


def _recipe_of(name: str) -> tuple[str, Any]:
    plain, knobs = split(name)
    return plain, _world(plain).recipe_with(knobs)


def _folder(name: str, recipe: Any) -> Path:
    return root() / f"{name}-{_world(name).identity(recipe)}"


def _world(name: str) -> Any:
    if name not in BUILTIN:
        raise DataError("unknown data set", value=name, way_out=nearest(name, BUILTIN))
    return importlib.import_module(BUILTIN[name])


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give a scratch folder that becomes `folder` when the block ends well, and vanishes otherwise."""
    scratch = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        scratch.mkdir(parents=True)
    except OSError as error:
        raise DataError(
            f"data sets cannot be written: {unwritable(folder.parent) or error.strerror}",
            where=str(folder.parent),
            way_out="set PGSBENCH_DATA to another folder",
        ) from None
    try:
        yield scratch
        if not folder.exists():  # another process may have made the same thing meanwhile
            scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_manifest(folder: Path, dataset: Dataset) -> Dataset:
    """Hash every file of a finished folder and write ``dataset.json``; returns what was written."""
    hashes = {
        path.relative_to(folder).as_posix(): file_hash(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    complete = Dataset(**{**asdict(dataset), "sha256": hashes})
    (folder / MANIFEST).write_text(json.dumps(asdict(complete), indent=1, sort_keys=True) + "\n")
    return complete


def read_manifest(folder: Path) -> Dataset:
    """Return what a data set says of itself.

    Raises:
        DataError: The folder is no data set of ours, or its manifest is damaged.
    """
    path = folder / MANIFEST
    try:
        return Dataset(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"no readable data set here ({type(error).__name__})",
            where=str(path),
            way_out="`pgsbench data make NAME` makes one",
        ) from error


def check(name: str, *, progress: Progress | None = None) -> Path:
    """Return the folder of a built-in data set whose files all have the hashes that they were made with.

    Raises:
        DataError: It is not made, or files differ.
    """
    folder = find(name)
    if folder is None:
        raise DataError("not made yet", value=name, way_out=making(name))
    hashes, changed = read_manifest(folder).sha256, []
    for number, (path, digest) in enumerate(sorted(hashes.items()), 1):
        if not (folder / path).is_file() or file_hash(folder / path) != digest:
            changed.append(path)
        if progress:
            progress("verifying", number, len(hashes))
    if changed:
        raise DataError(
            f"{len(changed)} files are missing or not what they were",
            where=str(folder),
            value=changed[:10],
            way_out=f"delete the folder and run `{making(name)}`",
        )
    return folder
