"""The cost table of masks: every number means what its name says."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch

from benchmarks.timing import costs, example_view
from pgsbench.masking.base import Need, PatchView, Selection, Strategy, keep_all
from pgsbench.masking.noise import Draws
from pgsbench.masking.pgs import Pgs
from pgsbench.masking.pgs_released import PgsReleased
from pgsbench.masking.random import Random
from pgsbench.masking.testing import draws_for


@dataclass(frozen=True)
class Slow:
    needs: ClassVar[frozenset[Need]] = frozenset()

    @property
    def mask_ratio(self) -> float:
        return 0.0

    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        until = time.process_time() + 0.02
        while time.process_time() < until:
            pass
        return keep_all(view)


@pytest.fixture
def view() -> PatchView:
    return example_view((6, 6), (8, 8), 4, width=16, device=torch.device("cpu"))


def test_costs_name_time_length_and_ratio(view: PatchView) -> None:
    slow, random, dynamic = costs(
        {"slow": (Slow(), view), "random": (Random(0.5), view), "dynamic": (Pgs(0.3, max_ratio=0.5), view)},
        repetitions=3,
    )
    assert [slow.name, random.name, dynamic.name] == ["slow", "random", "dynamic"]
    assert 20 <= slow.fastest_milliseconds <= slow.milliseconds
    assert random.fastest_milliseconds < 20
    assert (slow.num_kept, random.num_kept, dynamic.num_kept) == (36, 18, 25)
    assert (slow.effective_ratio, random.effective_ratio) == (0.0, 0.5)
    assert dynamic.effective_ratio > 1 - 25 / 36
    assert 36 * 8 <= slow.peak_bytes < random.peak_bytes < dynamic.peak_bytes


@dataclass(frozen=True)
class Greedy(Slow):
    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        assert view.images is not None
        view.images.view(-1).add_(0.0)  # neither makes memory
        first = torch.empty(100_000, dtype=torch.float32)
        second = first.view(-1) + 1
        del first
        (second * 2).add_(1.0)
        return keep_all(view)


def test_the_peak_is_what_is_alive_at_once(view: PatchView) -> None:
    (one,) = costs({"greedy": (Greedy(), view)}, repetitions=1)
    assert one.peak_bytes == 2 * 400_000 + 4 * 8  # and the numbers of the samples


@pytest.mark.parametrize("strategy", [Pgs(), PgsReleased()])
def test_the_peak_of_a_whole_mask_is_that_of_torchs_profiler(view: PatchView, strategy: Strategy) -> None:
    strategy.select(view, draws=draws_for(view))  # what is made once, is
    (one,) = costs({"one": (strategy, view)}, repetitions=1)
    with torch.no_grad(), torch.autograd.profiler.profile(profile_memory=True) as profile:
        strategy.select(view, draws=draws_for(view))
    events: Any = profile.kineto_results
    changes = [event for event in events.events() if event.name() == "[memory]"]
    changes.sort(key=lambda event: event.start_ns())
    held = torch.tensor([event.nbytes() for event in changes]).cumsum(0)
    assert one.peak_bytes == pytest.approx(int(held.max()), rel=0.02)
