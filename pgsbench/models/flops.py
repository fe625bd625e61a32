"""Floating-point operations of one pair in both towers, from a model's configuration: nothing runs.

Counted are matrix products, a multiplication and an addition each, as ``torch.utils.flop_counter`` counts
them; norms, activations and softmax are not. A training step takes three times what its forward pass takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pgsbench.models.names import config_of

#: open_clip's defaults, where a configuration does not say.
_VISION = {"layers": 12, "width": 768, "patch_size": 16, "image_size": 224, "mlp_ratio": 4.0}
_TEXT = {"context_length": 77, "width": 512, "layers": 12, "mlp_ratio": 4.0}

#: Keys of towers that compute otherwise than open_clip's plain transformers.
_OTHER_VISION = ("timm_model_name", "attentional_pool", "no_ln_pre_pool")
_OTHER_TEXT = ("hf_model_name", "embed_cls")

#: Forward and backward pass over forward pass.
TRAINING_FACTOR = 3


@dataclass(frozen=True)
class PairFlops:
    """Operations of the forward pass of one pair.

    Attributes:
        image: In the image tower.
        text: In the text tower.
    """

    image: int
    text: int

    @property
    def training(self) -> int:
        """Operations of both towers for one pair in a training step."""
        return TRAINING_FACTOR * (self.image + self.text)


def pair_flops(
    model: str, *, patches: int | Sequence[int], text_tokens: int, embedded: int | None = None
) -> PairFlops | None:
    """Return the operations of one pair; None for towers that are not open_clip's own transformers.

    Args:
        model: Name of the model.
        patches: Patch tokens that enter the transformer; or for each block, where they differ.
        text_tokens: Tokens that enter the text transformer, marks and padding included.
        embedded: Patches that are embedded before some are dropped; None: those of the model's image size.

    Raises:
        ModelError: There is no such model.
    """
    config = config_of(model)
    vision, text = {**_VISION, **config["vision_cfg"]}, {**_TEXT, **config["text_cfg"]}
    if any(vision.get(key) for key in _OTHER_VISION) or any(text.get(key) for key in _OTHER_TEXT):
        return None
    if not isinstance(vision["layers"], int):  # a ResNet
        return None
    width, layers, dim = vision["width"], vision["layers"], config["embed_dim"]
    per_block = [patches] * layers if isinstance(patches, int) else list(patches)
    sides = [_pair(vision["image_size"])[i] // _pair(vision["patch_size"])[i] for i in (0, 1)]
    pixels = 3 * _pair(vision["patch_size"])[0] * _pair(vision["patch_size"])[1]
    image = 2 * pixels * width * (sides[0] * sides[1] if embedded is None else embedded)
    image += sum(_block(1 + count, width, vision["mlp_ratio"]) for count in per_block) + 2 * width * dim
    in_text = text["layers"] * _block(text_tokens, text["width"], text["mlp_ratio"]) + 2 * text["width"] * dim
    return PairFlops(image, in_text)


def context_length_of(model: str) -> int:
    """Return the tokens of a text that a model takes.

    Raises:
        ModelError: There is no such model.
    """
    return int({**_TEXT, **config_of(model)["text_cfg"]}["context_length"])


def _block(tokens: int, width: int, mlp_ratio: float) -> int:
    # Queries, keys, values and output; both products of attention; both layers of the MLP.
    products = 4 * width * width + 2 * tokens * width + 2 * width * int(width * mlp_ratio)
    return 2 * tokens * products


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
