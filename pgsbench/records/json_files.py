"""Typed records as JSON files: written whole or not at all, read back as the type that was written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from pgsbench.disk.whole_files import atomic
from pgsbench.errors import UserError

Record = TypeVar("Record")

#: Making one takes longer than reading a file with it.
_adapters: dict[type, TypeAdapter[Any]] = {}


def write_record(path: Path, record: object) -> None:
    """Write a dataclass as JSON, atomically; NaN and infinities, which JSON does not have, become null."""
    write_json(path, to_jsonable_python(record))


def read_record(path: Path, kind: type[Record], error: type[UserError]) -> Record | None:
    """Return the record in a file, or None where there is no such file.

    Args:
        path: The file.
        kind: The dataclass that was written.
        error: What is raised where the file is damaged or is of another kind.
    """
    try:
        return _adapter(kind).validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as problem:
        first = problem.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise error(f"damaged file ({field}: {first['msg']})", where=str(path)) from problem
    except OSError as problem:
        raise error(f"the file cannot be read ({problem.strerror})", where=str(path)) from problem


def _adapter(kind: type[Record]) -> TypeAdapter[Record]:
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def write_json(path: Path, value: object) -> None:
    """Write plain values as JSON, atomically; see `write_record`."""
    with atomic(path) as scratch:
        text = json.dumps(finite(value), indent=1, ensure_ascii=False, allow_nan=False)
        scratch.write_text(text + "\n", encoding="utf-8")


def finite(value: Any) -> Any:
    """Return nested plain values with null in place of NaN and infinities."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
