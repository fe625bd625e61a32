"""The studies that ship, and how a study is found by name."""

from __future__ import annotations

from pathlib import Path

from pgsbench.disk.whole_files import is_file
from pgsbench.errors import ConfigError, nearest


def shipped_studies() -> Path:
    """Return the folder of the studies that ship: in the wheel, or beside the package in a clone."""
    package = Path(__file__).parents[1]
    inside = package / "studies"
    return inside if inside.is_dir() else package.parent / "studies"


def studies() -> dict[str, Path]:
    """Return the study files that ship, by name."""
    folder = shipped_studies()
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.yaml"))
    }


def questions() -> dict[str, str]:
    """Return what each study that ships asks, by its name."""
    from pgsbench.config.yaml_text import parse_yaml, read_text  # which takes too long for a shell's tab key

    found = {}
    for name, path in studies().items():
        data, _ = parse_yaml(read_text(path), str(path))
        found[name] = str((data or {}).get("question", ""))
    return found


def find_study(name: str) -> Path:
    """Return the path of a study file: the path itself, or a shipped study by path, file or bare name.

    Raises:
        ConfigError: There is none.
    """
    if is_file(Path(name)):
        return Path(name)
    known = studies()
    bare = Path(name).as_posix().removeprefix("studies/").removesuffix(".yaml")
    if bare not in known:
        way_out = nearest(bare, known)
        raise ConfigError("there is no such study file", where="STUDY", value=name, way_out=way_out)
    return known[bare]
