"""AdamW as open_clip sets it up, and the learning-rate schedule with its unmasked last phase."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from pgsbench.config.training import TrainingConfig


def adamw(model: nn.Module, config: TrainingConfig, *, world_size: int = 1) -> torch.optim.Optimizer:
    """Return AdamW with weight decay on matrices only: no gains, no biases, not the logit scale.

    Each group has an ``lr_scale``, the factor of its parameters on the schedule (`set_learning_rate`).

    Args:
        model: What is trained.
        config: How.
        world_size: Processes that train it. With `config.shard_optimizer` they share out the moments
            (ZeRO, arXiv 1910.02054, stage 1): each steps its share of the weights and sends it to the others.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_plain = parameter.ndim < 2 or "bn" in name or "ln" in name or "bias" in name
            is_text = not name.startswith("visual.") and name not in ("logit_scale", "logit_bias")
            groups.setdefault((is_plain, is_text), []).append(parameter)
    settings = [
        {
            "params": parameters,
            "weight_decay": 0.0 if is_plain else config.weight_decay,
            "lr_scale": config.text_lr_scale if is_text else 1.0,
        }
        for (is_plain, is_text), parameters in groups.items()
    ]
    options: dict[str, Any] = {
        "lr": config.learning_rate,
        "betas": (config.beta1, config.beta2),
        "eps": config.eps,
        "fused": True,  # the 49,408-row embedding of a small model would otherwise take much of the step
    }
    if config.shard_optimizer and world_size > 1:
        from torch.distributed.optim import ZeroRedundancyOptimizer  # late: a second of imports

        return ZeroRedundancyOptimizer(settings, torch.optim.AdamW, **options)
    return torch.optim.AdamW(settings, **options)


def gather_moments(optimizer: torch.optim.Optimizer) -> None:
    """Bring the moments that the processes have shared out to rank 0, which saves them; asked of all."""
    gather = getattr(optimizer, "consolidate_state_dict", None)
    if gather is not None:
        gather(to=0)


def restore_moments(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Load what `state_dict` of an optimizer was, and lay every number where its parameter lies."""
    optimizer.load_state_dict(saved)
    # ZeroRedundancyOptimizer leaves the counts of steps on the CPU, where a fused one on a GPU refuses them.
    for parameter, moments in getattr(optimizer, "optim", optimizer).state.items():
        moments["step"] = moments["step"].to(parameter.device)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of a step for all parameters, scaled for the text tower."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]


def first_unmasked_step(config: TrainingConfig) -> int:
    """Return the step at which masking ends; equal to the number of steps where it never does."""
    return config.steps - math.floor(config.steps * config.unmasked_tuning.share)


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Return the rate of a step: linear warm-up, then the schedule to zero, scaled in the last phase."""
    warmup_steps = config.num_warmup_steps
    if step < warmup_steps:
        rate = config.learning_rate * (step + 1) / warmup_steps
    elif config.schedule == "wsd":
        first = config.first_decay_step
        done = (step - first) / (config.steps - first) if step > first else 0.0
        rate = config.learning_rate * (1 - math.sqrt(done))
    else:
        done = (step - warmup_steps) / (config.steps - warmup_steps)
        rate = config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    return rate * (config.unmasked_tuning.lr_scale if step >= first_unmasked_step(config) else 1.0)
