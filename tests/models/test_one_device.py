"""A step has all of its tensors on the device of the model, shown on torch's device without data."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch

from pgsbench.data.samples import MadeUp
from pgsbench.masking import STRATEGIES
from pgsbench.masking.configure import configure
from pgsbench.masking.coverage import objects_kept
from pgsbench.models import masked_tower
from pgsbench.models.clip import build
from pgsbench.models.masked_tower import attach

#: Every built-in but pgs-released, whose length the host has to know.
CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in STRATEGIES.builtin if name != "pgs-released"),
    ("pgs", {"mask_ratio": 0.3, "max_ratio": 0.6}),
    ("pgs", {"merge": "nearest"}),
    ("random", {"views": 2}),
    ("attentive", {"block_side": 2}),
]


@pytest.mark.parametrize(("name", "fields"), CASES, ids=str)
def test_a_step_and_what_is_logged_of_it_stay_on_the_device(
    monkeypatch: pytest.MonkeyPatch, name: str, fields: dict[str, Any]
) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # there is none without data
    monkeypatch.setattr(
        masked_tower, "select_checked", lambda strategy, view, draws: strategy.select(view, draws=draws)
    )
    clip = build("tiny-vit", seed=0, device="meta")
    masking = attach(clip.model.train(), configure(name, fields))
    batch = next(MadeUp(clip.tokenize, clip.image_size).batches(seed=0, batch_size=4))
    masking.begin_step(seed=0, step=3, samples=batch.samples, progress=0.5, objects=batch.objects)
    out = clip.model(batch.images.float().to("meta"), batch.texts.to("meta"))
    sum(value.float().sum() for value in out.values()).backward()
    assert masking.last is not None
    shares = masking._object_shares(torch.device("meta"))
    found = masking.last.diagnostics | objects_kept(shares, masking.shown(len(shares)))
    assert {value.device.type for value in found.values()} == {"meta"}
