"""Choosing patches never makes a GPU wait for the host."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from pgsbench.data.samples import MadeUp
from pgsbench.masking import STRATEGIES
from pgsbench.masking.base import PatchView, Strategy
from pgsbench.masking.configure import configure
from pgsbench.masking.noise import Draws
from pgsbench.masking.testing import make_view
from pgsbench.masking.text.strategies import WholeText
from pgsbench.models.clip import build, contrastive_loss
from pgsbench.models.masked_tower import attach
from pgsbench.models.text_masking import TextMasking
from pgsbench.training.step import GradientStep, Towers

#: Every built-in but pgs-released: its length depends on the batch, as published, so the host has to know.
CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in STRATEGIES.builtin if name != "pgs-released"),
    ("grid", {"mask_ratio": 0.3, "phase": "fixed"}),
    ("block", {"blocks": 3}),
    ("cluster", {"token_weight": 1.0}),
    ("attentive", {"block_side": 2}),
    ("pgs", {"mask_ratio": 0.3, "max_ratio": 0.5}),
    ("pgs", {"neighbourhood": 2}),
    ("pgs-mixed", {"otn": False, "random_share": 0.2}),
    ("pgs-mixed", {"edge_spread": 0, "pattern_side": None}),
    ("pgs-mixed", {"edge": "none", "token_weight": 0.0, "colour_weight": 1.0}),
]


@pytest.fixture(params=CASES, ids=str)
def strategy(request: pytest.FixtureRequest) -> Strategy:
    name, fields = request.param
    return configure(name, fields)


# What copies a tensor from the host ("lift" is what `torch.tensor` and an index that is a list end in), reads
# one back, or has a size that depends on its values. On a GPU each of these waits until all before is done.
WAITING_OPS = {
    "lift_fresh",
    "lift_fresh_copy",
    "_local_scalar_dense",
    "is_nonzero",
    "equal",
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_dim",
    "bincount",
}
WAITING_FUNCTIONS = {"tensor", "as_tensor", "asarray", "from_numpy", "new_tensor", "item", "tolist", "numpy"}


class Waits(TorchDispatchMode):
    """Notes by name every operation that would make the host and a GPU wait for one another."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name.startswith("index") and any(
            isinstance(one, Tensor) and one.dtype == torch.bool
            for arg in args[1:2]
            if isinstance(arg, list | tuple)
            for one in arg
        )
        repeats = name == "repeat_interleave" and isinstance(args[0 if len(args) == 1 else 1], Tensor)
        if name in WAITING_OPS or by_mask or repeats:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


class Calls(TorchFunctionMode):
    """Notes by name the functions that bring data from the host or take it there."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        moves = name in {"to", "cpu", "cuda"} and any(isinstance(arg, str | torch.device) for arg in args[1:])
        moves = moves and not (kwargs or {}).get("non_blocking")
        if name in WAITING_FUNCTIONS or moves:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def waits(strategy: Strategy, view: PatchView) -> list[str]:
    strategy.select(view, draws=Draws.of_batch(view.batch_size, seed=0))  # what is made once, is
    draws = Draws.of_batch(view.batch_size, seed=0)
    with Waits() as operations, Calls() as calls:
        strategy.select(view, draws=draws)
    return operations.found + calls.found


def test_no_mask_makes_a_gpu_wait(strategy: Strategy) -> None:
    assert waits(strategy, make_view((8, 8), (8, 8), 3)) == []


def test_the_published_code_does_wait() -> None:
    assert "_local_scalar_dense" in waits(configure("pgs-released", {}), make_view())


@pytest.mark.parametrize("name", [name for name in STRATEGIES.builtin if name != "pgs-released"])
def test_nor_does_the_gradient_of_a_step(name: str) -> None:
    device = torch.device("cpu")
    clip = build("tiny-vit", seed=0)
    masking = attach(clip.model.train(), configure(name, {}))
    gradient = GradientStep(
        Towers(clip, TextMasking(clip, WholeText())),
        clip,
        masking,
        contrastive_loss(),
        in_precision=nullcontext,
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        device=device,
    )
    batch = next(MadeUp(clip.tokenize, clip.image_size).batches(seed=0, batch_size=4))
    gradient(batch, batch.texts, seed=0, step=0, progress=0.5)  # what is made once, is
    with Waits() as operations, Calls() as calls:
        gradient(batch, batch.texts, seed=0, step=1, progress=0.5)
    assert operations.found + calls.found == []
