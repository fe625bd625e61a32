"""A moving average of sharded weights cannot be kept, and that is said before torch fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from test_masked_tower import tiny
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

from pgsbench.errors import ModelError
from pgsbench.masking.guided import Attentive
from pgsbench.masking.random import Random
from pgsbench.models.masked_tower import attach

SAID = "moving average.*sharded"


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def shard(model: Any, version: int) -> Any:
    if version == 2:
        fully_shard(model.visual, mesh=dist.device_mesh.init_device_mesh("cpu", (1,)))
    else:
        model.visual = FullyShardedDataParallel(model.visual, device_id=torch.device("cpu"))
    return model


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("version", [1, 2])
def test_sharding_under_an_attentive_mask_is_refused(process_group: None, version: int) -> None:
    model = tiny().train()
    masking = attach(model, Attentive())
    shard(model, version)
    with pytest.raises(ModelError, match=SAID) as raised:
        masking.begin_step(seed=0, step=0)
    assert "DistributedDataParallel" in raised.value.way_out


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_an_attentive_mask_on_a_sharded_tower_is_refused(process_group: None) -> None:
    model = shard(tiny().train(), 2)
    with pytest.raises(ModelError, match=SAID):
        attach(model, Attentive())
    attach(model, Random(0.5)).begin_step(seed=0, step=0)
    assert model.encode_image(torch.zeros(2, 3, 32, 48)).isfinite().all()
