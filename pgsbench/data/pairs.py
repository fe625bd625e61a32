"""Training data as image-text pairs: what there is of them, their order, and one after another as bytes."""

from __future__ import annotations

import os
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

import numpy as np

from pgsbench.data import damage, remote, store
from pgsbench.data.damage import Damage, UnusableError
from pgsbench.data.index import Pins, ShardIndex, changed, index_of, sizes_of, unreadable
from pgsbench.data.order import BLOCK_SAMPLES, Order
from pgsbench.data.tar import CUT
from pgsbench.errors import DataError
from pgsbench.hashing import digest

#: Archives that a process keeps open, and samples whose places it keeps in mind: those of two blocks.
MAX_OPEN, MAX_KNOWN = 64, 2 * BLOCK_SAMPLES
#: Shards whose captions decide the identity of data. And those that are asked after together.
PROBED, ASKED = 8, 8
#: Threads that decode: Pillow gives others the processor meanwhile. And pairs that they are given at a time.
THREADS, AT_ONCE = 4, 2048

T = TypeVar("T")
#: Size in bytes of a shard, and its time of change in ns or the checksum that its store tells.
State = tuple[int, int | str]


@dataclass(frozen=True)
class Encoded:
    """A pair as it lies on disk.

    Attributes:
        picture: An image file.
        captions: All captions of it.
        objects: Its map of objects as an image file; None: there is none.
    """

    picture: bytes
    captions: list[str]
    objects: bytes | None


@dataclass(frozen=True)
class Pairs:
    """The pairs of some shards, of which none needs to have been read; reader processes can be given it.

    Attributes:
        shards: The archives, paths or URLs, one source after another.
        sizes: Samples of each, usable or not.
        states: Size in bytes of each, and its time of change or the checksum that its store tells.
        ends: Number of shards up to the end of each source.
        weights: How many times an epoch goes through each source.
        run_pins: Where a run remembers what its shards held; None: nowhere.
    """

    shards: tuple[str, ...]
    sizes: tuple[int, ...]
    states: tuple[State, ...]
    ends: tuple[int, ...]
    weights: tuple[float, ...]
    run_pins: Path | None = None

    @classmethod
    def of(
        cls,
        sources: Sequence[Sequence[str]],
        weights: Sequence[float] = (),
        *,
        run_pins: Path | None = None,
        progress: store.Progress | None = None,
    ) -> Pairs:
        """Count the pairs of shards.

        Args:
            sources: The shards of each source.
            weights: How many times an epoch goes through each source; default: all shards are one source.
            run_pins: Where a run remembers what its shards held.
            progress: Told how far it is with shards that must be opened for that.

        Raises:
            DataError: A shard is not there, or a source has no sample.
        """
        shards = tuple(shard for source in sources for shard in source)
        with ThreadPoolExecutor(ASKED) as pool:  # of a URL, a request
            states = tuple(pool.map(_state, shards))
        sizes = tuple(sizes_of(shards, progress=progress))
        ends = np.cumsum([len(source) for source in (sources if weights else [shards])]).tolist()
        pairs = cls(shards, sizes, states, tuple(ends), tuple(weights) or (1.0,), run_pins)
        for start, end in pairwise([0, *ends]):
            pairs.check_usable(start, end)
        if not remote.is_remote(shards[0]):  # now, while it is there
            _ = pairs.identity, pairs.has_objects
        return pairs

    def check_usable(self, start: int, end: int) -> None:
        """Check that a source has samples, of which some can be used as far as this is known at once."""
        faults = Counter[str]()
        if any(self.sizes[start:end]):
            if end - start > PROBED or any(map(remote.is_remote, self.shards[start:end])):
                return
            found = [index_of(shard) for shard in self.shards[start:end]]
            if any(len(one.keys) > len(one.faults) for one in found):
                return
            faults = Counter(reason for one in found for reason in one.faults.values())
        raise DataError(
            "no sample can be used",
            where=", ".join(self.shards[start:end][:3]),
            value=dict(faults),
            way_out="each sample needs KEY.jpg|png|webp and KEY.txt",
        )

    def __len__(self) -> int:
        return sum(self.sizes)

    @cached_property
    def identity(self) -> str:
        """Hash of what the pairs are, and of their order: folders and times make no difference.

        It covers the file name, length and number of samples of each shard, what stores tell as checksums,
        and names, captions and lengths of pictures in `PROBED` shards: in all where there are no more.
        """
        told = [
            [Path(shard).name, size, state[0], *(state[1:] if remote.is_remote(shard) else ())]
            for shard, size, state in zip(self.shards, self.sizes, self.states, strict=True)
        ]
        probed = np.unique(np.linspace(0, len(told) - 1, min(len(told), PROBED)).round().astype(int))
        here = [self.shards[n] for n in probed if not remote.is_remote(self.shards[n])]
        with ThreadPoolExecutor(ASKED) as pool:
            held = list(pool.map(lambda shard: index_of(shard).digest, here))
        return digest([told, held, self.ends, self.weights])[:16]

    @property
    def state(self) -> str:
        """Hash of the files as they lie here, under which what is made of all of them may be kept."""
        return digest([self.shards, self.sizes, self.states, self.ends])

    @cached_property
    def has_objects(self) -> bool:
        """Whether pairs have maps of objects: as the first usable one."""
        for shard in self.shards:
            index = index_of(shard)
            for place in range(len(index.keys)):
                if place not in index.faults:
                    return bool(index.spans[place, 3, 1])
        return False

    @cached_property
    def order(self) -> Order:
        """Their order."""
        return Order([self.sizes[start:end] for start, end in pairwise([0, *self.ends])], self.weights)

    def damage(self, max_share: float) -> Damage:
        """Return the account of what a training cannot use."""
        return Damage(len(self), max_share)


def _state(shard: str) -> State:
    try:
        _, size, *times = remote.state(shard)
    except OSError as error:
        raise unreadable(shard, error) from None
    return size, times[0]


class OpenShards:
    """Reads pairs at any place, as bytes; a shard is looked into when its turn comes.

    Args:
        pairs: Which.
    """

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs
        self._starts = np.cumsum([0, *pairs.sizes])
        self._open: OrderedDict[int, int] = OrderedDict()
        self._known: OrderedDict[int, ShardIndex] = OrderedDict()
        self._num_known = 0
        folder = store.root() / "pins" / pairs.identity
        self._pins = Pins(folder, pairs.run_pins, len(pairs.shards), len(pairs))

    def read(self, number: int) -> Encoded:
        """Return the pair of an index.

        Raises:
            UnusableError: It cannot be used.
            DataError: Its shard is another than before.
        """
        shard, place = self._place(number)
        file, index = self._opened(shard)
        if place in index.faults or place >= len(index.spans):
            cut = next(reversed(index.faults.values()), "") == CUT
            raise UnusableError(index.faults.get(place) or (CUT if cut else damage.ABSENT))
        spans = index.spans[place]
        there = spans[spans[:, 1] > 0]
        first, end = int(there[:, 0].min()), int(there.sum(axis=1).max())
        try:
            content = os.pread(file, end - first, first)  # the parts of a sample lie beside each other
        except OSError:
            raise UnusableError(damage.VANISHED) from None
        if len(content) < end - first:
            raise UnusableError(CUT)
        picture, text, texts, objects = (
            content[offset - first : offset - first + size] for offset, size in spans.tolist()
        )
        self._pins.check_picture(number, picture, self._pairs.shards[shard])
        if self._pairs.has_objects and not objects:
            raise UnusableError(damage.NO_OBJECTS)
        return Encoded(picture, captions_of(text, texts), objects if self._pairs.has_objects else None)

    def read_to_keep(self, number: int) -> Encoded | UnusableError:
        """Return the pair of an index, or what is wrong with its content: for what later runs use again.

        Raises:
            DataError: Its shard is out of reach or another than before: later runs must not be told so.
        """
        try:
            return self.read(number)
        except UnusableError as error:
            if error.reason != damage.VANISHED:
                return error
            raise DataError(
                f"{error.reason} while its pairs were read",
                where=self._pairs.shards[self._place(number)[0]],
                way_out="the same command goes on once the shard is there again as it was; without it the "
                "data is another data set",
            ) from None

    def each(
        self, change: Callable[[Encoded], T], what: str, progress: store.Progress | None = None
    ) -> Iterator[T | UnusableError]:
        """Yield what a function makes of each pair, in order, or what is wrong with it.

        Args:
            change: The function, which may raise `UnusableError`; it is called in threads.
            what: What is told that this is for.
            progress: Told how far it is.

        Raises:
            DataError: As `read_to_keep`.
        """

        def changed(pair: Encoded | UnusableError) -> T | UnusableError:
            try:
                return pair if isinstance(pair, UnusableError) else change(pair)
            except UnusableError as error:
                return error

        with ThreadPoolExecutor(THREADS) as pool:
            for first in range(0, len(self._pairs), AT_ONCE):
                numbers = range(first, min(first + AT_ONCE, len(self._pairs)))
                yield from pool.map(changed, [self.read_to_keep(number) for number in numbers])
                if progress:
                    progress(what, numbers.stop, len(self._pairs))

    def where(self, number: int) -> str:
        """Return the shard and the name of a sample, for messages."""
        shard, place = self._place(number)
        with suppress(UnusableError, IndexError):
            return f"{self._pairs.shards[shard]}:{self._opened(shard)[1].keys[place]}"
        return f"{self._pairs.shards[shard]}:{place}"

    def close(self) -> None:
        """Close all archives."""
        while self._open:
            os.close(self._open.popitem()[1])

    def __del__(self) -> None:
        self.close()

    def _place(self, number: int) -> tuple[int, int]:
        shard = int(np.searchsorted(self._starts, number, side="right")) - 1
        return shard, number - int(self._starts[shard])

    def _opened(self, shard: int) -> tuple[int, ShardIndex]:
        if shard not in self._open:
            is_new = shard not in self._known
            try:
                if is_new:
                    self._know(shard)
                with remote.opened(self._pairs.shards[shard]) as opened:
                    self._open[shard] = os.dup(opened.fileno())
            except OSError:
                raise UnusableError(damage.VANISHED) from None
            if is_new and hasattr(os, "posix_fadvise"):  # not on macOS
                os.posix_fadvise(self._open[shard], 0, 0, os.POSIX_FADV_WILLNEED)
            if len(self._open) > MAX_OPEN:
                os.close(self._open.popitem(last=False)[1])
        self._open.move_to_end(shard)
        return self._open[shard], self._known[shard]

    def _know(self, shard: int) -> None:
        name, (size, time) = self._pairs.shards[shard], self._pairs.states[shard]
        _, size_now, time_now, *_ = remote.state(name)
        if size_now != size or (time_now != time and not self._pins.knows(shard)):
            raise changed(name)
        index = index_of(name)
        self._pins.check_shard(shard, index.digest, name)
        while self._known and self._num_known + len(index.keys) > MAX_KNOWN:
            gone, old = self._known.popitem(last=False)
            self._num_known -= len(old.keys)
            if gone in self._open:
                os.close(self._open.pop(gone))
        self._known[shard] = index
        self._num_known += len(index.keys)


def captions_of(text: bytes, texts: bytes) -> list[str]:
    """Return the captions of a sample: the lines of ``captions.txt`` where it has some, else its one text."""
    lines = [line.strip() for line in texts.decode("utf-8", "replace").splitlines()]
    return [line for line in lines if line] or [text.decode("utf-8", "replace").strip()]


def captions(
    pairs: Pairs, progress: store.Progress | None = None, what: str = "reading captions"
) -> Iterator[list[str]]:
    """Yield the captions of each pair, in the order of the data; of one that lacks a part, an empty one.

    Args:
        pairs: Which.
        progress: Told how far it is.
        what: What it is told that this is for.

    Raises:
        DataError: A shard is out of reach or no longer what it was.
    """
    for found in OpenShards(pairs).each(attrgetter("captions"), what, progress):
        yield [""] if isinstance(found, UnusableError) else found
