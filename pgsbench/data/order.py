"""The order of training pairs, as arithmetic: which pair stands at a place of the endless stream.

A source's epoch is a permutation of its shards, cut into blocks of at least `BLOCK_SAMPLES` pairs, with a
permutation of all pairs inside each block. So a place is worked out from the seed and the sizes of the shards
alone: no reader has a history, and any number of ranks and reader processes, and any resume, see one order.
Reading stays local, since a stretch of the stream lies in a few shards.

Several sources are mixed in turns of `SLOTS` places, of which each has its share, permuted anew in each turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

#: Pairs of a block, at least; all pairs of a smaller source are one block.
BLOCK_SAMPLES = 2**17
#: So many stand-ins for a damaged pair come from its own shard, which is at hand.
SAME_SHARD = 3
#: So many pairs are tried for a place.
MAX_ATTEMPTS = 100
#: Places of a turn in which several sources are mixed.
SLOTS = 2**16

Integers = NDArray[np.int64]
Words = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Places:
    """Which pairs stand at some places of the stream.

    Attributes:
        ids: (n,) index of each pair in the data: shards one after the other, in the order they are named.
        visits: (n,) how many times each pair's source was gone through before.
    """

    ids: Integers
    visits: Integers


class Order:
    """The order of the pairs of one or several sources.

    Args:
        sizes: Pairs of each shard, for each source.
        weights: How many times each source is seen in an epoch; default: once.
    """

    def __init__(self, sizes: Sequence[Sequence[int]], weights: Sequence[float] | None = None) -> None:
        self._sources = [_Source(tuple(source)) for source in sizes]
        self._given = sizes, weights
        totals = [sum(source) for source in sizes]
        self._first_ids = np.cumsum([0, *totals])[:-1]
        self._starts = np.cumsum([0, *(size for source in sizes for size in source)])
        wanted = np.array(weights or [1.0] * len(sizes)) * totals
        self.num_samples = max(1, round(float(wanted.sum())))
        self._slots = _apportion(wanted)
        self._turn = lru_cache(maxsize=2)(partial(_turn, self._slots))

    def __reduce__(self) -> tuple[object, ...]:
        return Order, self._given  # what is remembered is large, and stays here

    def candidates(self, sample: int, place: int, seed: int) -> Iterator[int]:
        """Yield a pair and, in case it is damaged, what stands in for it: first of the same shard, then any.

        Args:
            sample: Index of the pair.
            place: Its place in the stream.
            seed: As in `at`.
        """
        yield sample
        shard = int(np.searchsorted(self._starts, sample, side="right")) - 1
        first, end = int(self._starts[shard]), int(self._starts[shard + 1])
        for attempt in range(MAX_ATTEMPTS - 1):
            drawn = int(draws(seed, place, attempt, count=1)[0])
            yield first + drawn % (end - first) if attempt < SAME_SHARD else drawn % int(self._starts[-1])

    def at(self, places: Integers, seed: int) -> Places:
        """Return the pairs at some places (n,) of the stream."""
        if len(self._sources) == 1:
            return self._sources[0].at(places, seed)
        ids, visits = np.empty_like(places), np.empty_like(places)
        turns, slots = np.divmod(places, SLOTS)
        for turn in np.unique(turns):
            sources, ranks = self._turn(seed, int(turn))
            for number, source in enumerate(self._sources):
                here = (turns == turn) & (sources[slots] == number)
                inside = turn * self._slots[number] + ranks[slots[here]]
                found = source.at(inside, int(draws(seed, number, count=1)[0]))
                ids[here], visits[here] = found.ids + self._first_ids[number], found.visits
        return Places(ids, visits)


class _Source:
    # A batch lies in one block or two of each source, so each remembers two.
    def __init__(self, sizes: tuple[int, ...]) -> None:
        self._num_pairs = sum(sizes)
        self._blocks = lru_cache(maxsize=2)(partial(_blocks, sizes))
        self._block = lru_cache(maxsize=2)(partial(_block, sizes))

    def at(self, places: Integers, seed: int) -> Places:
        visits, rests = np.divmod(places, self._num_pairs)
        ids = np.empty_like(places)
        for visit in np.unique(visits):
            shards, starts = self._blocks(seed, int(visit))
            blocks = np.searchsorted(starts, rests, side="right") - 1
            for block in np.unique(blocks[visits == visit]):
                here = (visits == visit) & (blocks == block)
                order = self._block(shards[block], seed, int(visit), int(block))
                ids[here] = order[rests[here] - starts[block]]
        return Places(ids, visits)


def draws(*numbers: int, count: int) -> Words:
    """Return `count` hashes that follow from some numbers (Steele et al., SplitMix64, OOPSLA 2014)."""
    key = np.zeros(1, np.uint64)
    for number in numbers:
        key = _scrambled(key ^ np.array([number % 2**64], np.uint64))
    return _scrambled(key + np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN)


def _scrambled(words: Words) -> Words:
    words = words + _GOLDEN
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def permutation(*numbers: int, count: int) -> Integers:
    """Return a permutation (count,) that follows from some numbers."""
    return np.argsort(draws(*numbers, count=count), kind="stable")


def _blocks(sizes: tuple[int, ...], seed: int, visit: int) -> tuple[list[tuple[int, ...]], Integers]:
    # The shards of each block, and the place in the epoch at which it starts.
    shards: list[list[int]] = [[]]
    starts, inside, before = [0], 0, 0
    for shard in permutation(seed, visit, 0, count=len(sizes)):
        if inside >= BLOCK_SAMPLES:
            starts.append(before)
            shards.append([])
            inside = 0
        shards[-1].append(int(shard))
        inside, before = inside + sizes[shard], before + sizes[shard]
    return [tuple(block) for block in shards], np.array(starts)


def _block(sizes: tuple[int, ...], shards: tuple[int, ...], seed: int, visit: int, block: int) -> Integers:
    firsts = np.cumsum([0, *sizes])
    ids = np.concatenate([np.arange(firsts[shard], firsts[shard + 1]) for shard in shards])
    return ids[permutation(seed, visit, block + 1, count=len(ids))]


def _turn(slots: list[int], seed: int, turn: int) -> tuple[Integers, Integers]:
    # The source of each place of a turn, and how many places of its source come before it.
    sources = np.repeat(np.arange(len(slots)), slots)[permutation(seed, turn, count=SLOTS)]
    ranks = np.empty(SLOTS, np.int64)
    for number, count in enumerate(slots):
        ranks[sources == number] = np.arange(count)
    return sources, ranks


def _apportion(wanted: NDArray[np.float64]) -> list[int]:
    # Places of a turn by largest remainder; a source has one at least.
    exact = wanted / max(wanted.sum(), 1e-9) * SLOTS
    slots = np.maximum(np.floor(exact), 1).astype(int)
    for number in np.argsort(slots - exact, kind="stable")[: max(0, SLOTS - int(slots.sum()))]:
        slots[number] += 1
    slots[np.argmax(slots)] += SLOTS - int(slots.sum())
    return [int(count) for count in slots]
