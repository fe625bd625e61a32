"""What goes to a GPU, and which one it is, without one."""

from __future__ import annotations

import pytest
import torch

from pgsbench.devices import sent, use
from pgsbench.execution.run import own_device


def test_what_goes_to_a_gpu_is_pinned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    moves: list[str] = []

    def pin_memory(self: torch.Tensor) -> torch.Tensor:
        moves.append("pinned")
        return self

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    monkeypatch.setattr(
        torch.Tensor, "to", lambda self, device, non_blocking: moves.append(f"to {device} {non_blocking}")
    )
    sent(torch.zeros(2), torch.device("cuda:1"))
    sent(torch.zeros(2), torch.device("cpu"))
    sent(torch.zeros(2, device="meta"), torch.device("cuda:1"))
    assert moves == ["pinned", "to cuda:1 True", "to cpu True", "to cuda:1 True"]


@pytest.mark.parametrize(("count", "local", "expected"), [(8, 3, "cuda:3"), (1, 3, "cuda:0")])
def test_a_process_of_srun_may_see_its_own_gpu_alone(
    monkeypatch: pytest.MonkeyPatch, count: int, local: int, expected: str
) -> None:
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setenv("LOCAL_RANK", str(local))
    assert own_device("cuda") == expected
    assert use(own_device("cuda")) == torch.device(expected)
    assert current == [torch.device(expected)]
    assert torch.backends.cudnn.allow_tf32 is False
