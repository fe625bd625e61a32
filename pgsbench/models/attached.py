"""Masks in a training loop of someone else's: attached to a model once, they count its steps themselves.

::

    masking = pgsbench.attach(model, "pgs", mask_ratio=0.5, seed=0, steps=10_000)   # before DDP or FSDP
    for images, texts in batches:
        loss = contrastive(model(images, texts))
        ...
        track(masking.log())
    masking.detach()
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pgsbench.config.schema import TextConfig
from pgsbench.errors import ConfigError
from pgsbench.masking.base import Strategy
from pgsbench.masking.configure import configure, configure_text
from pgsbench.models import masked_tower
from pgsbench.models.clip import Clip, Tokenize
from pgsbench.models.openclip import open_clip
from pgsbench.models.text_masking import TextMasking
from pgsbench.models.tower_parts import uncompiled


def attach(
    model: nn.Module,
    strategy: str | Strategy = "pgs",
    *,
    seed: int = 0,
    steps: int | None = None,
    steps_done: int = 0,
    text: str | Mapping[str, Any] | None = None,
    tokenizer: Tokenize | None = None,
    **fields: Any,
) -> Attached:
    """Mask an open_clip model in whatever loop trains it: in train mode only, its state dict stays its own.

    A step is a forward pass. Attach before anything wraps the model (DistributedDataParallel, FSDP,
    torch.compile); each process then has masks of its own. Only ``attentive`` does not go with FSDP.

    Args:
        model: An open_clip ViT, or a model with a timm tower that can drop patches.
        strategy: A name (`pgsbench masks ls`), ``file.py:Class``, or a strategy.
        seed: Decides what is random.
        steps: Forward passes with gradient in the whole training: strategies that give tokens weight as it
            goes on, such as `pgs`, need to know. None: they compare pixels alone.
        steps_done: Passes that the training has behind it, where it is resumed.
        text: A text strategy, as in a study: ``{"strategy": "random", "keep": 16}``.
        tokenizer: Of the captions, for a text strategy that asks for words; None: CLIP's own.
        **fields: Fields of the strategy, as in a study: ``mask_ratio=0.5, merge="nearest"``. With
            ``views=2`` the model returns the features of all first views, then those of all second ones;
            `Attached.num_views` tells a loop how to split them.

    Raises:
        ConfigError: A field is wrong, or the strategy needs what only `pgsbench train` knows.
        ModelError: The model cannot be masked so.
        PluginError: There is no such strategy.
    """
    if isinstance(strategy, str):
        strategy = configure(strategy, fields)
    elif fields:
        raise ConfigError("fields go with the name of a strategy, and this one is made already")
    captions = TextConfig.model_validate({"strategy": text} if isinstance(text, str) else text or {})
    of_text = configure_text(captions.strategy, captions.fields)
    for asked, known in ((strategy, "objects"), (of_text, "counts")):
        if known in asked.needs:
            raise ConfigError(
                "this strategy must know of the training data what a model is not told",
                where="strategy" if asked is strategy else "text",
                value=type(asked).__name__,
                way_out="choose another one, or train with `pgsbench train`",
            )
    counted = [Passes(seed, total=steps, done=steps_done) for _ in range(2)]
    texts = None
    if of_text.keep is not None:
        tokenize = tokenizer or open_clip.SimpleTokenizer()
        texts = TextMasking(Clip(model, tokenize, {}, {}), of_text)
    images = masked_tower.attach(model, strategy)
    images.passes = counted[0]
    return Attached(model, images, texts, counted[1])


class Attached:
    """The masks of one model.

    Attributes:
        images: The mask of the image tower.
    """

    def __init__(
        self, model: Any, images: masked_tower.Masking, texts: TextMasking | None, passes: Passes
    ) -> None:
        self.images = images
        self._model = model
        self._texts, self._passes = texts, passes
        if texts is not None:
            self._model.encode_text = self._encode_text  # a bound method: a copied model gets the copy's

    @property
    def active(self) -> bool:
        """Whether training is masked; set False for a last phase on whole pictures and captions."""
        return self.images.active

    @active.setter
    def active(self, active: bool) -> None:
        self.images.active = active
        if self._texts is not None:
            self._texts.active = active

    @property
    def num_views(self) -> int:
        """Rows of the image features that belong to one picture, in the last pass."""
        return self.images.num_views

    def log(self) -> dict[str, float]:
        """Return what is worth tracking of the last forward pass; waits for a GPU.

        That is the share of patches without influence, the patch tokens of a picture in the tower, seconds
        spent on masks so far, tokens of a caption where they are masked, and what the strategy tells.
        """
        found = {
            "mask_ratio_effective": float(self.images.effective_ratio()),
            "tokens_kept": self.images.token_count.mean,
            "mask_seconds": self.images.select_seconds,
            **self.images.diagnostics(),
        }
        if self._texts is not None:
            found["text_tokens"] = self._texts.num_kept
            found["mask_seconds"] += self._texts.select_seconds
        return found

    def detach(self) -> None:
        """Take the masks off: the model is again what it was."""
        self.images.detach()
        own: Any = vars(self._model).get("encode_text")
        if getattr(own, "__self__", None) is self:
            del self._model.encode_text

    # Shortening reads the time, and strategies are free to do what cannot be compiled.
    @uncompiled
    def _shortened(self, ids: Tensor) -> Tensor:
        assert self._texts is not None
        self._texts.begin_step(**self._passes.next(len(ids), ids.device))
        return self._texts.shorten(ids)

    def _encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
        assert self._texts is not None
        ids = self._shortened(text) if self._model.training else text
        return self._texts.encode(ids, normalize=normalize)


class Passes:
    """Counts the forward passes of one tower, and says of each what `begin_step` wants to know.

    Passes with and without gradient are counted apart: who accumulates gradients with a cache of features, as
    open_clip_train does, passes each batch once without and once with, and the two have one mask. A pass that
    runs again during backward has the mask that it had, as long as backward runs before the next pass.

    Args:
        seed: Decides what is random.
        total: Passes with gradient in the whole training; None: not known, and the training stands at its
            beginning for strategies that change as it goes on.
        done: Passes that an interrupted training has done already.
    """

    def __init__(self, seed: int, *, total: int | None = None, done: int = 0) -> None:
        self._seed, self._total = seed, total
        self._next = {True: done, False: done}
        self._place: dict[str, Any] = {}

    def next(self, batch_size: int, device: torch.device) -> dict[str, Any]:
        """Return seed, step, progress and the numbers of the samples (b,) of the pass that begins.

        The processes of `torch.distributed` have numbers of their own, in the order of their ranks.
        """
        runs_again = torch._C._current_graph_task_id() != -1  # within backward
        if runs_again and self._place:
            return self._place
        step = self._next[torch.is_grad_enabled()]
        self._next[torch.is_grad_enabled()] += 1
        rank, world_size = place_among_ranks()
        first = (step * world_size + rank) * batch_size
        self._place = {
            "seed": self._seed,
            "step": step,
            "progress": min(1.0, step / self._total) if self._total else 0.0,
            "samples": torch.arange(first, first + batch_size, device=device),
        }
        return self._place


def place_among_ranks() -> tuple[int, int]:
    """Return the rank of this process and the number of processes, as torch.distributed has them."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
