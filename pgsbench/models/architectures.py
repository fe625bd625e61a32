"""Names of models, and what their JSON files say: read as data, so without open_clip, which takes seconds.

A name is that of a configuration of pgsbench or of open_clip, the path of a JSON file of this kind, or a
whole checkpoint as open_clip names it: ``local-dir:FOLDER`` or ``hf-hub:OWNER/NAME``.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pgsbench.disk.whole_files import is_file
from pgsbench.errors import ModelError, nearest
from pgsbench.hashing import file_hash

CONFIG_FOLDER = Path(__file__).parent / "configs"
HUB = "hf-hub:"
LOCAL = "local-dir:"

#: What a JSON file needs to be an architecture; open_clip passes over others without a word.
ARCHITECTURE_KEYS = {"embed_dim", "vision_cfg", "text_cfg"}

#: open_clip's default, where a file does not say.
_IMAGE_SIZE = 224


def builtin_names() -> list[str]:
    """Return the names of the configurations that ship with pgsbench."""
    return sorted(path.stem for path in CONFIG_FOLDER.glob("*.json"))


@cache
def _files() -> dict[str, Path]:
    spec = find_spec("open_clip")
    folders = [Path(folder) / "model_configs" for folder in (spec and spec.submodule_search_locations) or ()]
    return {path.stem: path for folder in (*folders, CONFIG_FOLDER) for path in sorted(folder.glob("*.json"))}


def check_name(name: str) -> None:
    """Check that a name is one of a model; whether ``hf-hub:OWNER/NAME`` exists only the hub could say.

    Raises:
        ModelError: There is no such model, or its file is none of an architecture.
    """
    if not name.startswith(HUB):
        config_of(name)


def config_of(name: str) -> dict[str, Any]:
    """Return open_clip's configuration of a model: `embed_dim`, `vision_cfg`, `text_cfg` and more.

    The file of ``hf-hub:OWNER/NAME`` is fetched, unless it has been.

    Raises:
        ModelError: There is no such model, its file is none of an architecture, or has another model's name.
    """
    path = _file_of(name)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"the model's configuration cannot be read: {type(error).__name__}", where=str(path), value=name
        ) from error
    if name.startswith((HUB, LOCAL)) and isinstance(config, dict):
        config = config.get("model_cfg", config)
    is_architecture = isinstance(config, dict) and config.keys() >= ARCHITECTURE_KEYS
    if not is_architecture or not isinstance(config["vision_cfg"], dict):
        raise ModelError(
            "not an architecture of open_clip's: it needs embed_dim, vision_cfg and text_cfg",
            where=str(path),
            way_out="a file with model_cfg and preprocess_cfg belongs beside the weights, as "
            "open_clip_config.json in one folder with open_clip_model.safetensors; name the folder",
        )
    found: dict[str, Any] = config
    if name.endswith(".json"):
        _check_own_name(path, found)
    return found


def _check_own_name(path: Path, config: dict[str, Any]) -> None:
    # open_clip knows a file by its stem: from now on the model of that name would be this one.
    known = _files().get(path.stem)
    if known is not None and json.loads(known.read_text(encoding="utf-8")) != config:
        raise ModelError(
            "another model has this name",
            where=str(path),
            value=path.stem,
            way_out=f"rename the file, {path.stem}-mine.json for example",
        )


def file_hash_of(name: str) -> str:
    """Return the hash of a model's JSON file; empty for a model that is known by name."""
    path = Path(name)
    return file_hash(path) if path.suffix == ".json" and path.is_file() else ""


def image_size_of(name: str) -> tuple[int, int]:
    """Return the (height, width) in pixels of the pictures that a model takes.

    Raises:
        ModelError: As for `config_of`, or the file gives no size.
    """
    match config_of(name)["vision_cfg"].get("image_size", _IMAGE_SIZE):
        case int() as side if side > 0:
            return side, side
        case [int() as height, int() as width] if height > 0 and width > 0:
            return height, width
        case size:
            raise ModelError(
                "a size is a whole number or a pair of them",
                where=f"{name}: vision_cfg.image_size",
                value=size,
            )


def _file_of(name: str) -> Path:
    if name.startswith(HUB):
        return _fetched(name.removeprefix(HUB))
    if name.startswith(LOCAL):
        return Path(name.removeprefix(LOCAL)) / "open_clip_config.json"
    if name.endswith(".json"):
        if not is_file(Path(name)):
            raise ModelError("there is no such model configuration", where=name)
        return Path(name)
    files = _files()
    if name not in files:
        builtin = ", ".join(builtin_names())
        raise ModelError(
            "unknown model",
            where="model.name",
            value=name,
            way_out=f"{nearest(name, files)}; built-in: {builtin}; all others: open_clip.list_models()",
        )
    return files[name]


def _fetched(repository: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, "open_clip_config.json"))
    except Exception as error:  # of the network, the hub, the name
        raise ModelError(
            f"the model's configuration cannot be fetched: {type(error).__name__}", value=f"{HUB}{repository}"
        ) from error
