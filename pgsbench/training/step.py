"""The gradient of one step: of a whole batch at once, or in micro-batches with a cache of features.

Shape letters: b pairs of this rank, v views, d width of the embeddings.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from pgsbench.data.samples import Batch
from pgsbench.data.transforms import normalise
from pgsbench.devices import sent
from pgsbench.models.clip import Clip, Loss
from pgsbench.models.masked_tower import Masking
from pgsbench.models.text_masking import TextMasking

#: What a model returns beside the features, where it has it: parameters of the loss.
SCALARS = ("logit_scale", "logit_bias")


class Towers(nn.Module):
    """A model and what shortens its captions, as one module with one forward pass."""

    def __init__(self, clip: Clip, text_masking: TextMasking) -> None:
        super().__init__()
        self.model = clip.model
        self._text_masking = text_masking

    def forward(self, images: Tensor, texts: Tensor) -> dict[str, Tensor]:
        """Return the features, and the parameters of the loss."""
        out: dict[str, Tensor] = self._text_masking.forward(images, texts)
        return out


class GradientStep:
    """Computes the loss of a batch and its gradient.

    With micro-batches it does so as GradCache does (arXiv 2101.06983): a first pass without gradient gives
    all features, of which the loss and its gradient are taken; then each micro-batch passes again and hands
    that gradient on to the weights. The pass is the same both times, as masks belong to samples.

    Args:
        towers: `Towers`, perhaps compiled or wrapped by DistributedDataParallel.
        clip: The model.
        masking: The mask, attached to it.
        loss: Of the features.
        in_precision: Makes the context of a forward pass.
        scaler: Scales the loss of half precision.
        device: Where.
        micro_batch_size: Pairs that are held with their activations at a time; None: all of this rank.
    """

    def __init__(
        self,
        towers: Any,
        clip: Clip,
        masking: Masking,
        loss: Loss,
        *,
        in_precision: Callable[[], AbstractContextManager[Any]],
        scaler: torch.amp.GradScaler,
        device: torch.device,
        micro_batch_size: int | None = None,
    ) -> None:
        self._towers, self._clip, self._masking, self._loss = towers, clip, masking, loss
        self._in_precision, self._scaler, self._device = in_precision, scaler, device
        self._micro_batch_size = micro_batch_size
        #: Sum over the pairs of the last batch of the share of patches without influence.
        self.masked_share: float | Tensor = 0.0

    def __call__(self, batch: Batch, texts: Tensor, *, seed: int, step: int, progress: float) -> Tensor:
        """Leave the gradient in the parameters; return the loss, detached.

        Args:
            batch: The pairs of this rank.
            texts: (b, k) ids that enter the text tower.
            seed: Decides the masks.
            step: Optimizer step.
            progress: Share of the training that is done, in [0, 1].
        """
        self.masked_share = 0.0
        place = {"seed": seed, "step": step, "progress": progress}
        size = self._micro_batch_size or len(texts)
        parts = [slice(first, first + size) for first in range(0, len(texts), size)]
        if len(parts) == 1:
            with self._in_precision():
                out = self._forward(batch, texts, parts[0], place)
                loss = self._loss_of(out, self._masking.num_views)
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            return loss.detach()
        return self._cached(batch, texts, parts, place)

    def _forward(self, batch: Batch, texts: Tensor, part: slice, place: Any) -> dict[str, Tensor]:
        images = sent(batch.images[part], self._device)
        objects = None if batch.objects is None else batch.objects[part]
        self._masking.begin_step(**place, samples=batch.samples[part], objects=objects)
        texts = sent(texts[part], self._device)
        out: dict[str, Tensor] = self._towers(normalise(images, self._clip.mean, self._clip.std), texts)
        if torch.is_grad_enabled():
            self.masked_share = self.masked_share + len(texts) * self._masking.effective_ratio()
        return out

    def _loss_of(self, out: dict[str, Tensor], num_views: int) -> Tensor:
        # Each view of the pictures meets the same texts.
        views = out["image_features"].chunk(num_views)
        texts, scale, bias = out["text_features"], out["logit_scale"], out.get("logit_bias")
        losses = [self._loss(view, texts, scale, bias) for view in views]
        return losses[0] if len(losses) == 1 else torch.stack(losses).mean()

    def _cached(self, batch: Batch, texts: Tensor, parts: list[slice], place: Any) -> Tensor:
        with torch.no_grad(), self._in_precision():
            outs = [self._forward(batch, texts, part, place) for part in parts]
        v = self._masking.num_views
        # Rows of a micro-batch are ordered by view, then by picture; those of the batch likewise.
        # Not contiguous where there are several views, hence `reshape`.
        images = torch.cat(
            [out["image_features"].reshape(v, -1, out["image_features"].shape[1]) for out in outs], dim=1
        )
        leaves = {"image_features": images.flatten(0, 1)}
        leaves["text_features"] = torch.cat([out["text_features"] for out in outs])
        leaves |= {name: outs[0][name].detach().clone() for name in SCALARS if name in outs[0]}
        for leaf in leaves.values():
            leaf.requires_grad_()
        with self._in_precision():
            loss = self._loss_of(leaves, v)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._hand_on(batch, texts, parts, place, {k: leaf.grad for k, leaf in leaves.items()}, v)
        return loss.detach()

    def _hand_on(
        self, batch: Batch, texts: Tensor, parts: list[slice], place: Any, grads: Any, v: int
    ) -> None:
        images = grads["image_features"].view(v, len(texts), -1)
        for part in parts:
            is_last = part is parts[-1]
            # Gradients of all micro-batches are added up before the ranks exchange them.
            alone = (
                nullcontext() if is_last or not hasattr(self._towers, "no_sync") else self._towers.no_sync()
            )
            with alone:
                with self._in_precision():
                    out = self._forward(batch, texts, part, place)
                handed = (out["image_features"] * images[:, part].flatten(0, 1)).sum()
                handed = handed + (out["text_features"] * grads["text_features"][part]).sum()
                for name in SCALARS:
                    if name in out:  # once, as every micro-batch returns the same
                        handed = handed + out[name] * (grads[name] if is_last else 0.0)
                handed.backward()
