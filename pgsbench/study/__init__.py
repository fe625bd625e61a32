"""Study files: those that ship; how one is read, checked, and planned into runs."""

from __future__ import annotations

from pathlib import Path


def studies() -> dict[str, Path]:
    """Return the study files that ship, by name: of the wheel, or beside the package in a clone."""
    package = Path(__file__).parents[1]
    folder = package / "studies"
    folder = folder if folder.is_dir() else package.parent / "studies"
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.yaml"))
    }
