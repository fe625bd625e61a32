"""The studies that ship, and how a study is found by name."""

from __future__ import annotations

from pathlib import Path

from pgsbench.errors import ConfigError, nearest


def shipped_studies() -> Path:
    """Return the folder of the studies that ship: in the wheel, or beside the package in a clone."""
    package = Path(__file__).parents[1]
    inside = package / "studies"
    return inside if inside.is_dir() else package.parent / "studies"


def find_study(name: str) -> Path:
    """Return the path of a study file: the path itself, or a shipped study by path, file or bare name.

    Raises:
        ConfigError: There is none.
    """
    if Path(name).is_file():
        return Path(name)
    folder = shipped_studies()
    known = {path.relative_to(folder).with_suffix("").as_posix(): path for path in folder.rglob("*.yaml")}
    bare = Path(name).as_posix().removeprefix("studies/").removesuffix(".yaml")
    if bare in known:
        return known[bare]
    way_out = nearest(bare, known)
    raise ConfigError("there is no such study file", where="STUDY", value=name, way_out=way_out)
