"""Checkpoints that any tool around open_clip can load: a folder with a config and safetensors weights."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save_file

from pgsbench.disk.whole_files import atomic
from pgsbench.hashing import file_hash
from pgsbench.models.clip import Clip

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"


def save(clip: Clip, folder: Path) -> str:
    """Write a model in open_clip's local-dir layout and return the SHA-256 of its weights file.

    ``open_clip.create_model("local-dir:FOLDER")`` and clip_benchmark's command line load the result.
    """
    config = {"model_cfg": clip.model_cfg, "preprocess_cfg": clip.preprocess_cfg}
    with atomic(folder / CONFIG_FILE) as scratch:
        scratch.write_text(json.dumps(config, indent=2) + "\n")
    weights = {key: value.detach().cpu().contiguous() for key, value in clip.model.state_dict().items()}
    with atomic(folder / WEIGHTS_FILE) as scratch:
        save_file(weights, scratch, metadata={"format": "pt"})
    return weights_hash(folder)


def weights_hash(folder: Path) -> str:
    """Return the SHA-256 of a checkpoint's weights file: what a score belongs to."""
    return file_hash(folder / WEIGHTS_FILE)
