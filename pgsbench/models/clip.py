"""CLIP models, built by open_clip: from a built-in configuration, open_clip's own, or a JSON file."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pgsbench.errors import ModelError
from pgsbench.models.architectures import CONFIG_FOLDER, check_name
from pgsbench.models.openclip import check_preprocess, open_clip

#: (b, d) images, (b, d) texts, logit scale, logit bias or None -> 0-d loss.
Loss = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")  # torch prints in bold
_SIGLIP = {"init_logit_scale": math.log(10), "init_logit_bias": -10.0}
#: Texts to token ids: ``(list of m strings) -> (m, context length) int64``.
Tokenize = Callable[[list[str]], Tensor]


@dataclass(frozen=True)
class Clip:
    """A CLIP model with all that is needed to feed it and to save it.

    Attributes:
        model: The open_clip model; its parameters are named as open_clip names them.
        tokenize: Texts to token ids (m, context length).
        model_cfg: open_clip's configuration of the architecture.
        preprocess_cfg: open_clip's configuration of the evaluation transform: size, mean, std, ...
    """

    model: nn.Module
    tokenize: Tokenize
    model_cfg: dict[str, Any]
    preprocess_cfg: dict[str, Any]

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the pictures in pixels."""
        size = self.preprocess_cfg["size"]
        return (size, size) if isinstance(size, int) else (size[0], size[1])

    @property
    def mean(self) -> tuple[float, ...]:
        """Channel means that pictures in [0, 1] are normalised with."""
        return tuple(self.preprocess_cfg["mean"])

    @property
    def std(self) -> tuple[float, ...]:
        """Channel standard deviations that pictures in [0, 1] are normalised with."""
        return tuple(self.preprocess_cfg["std"])

    @property
    def quick_gelu(self) -> bool:
        """Whether the activation is QuickGELU, which scores depend on."""
        return bool(self.model_cfg.get("quick_gelu", False))


@cache
def _register_builtin() -> None:
    open_clip.add_model_config(CONFIG_FOLDER)


def build(
    name: str,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    grad_checkpointing: bool = False,
    token_std: float | None = None,
    tag: str | None = None,
    image_size: int | None = None,
    siglip: bool = False,
    quick_gelu: bool = False,
) -> Clip:
    """Build an untrained model whose initial weights depend on `seed` alone.

    Args:
        name: A built-in configuration, a name that open_clip knows, or the path of a JSON file.
        seed: Seed of the initial weights.
        device: Where the model lives; weights are drawn on the CPU, so they are the same everywhere. On
            ``meta`` there are none, only their shapes.
        grad_checkpointing: Trade time for memory in both towers.
        token_std: Standard deviation of the initial word embeddings, with the marks of start and end of text
            at zero; None keeps open_clip's initial weights.
        tag: Published weights of this architecture, for which the model is built (`made_for`).
        image_size: Side of the pictures in pixels; None: the architecture's own.
        siglip: Begin with the scale and the bias of SigLIP's loss (arXiv 2303.15343, section 3.2).
        quick_gelu: Use this activation, whatever the architecture says.

    Raises:
        ModelError: The name is unknown, or the configuration cannot be built.
    """
    name = resolve(name)
    options = (made_for(name, tag) if tag else {}) | ({"force_quick_gelu": True} if quick_gelu else {})
    scalars = _SIGLIP if siglip else {}
    first = "meta" if torch.device(device).type == "meta" else "cpu"
    with torch.random.fork_rng(devices=[]):  # open_clip initialises from the global generator
        torch.manual_seed(seed)
        try:
            with _no_warning_of_random_weights(), torch.device("meta") if first == "meta" else nullcontext():
                model = open_clip.create_model(
                    name, device=first, output_dict=True, force_image_size=image_size, **options, **scalars
                )
        except Exception as error:  # any configuration can be wrong in any way
            raise ModelError(
                f"open_clip cannot build this model: {type(error).__name__}: {error}", value=name
            ) from error
    if token_std is not None:
        _prepare_short_training(model, token_std)
    if grad_checkpointing:
        model.set_grad_checkpointing()
    clip = complete(model.to(device), name, quick_gelu=options.get("force_quick_gelu", False))
    model_cfg = clip.model_cfg | scalars  # so that who loads its checkpoint builds the same
    if image_size is not None:
        model_cfg["vision_cfg"] = {**model_cfg["vision_cfg"], "image_size": image_size}
    return replace(clip, model_cfg=model_cfg)


def made_for(name: str, tag: str) -> dict[str, Any]:
    """Return the options of ``open_clip.create_model`` for which published weights were trained.

    That is their activation and how pictures were prepared. Where the architecture of this name has another
    activation, open_clip warns and goes on, and the scores are quietly low.

    Args:
        name: Architecture.
        tag: Published weights of it that open_clip knows.
    """
    known = open_clip.get_pretrained_cfg(name, tag)
    prepared = {key: known[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in known}
    return {"force_quick_gelu": bool(known.get("quick_gelu")), "force_preprocess_cfg": prepared}


def _prepare_short_training(model: Any, std: float) -> None:
    """Rescale the initial word embeddings, and start the marks of start and end of text at zero.

    The text is read off at its end mark. Its own embedding is the same for every text and, after the first
    normalisation, drowns what the mark has attended to: the texts start almost alike, and a short training
    ends with all but the easiest attribute forgotten.
    """
    embedding = getattr(model, "token_embedding", None)
    if embedding is None:
        raise ModelError(
            "this model's text tower is not open_clip's own and has no token embedding to rescale",
            where="model.token_std",
            value=std,
            way_out="leave model.token_std out",
        )
    with torch.no_grad():
        embedding.weight.mul_(std / embedding.weight.std())  # scaled, not redrawn: the draw is the seed's
        embedding.weight[-2:] = 0.0  # the marks are the last two of CLIP's vocabulary


@contextmanager
def _no_warning_of_random_weights() -> Iterator[None]:
    # open_clip warns through the root logger that an untrained model is untrained, which is what we ask for.
    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def contrastive_loss(kind: str = "softmax", *, rank: int = 0, world_size: int = 1) -> Loss:
    """Return open_clip's loss of the pairs of all ranks.

    Gradients go back to the features of every rank (gather_with_grad), which adds those of all ranks up. Each
    rank computes the rows of its own pairs alone (local_loss), so that sum is the gradient of the mean over
    the ranks times their number. DistributedDataParallel divides by that number, which gives the gradient of
    one process. A test holds it.

    Args:
        kind: ``softmax`` (CLIP) or ``sigmoid`` (SigLIP, arXiv 2303.15343).
        rank: Of this process.
        world_size: Processes that share the batch, equally.

    Returns:
        (b, d) images, (b, d) texts, logit scale, logit bias or None -> 0-d loss, whose mean over the ranks is
        that of the whole batch.
    """
    place = {"rank": rank, "world_size": world_size}
    loss: Loss
    if kind == "sigmoid":
        loss = open_clip.loss.SigLipLoss(dist_impl="gather", **place)
    else:
        loss = open_clip.loss.ClipLoss(local_loss=True, gather_with_grad=True, **place)
    return loss


def complete(model: nn.Module, name: str, *, quick_gelu: bool = False) -> Clip:
    """Return a model with its tokenizer and configurations, which open_clip finds by name.

    Args:
        model: The model.
        name: Its architecture.
        quick_gelu: It was built with QuickGELU whatever its configuration says.

    Raises:
        ModelError: Pictures cannot be prepared as its configuration says.
    """
    visual: Any = model.visual
    preprocess = dict(visual.preprocess_cfg)
    check_preprocess(preprocess, name.removeprefix("local-dir:"))
    tokenize: Tokenize = open_clip.get_tokenizer(name)
    model_cfg = open_clip.get_model_config(name) | ({"quick_gelu": True} if quick_gelu else {})
    return Clip(model, tokenize, model_cfg, preprocess)


def tokenizer_of(name: str) -> Tokenize:
    """Return the tokenizer of an architecture.

    Raises:
        ModelError: There is no such architecture.
    """
    found: Tokenize = open_clip.get_tokenizer(resolve(name))
    return found


def resolve(name: str) -> str:
    """Return the name under which open_clip knows an architecture: its own, a built-in one, a JSON file's.

    Raises:
        ModelError: There is none.
    """
    check_name(name)
    _register_builtin()
    if name.endswith(".json"):
        open_clip.add_model_config(Path(name))
        return Path(name).stem
    return name


def load_weights(clip: Clip, path: Path, *, name: str, where: str) -> None:
    """Load weights into a model; open_clip interpolates positions where the image size is another.

    Args:
        clip: The model.
        path: Their file.
        name: The architecture, for messages.
        where: What names it, likewise.

    Raises:
        ModelError: They do not fit.
    """
    try:
        open_clip.load_checkpoint(clip.model, str(path), weights_only=True, device="cpu")
    except Exception as error:  # weights can misfit an architecture in any way
        raise ModelError(
            f"these weights do not fit the model {name}: {brief(error)}",
            where=where,
            value=str(path),
            way_out="name the architecture that was trained, QuickGELU and image size included",
        ) from error


def brief(error: Exception) -> str:
    """Return an error of torch's or open_clip's in one short line."""
    text = _ESCAPE.sub("", str(error)).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text[:200]}"
