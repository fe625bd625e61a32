from __future__ import annotations

import pytest
import torch
from torch import Tensor


@pytest.fixture
def images() -> Tensor:
    """Three pictures for the towers of `small_tower`."""
    return torch.randn(3, 3, 32, 48, generator=torch.Generator().manual_seed(1))
