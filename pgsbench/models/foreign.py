"""Trainings that open_clip_train did, read from the folder that it leaves: parameters, mask, weights."""

from __future__ import annotations

import ast
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pgsbench.disk.whole_files import UNREADABLE
from pgsbench.errors import ModelError
from pgsbench.models.clip import Clip, build, load_weights
from pgsbench.models.openclip import open_clip

#: What `pgsbench.open_clip_train` writes into the log, before a strategy and its fields as JSON.
MASK_LINE = "pgsbench mask: "
PARAMS = "params.txt"
#: Parameters that change a model in ways that are not followed here.
_NOT_FOLLOWED = (
    "force_custom_text",
    "force_context_length",
    "image_mean",
    "image_std",
    "image_interpolation",
    "image_resize_mode",
    "use_bnb_linear",
)


@dataclass(frozen=True)
class Foreign:
    """One folder of open_clip_train's.

    Attributes:
        folder: ``LOGS/NAME``.
        params: Its parameters, by name.
        mask: The strategy's name and its fields; ``none`` where nothing was masked.
        weights: The newest checkpoint.
    """

    folder: Path
    params: dict[str, Any]
    mask: dict[str, Any]
    weights: Path

    @classmethod
    def read(cls, folder: Path) -> Foreign:
        """Read a folder.

        Raises:
            ModelError: It is none, or has no checkpoint.
        """
        files = sorted((folder / "checkpoints").glob("epoch_*.pt"), key=_number)
        if not (folder / PARAMS).is_file() or not files:
            raise ModelError(
                "no training of open_clip_train: it leaves params.txt and checkpoints/epoch_N.pt",
                where=str(folder),
                way_out="name the folder LOGS/NAME, of its --logs and --name",
            )
        lines = (folder / PARAMS).read_text(encoding="utf-8").splitlines()
        params = {key: _value(value) for key, colon, value in (one.partition(": ") for one in lines) if colon}
        return cls(folder, params, _mask(folder, params), files[-1])

    def open(self) -> Clip:
        """Return the trained model.

        Raises:
            ModelError: The model was changed in a way that is not followed here, or the weights do not fit.
        """
        if changed := [name for name in _NOT_FOLLOWED if self.params.get(name) not in (None, False)]:
            raise ModelError(
                f"the model was changed by {', '.join(changed)}",
                where=str(self.folder / PARAMS),
                way_out="build it and give it to pgsbench.evaluate as (model, transform, tokenizer)",
            )
        name, size = self.params["model"], self.params.get("force_image_size")
        tag = self.params.get("pretrained") or None
        clip = build(
            name,
            seed=0,
            tag=tag if tag in open_clip.list_pretrained_tags_by_model(name) else None,
            image_size=size[0] if isinstance(size, list | tuple) else size,
            siglip=bool(self.params.get("siglip")),
            quick_gelu=bool(self.params.get("force_quick_gelu")),
        )
        load_weights(clip, self.weights, name=name, where=str(self.folder / PARAMS))
        clip.model.eval()
        return clip

    @property
    def steps(self) -> int | None:
        """Optimizer steps that the weights have seen; None where the checkpoint does not say it."""
        with suppress(*UNREADABLE, RuntimeError, KeyError, TypeError, StopIteration):
            content = torch.load(self.weights, map_location="cpu", weights_only=True, mmap=True)
            return int(next(iter(content["optimizer"]["state"].values()))["step"])
        return None


def _number(path: Path) -> tuple[float, str]:
    found = re.fullmatch(r"epoch_(\d+)", path.stem)
    return (float(found[1]) if found else float("inf")), path.name  # epoch_latest.pt is the newest


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _mask(folder: Path, params: dict[str, Any]) -> dict[str, Any]:
    for log in sorted(folder.glob("out*")):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        said = [line.partition(MASK_LINE)[2] for line in lines if MASK_LINE in line]
        if said:
            found: dict[str, Any] = json.loads(said[-1])
            return found
    dropped = params.get("force_patch_dropout")
    return {"name": "random", "mask_ratio": dropped} if dropped else {"name": "none"}
