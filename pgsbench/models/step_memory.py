"""What a training step holds in memory on each device, known before anything runs.

What operations need for a moment, and what a device's allocator wastes, is not in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from pgsbench.config.schema import RunConfig
from pgsbench.masking.token_counts import TokenCount
from pgsbench.models.pair_cost import Block, ModelCost, Sizes, sizes_for

_FP32, _HALF = 4, 2
_MOMENTS = 2  # of AdamW


@dataclass(frozen=True)
class StepMemory:
    """Bytes on one device.

    Attributes:
        weights: Of the model, and of the moving average of its image tower where a mask looks at one.
        gradients: Of the weights that are trained.
        optimizer: AdamW's two moments of each, or of this device's share: an equal part, though tensors are
            shared out whole, so a device with a large one holds more.
        activations: What the forward pass leaves for the backward pass, in the phase that needs most; None
            where a tower is not open_clip's own.
        peak: The most that is held at a time; None likewise.
        checkpoint: Size of the trained model on disk.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int | None
    peak: int | None
    checkpoint: int

    @property
    def state(self) -> int:
        """Size of a saved state on disk, which has all moments."""
        return self.weights + _MOMENTS * self.gradients


def step_memory(config: RunConfig, *, device_type: str, num_devices: int = 1) -> StepMemory:
    """Return what a step of a run holds.

    Args:
        config: The run.
        device_type: ``cpu`` or ``cuda``, which decides the precision.
        num_devices: Devices that share each batch.
    """
    training, locked = config.training, config.model.locked
    sizes = sizes_for(config.model)
    of_image = 0 if locked == "image" else _FP32 * sizes.image_parameters
    of_text = 0 if locked == "text" else _FP32 * sizes.text_parameters
    gradients = of_image + of_text
    checkpoint = _FP32 * (sizes.image_parameters + sizes.text_parameters)
    is_watched = sizes.count(config.strategy).watched
    weights = checkpoint + (_FP32 * sizes.image_parameters if is_watched else 0)
    optimizer = _MOMENTS * gradients // (num_devices if training.shard_optimizer else 1)
    if sizes.cost is None:
        return StepMemory(weights, gradients, optimizer, None, None, checkpoint)
    half = training.precision_on(device_type) != "fp32"
    pairs = training.batch_size // num_devices
    image, text = _activations(sizes, sizes.cost, config, half=half, pairs=pairs)
    # Gradients that are added up over micro-batches, or exchanged, are there throughout. Others appear as the
    # backward pass goes: through the text tower first, while the activations of the image tower wait.
    held = gradients if training.micro_batch_size or num_devices > 1 else 0
    passing = max(image + text, image + of_text, gradients - held)
    peak = weights + optimizer + held + passing
    return StepMemory(weights, gradients, optimizer, image + text, peak, checkpoint)


def _activations(
    sizes: Sizes, cost: ModelCost, config: RunConfig, *, half: bool, pairs: int
) -> tuple[int, int]:
    """Return the bytes of the image tower and of all else, in the phase that needs most."""
    training = config.training
    phases = [(sizes.count(config.strategy), sizes.text_tokens(config.text))]
    if training.unmasked_tuning.share:  # the last phase is on whole pictures and captions
        phases.append((sizes.count(None), sizes.text_tokens(None)))
    at_a_time = min(pairs, training.micro_batch_size or pairs)
    logits = 2 * _FP32 * pairs * training.batch_size  # of pictures to texts, and of texts to pictures
    copies = _HALF * cost.block_weights if half else 0  # autocast keeps them for the backward pass
    of_phases = [
        (
            at_a_time * _of_pictures(cost, config, count, half=half),
            at_a_time * _of_texts(cost, config, tokens, half=half) + logits + copies,
        )
        for count, tokens in phases
    ]
    return max(of_phases, key=sum)


def _of_pictures(cost: ModelCost, config: RunConfig, count: TokenCount, *, half: bool) -> int:
    if config.model.locked == "image":
        return 0
    per_block = [cost.num_prefix + tokens for tokens in count.per_block]
    pixels = cost.patch_dim * count.embedded * (_HALF if half else _FP32)
    return pixels + count.views * _of_rows(cost.visual, per_block, config, half=half)


def _of_texts(cost: ModelCost, config: RunConfig, tokens: int, *, half: bool) -> int:
    if config.model.locked == "text":
        return 0
    return _of_rows(cost.text, [tokens] * cost.num_text_blocks, config, half=half)


def _of_rows(block: Block, per_block: list[int], config: RunConfig, *, half: bool) -> int:
    """Return the bytes of one row of tokens in all blocks of a tower and the normalisation behind them."""
    of_blocks = [_of_block(block, tokens, half=half) for tokens in per_block]
    held = sum(of_blocks)
    if config.model.grad_checkpointing:  # the inputs of all blocks, and all of the one that runs again
        held = sum(_FP32 * block.width * tokens for tokens in per_block) + max(of_blocks)
    return held + _FP32 * block.width * per_block[-1]


def _of_block(block: Block, tokens: int, *, half: bool) -> int:
    """Return the bytes of one row of tokens in one block.

    Two normalisations keep their inputs in fp32. The rest is as precise as the products: the inputs of four
    of them, queries, keys and values, the output of attention, and what the activation function was given.
    QuickGELU, which is not one operation, keeps one number more.
    """
    mlp = (3 if block.quick_gelu else 2) * block.mlp_width
    return tokens * (2 * block.width * _FP32 + (7 * block.width + mlp) * (_HALF if half else _FP32))
