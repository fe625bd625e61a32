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
from typing import TypeVar

import numpy as np

from pgsbench.data import damage, remote, store
from pgsbench.data.damage import Damage, UnusableError
from pgsbench.data.index import ShardIndex, index_of, summaries
from pgsbench.data.order import Order
from pgsbench.data.tar import CUT
from pgsbench.errors import DataError
from pgsbench.hashing import digest

#: Archives that a process keeps open.
MAX_OPEN = 64
#: Threads that decode: Pillow gives others the processor meanwhile. And pairs that they are given at a time.
THREADS, AT_ONCE = 4, 2048

T = TypeVar("T")


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
    """The pairs of some shards; small, so that reader processes can be given it.

    Attributes:
        shards: The archives, paths or URLs, one source after another.
        sizes: Usable pairs of each.
        digests: Hash of what each holds.
        ends: Number of shards up to the end of each source.
        weights: How many times an epoch goes through each source.
        has_objects: Whether pairs have maps of objects.
        faults: Reason -> number of samples that are left out.
    """

    shards: tuple[str, ...]
    sizes: tuple[int, ...]
    digests: tuple[str, ...]
    ends: tuple[int, ...]
    weights: tuple[float, ...]
    has_objects: bool
    faults: dict[str, int]

    @classmethod
    def of(
        cls,
        sources: Sequence[Sequence[str]],
        weights: Sequence[float] = (),
        *,
        progress: store.Progress | None = None,
    ) -> Pairs:
        """Look into shards, once, and return their pairs.

        Args:
            sources: The shards of each source.
            weights: How many times an epoch goes through each source; default: all shards are one source.
            progress: Told how far it is.

        Raises:
            DataError: A shard is not there, or a source has no usable sample.
        """
        shards = [shard for source in sources for shard in source]
        found = summaries(shards, progress=progress)
        faults = sum((Counter(one.faults) for one in found), Counter[str]())
        sizes = [one.size for one in found]
        ends = np.cumsum([len(source) for source in (sources if weights else [shards])]).tolist()
        for start, end in pairwise([0, *ends]):
            if not sum(sizes[start:end]):
                raise DataError(
                    "no sample can be used",
                    where=", ".join(shards[start:end][:3]),
                    value=dict(faults),
                    way_out="each sample needs KEY.jpg|png|webp and KEY.txt",
                )
        return cls(
            shards=tuple(shards),
            sizes=tuple(sizes),
            digests=tuple(one.digest for one in found),
            ends=tuple(ends),
            weights=tuple(weights) or (1.0,),
            has_objects=next(one.has_objects for one in found if one.size),
            faults=dict(faults),
        )

    def __len__(self) -> int:
        return sum(self.sizes)

    @property
    def identity(self) -> str:
        """Hash of what the pairs are, and of their order: names and places of shards do not matter."""
        sources = [self.digests[start:end] for start, end in pairwise([0, *self.ends])]
        return digest([sources, self.weights] if len(sources) > 1 else sources)[:16]

    @cached_property
    def order(self) -> Order:
        """Their order."""
        return Order([self.sizes[start:end] for start, end in pairwise([0, *self.ends])], self.weights)

    def damage(self, max_share: float) -> Damage:
        """Return the account of what a training cannot use.

        Raises:
            DataError: It is too much already.
        """
        found = Damage(len(self), self.faults, max_share)
        found.check(self.shards[0])
        return found


class OpenShards:
    """Reads pairs at any place, as bytes.

    Args:
        pairs: Which.
    """

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs
        self._starts = np.cumsum([0, *pairs.sizes])
        self._open: OrderedDict[int, tuple[int, ShardIndex]] = OrderedDict()

    def read(self, number: int) -> Encoded:
        """Return the pair of an index.

        Raises:
            UnusableError: It cannot be read any more.
        """
        shard, place = self._place(number)
        file, index = self._opened(shard)
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
        if self._pairs.has_objects and not objects:
            raise UnusableError(damage.NO_OBJECTS)
        return Encoded(picture, captions_of(text, texts), objects if self._pairs.has_objects else None)

    def read_to_keep(self, number: int) -> Encoded | UnusableError:
        """Return the pair of an index, or what is wrong with its content: for what later runs use again.

        Raises:
            DataError: Its shard is out of reach or no longer what it was: later runs must not be told so.
        """
        try:
            return self.read(number)
        except UnusableError as error:
            if error.reason not in damage.OF_SHARDS:
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
        """Return the shard and the name of a pair, for messages."""
        shard, place = self._place(number)
        with suppress(UnusableError):
            return f"{self._pairs.shards[shard]}:{self._opened(shard)[1].keys[place]}"
        return f"{self._pairs.shards[shard]}:{place}"

    def close(self) -> None:
        """Close all archives."""
        while self._open:
            os.close(self._open.popitem()[1][0])

    def __del__(self) -> None:
        self.close()

    def _place(self, number: int) -> tuple[int, int]:
        shard = int(np.searchsorted(self._starts, number, side="right")) - 1
        return shard, number - int(self._starts[shard])

    def _opened(self, shard: int) -> tuple[int, ShardIndex]:
        if shard in self._open:
            self._open.move_to_end(shard)
            return self._open[shard]
        shard_name = self._pairs.shards[shard]
        try:
            index = index_of(shard_name)
            with remote.opened(shard_name) as opened:
                file = os.dup(opened.fileno())
        except (DataError, OSError):
            raise UnusableError(damage.VANISHED) from None
        if index.summary.digest != self._pairs.digests[shard]:
            os.close(file)
            raise UnusableError(damage.CHANGED)
        if hasattr(os, "posix_fadvise"):  # not on macOS
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_WILLNEED)
        if len(self._open) >= MAX_OPEN:
            os.close(self._open.popitem(last=False)[1][0])
        self._open[shard] = file, index
        return self._open[shard]


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
