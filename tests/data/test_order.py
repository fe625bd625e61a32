"""The order of pairs is arithmetic: complete, mixed well, and equal whoever asks."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest

from pgsbench.data import order
from pgsbench.data.order import Order, draws


def ids(of: Order, first: int, count: int, seed: int = 3) -> list[int]:
    return of.at(np.arange(first, first + count), seed).ids.tolist()


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "BLOCK_SAMPLES", 25)


def test_every_pair_is_seen_once_an_epoch_and_each_epoch_in_another_order(small_blocks: None) -> None:
    some = Order([[10, 0, 7, 30, 12, 1]])
    first, second = ids(some, 0, 60), ids(some, 60, 60)
    assert sorted(first) == sorted(second) == list(range(60))
    assert first != second
    assert ids(some, 0, 60, seed=4) != first
    assert some.at(np.array([59, 60, 600]), 3).visits.tolist() == [0, 1, 10]
    far = 10**12  # needs no history
    assert ids(some, far, 50) == ids(Order([[10, 0, 7, 30, 12, 1]]), far - 20, 70)[20:]


def test_a_stretch_of_the_stream_lies_in_one_block_of_shards(small_blocks: None) -> None:
    sizes = [10] * 30
    some = Order([sizes])
    blocks = [{number // 10 for number in ids(some, first, 30)} for first in range(0, 300, 30)]
    assert all(len(block) == 3 for block in blocks)  # the least number of shards that hold 25
    assert set.union(*blocks) == set(range(30))


def test_sources_are_mixed_by_their_weights() -> None:
    mixed = Order([[100], [50, 50]], [1.0, 3.0])
    assert mixed.num_samples == 400
    turn = mixed.at(np.arange(order.SLOTS), 0).ids
    assert (turn < 100).sum() == order.SLOTS // 4
    early = mixed.at(np.arange(4000), 0).ids
    assert abs((early < 100).sum() - 1000) < 120  # not one source after the other
    counts = Counter(turn.tolist())
    assert {counts[number] for number in range(100)} <= {163, 164}  # each source in whole epochs of its own
    assert {counts[number] for number in range(100, 200)} <= {491, 492}
    hardly = Order([[10**6], [1]], [1.0, 1e-9])
    assert (hardly.at(np.arange(order.SLOTS), 0).ids == 10**6).sum() == 1


def test_an_order_travels_without_what_it_remembers() -> None:
    some = Order([[3000], [7000]], [1.0, 2.0])
    expected = ids(some, 10, 500)
    sent = pickle.dumps(some)
    assert len(sent) < 1000
    assert ids(pickle.loads(sent), 10, 500) == expected


def test_stand_ins_come_from_the_same_shard_first() -> None:
    some = Order([[10, 20, 5]])
    tried = [list(some.candidates(12, place, 0)) for place in range(50)]
    near = {number for first, *others in tried for number in (first, *others[:3])}
    assert near == set(range(10, 30))
    assert {number for one in tried for number in one[4:]} == set(range(35))


def test_draws_are_the_published_generator() -> None:
    # SplitMix64 of seed 0 begins so, in its authors' code (prng.di.unimi.it/splitmix64.c).
    key = order._scrambled(np.zeros(1, np.uint64))
    assert int(key[0]) == 0xE220A8397B1DCDAF
    assert draws(1, 2, count=3).tolist() == draws(1, 2, count=5)[:3].tolist()
    assert draws(2**70 + 1, count=1)[0] == draws((2**70 + 1) % 2**64, count=1)[0]
