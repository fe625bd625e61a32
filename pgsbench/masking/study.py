"""A study file, read and checked with the fields of its strategies; needs no model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pgsbench.config.load import Study, load_study
from pgsbench.masking.configure import configure, fields_of, strategy_class


def open_study(path: Path, *, overrides: Sequence[str] = ()) -> Study:
    """Read and check a study file, the fields of its strategies included.

    Args:
        path: The YAML file.
        overrides: ``a.b=value`` texts.

    Raises:
        ConfigError: Every mistake in the file and the overrides at once.
        PluginError: A strategy cannot be found, imported or built.
    """
    return load_study(path, overrides=overrides, resolve_strategy=_resolve_strategy)


def _resolve_strategy(
    name: str, fields: Mapping[str, Any], inherited: Mapping[str, Any], where: str, folder: Path
) -> dict[str, Any]:
    kind = strategy_class(name, where=where, relative_to=folder)
    known = {field.name for field in dataclasses.fields(kind) if field.init}
    taken_over = {key: value for key, value in inherited.items() if key in known}
    strategy = configure(name, {**taken_over, **fields}, where=where, relative_to=folder)
    if ".py:" in name:  # a worker process does not know the study's folder
        name = str((folder / name).resolve())
    return {"name": name, **fields_of(strategy)}
