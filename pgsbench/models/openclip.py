"""open_clip, imported without what only few models need: the one module of pgsbench that imports it.

``import open_clip`` brings in transformers, timm and, through torchvision, PyTorch's compiler. They take
longer than all the rest, and a plain CLIP model uses none of them. So they are held back meanwhile:

* open_clip goes on without a library that it cannot import. When the first model is built that needs one,
  whoever builds it, all of them are imported, and open_clip's modules get the names they would have had.
* torchvision takes one function from the compiler, for detecting objects. It gets one that asks the compiler
  when it is called.

What was imported before stays as it is.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import fields
from functools import wraps
from types import ModuleType
from typing import Any

import torch  # noqa: F401 - before anything is held back
from PIL import Image
from torch import Tensor

from pgsbench.errors import ModelError

_COMPILER = "torch._dynamo.utils"
_LIBRARIES = ("transformers", "timm")

#: Module of open_clip that does without a library -> its class whose instances need one.
_CLASSES = {"hf_model": "HFTextEncoder", "timm_model": "TimmModel", "coca_model": "CoCa"}

#: Values in these modules that say what is there; all other names are a library's own.
_FLAGS = ("GENERATION_TYPES", "_has_transformers")


class _CompilerLater(ModuleType):
    """Stands in for the compiler while torchvision is imported; whatever else is asked for loads it."""

    @staticmethod
    def is_compile_supported(device_type: str) -> bool:
        supported: bool = importlib.import_module(_COMPILER).is_compile_supported(device_type)
        return supported

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # `inspect` asks every module for its file
            raise AttributeError(name)
        if sys.modules.get(_COMPILER) is self:
            del sys.modules[_COMPILER]
        return getattr(importlib.import_module(_COMPILER), name)


@contextmanager
def _held_back() -> Iterator[None]:
    """Let imports of the libraries fail, and put the stand-in where the compiler would be."""
    absent: dict[str, Any] = dict.fromkeys(_LIBRARIES) | {_COMPILER: _CompilerLater(_COMPILER)}
    absent = {name: value for name, value in absent.items() if name not in sys.modules}
    sys.modules.update(absent)
    try:
        yield
    finally:
        for name, value in absent.items():
            if name in sys.modules and sys.modules[name] is value:
                del sys.modules[name]


def _complete_on_demand() -> None:
    """Let the first instance of a class that needs a library import them all."""
    modules = [sys.modules[f"open_clip.{name}"] for name in _CLASSES]
    classes = [getattr(module, name) for module, name in zip(modules, _CLASSES.values(), strict=True)]
    originals = [cls.__init__ for cls in classes]

    def completing(original: Any) -> Any:
        @wraps(original)
        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            for cls, its in zip(classes, originals, strict=True):
                cls.__init__ = its
            for module in modules:
                _complete(module)
            original(self, *args, **kwargs)

        return init

    for cls, original in zip(classes, originals, strict=True):
        cls.__init__ = completing(original)


def _complete(module: ModuleType) -> None:
    """Give a module the names that it lacks, from a second copy of it; its own classes stay what they are."""
    spec = importlib.util.find_spec(module.__name__)
    assert spec is not None
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    for name, value in vars(copy).items():
        owner = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None) or ""
        if name in _FLAGS or owner.partition(".")[0] in _LIBRARIES:
            setattr(module, name, value)


def _import() -> Any:
    is_new = "open_clip" not in sys.modules
    with _held_back() if is_new else nullcontext():
        import open_clip
    if is_new:
        _complete_on_demand()
    return open_clip


open_clip = _import()


def eval_transform(preprocess_cfg: Mapping[str, Any]) -> Callable[[Image.Image], Tensor]:
    """Return ``picture -> (3, height, width) float32`` exactly as open_clip evaluates with.

    Args:
        preprocess_cfg: open_clip's configuration (`Clip.preprocess_cfg`); keys that are not open_clip's
            are ignored, as open_clip does itself.
    """
    known = {field.name for field in fields(open_clip.transform.PreprocessCfg)}
    given = {key: value for key, value in preprocess_cfg.items() if key in known}
    transform: Callable[[Image.Image], Tensor] = open_clip.transform.image_transform_v2(
        open_clip.transform.PreprocessCfg(**given), is_train=False
    )
    return transform


def check_preprocess(preprocess_cfg: Mapping[str, Any], where: str) -> None:
    """Raise ModelError where no picture can be prepared as a configuration says.

    Args:
        preprocess_cfg: open_clip's configuration; a key that is missing has open_clip's default.
        where: The model, for the message.
    """
    try:
        pixels = eval_transform(preprocess_cfg)(Image.new("RGB", (9, 5), "white"))
        is_good = (
            bool(pixels.isfinite().all()) and len(preprocess_cfg["mean"]) == len(preprocess_cfg["std"]) == 3
        )
        reason = "" if is_good else "mean and std must be three finite numbers each"
    except Exception as error:  # open_clip, torchvision and torch object in their own ways
        reason = f"{type(error).__name__} {error}".strip()
    if reason:
        raise ModelError(
            f"pictures cannot be prepared so: {reason}",
            where=f"{where}: preprocess_cfg",
            value=dict(preprocess_cfg),
            way_out="set it to what the model was trained with",
        )
