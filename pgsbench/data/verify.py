"""All of a data set looked at before a training: what cannot be used, and why."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pgsbench.data import source_names, store
from pgsbench.data.damage import DAMAGED, PILLOW_ERRORS, UnusableError, open_picture
from pgsbench.data.index import index_of
from pgsbench.data.pairs import OpenShards, Pairs

#: Threads that decode.
THREADS = 4


@dataclass(frozen=True)
class Verified:
    """What a look at all samples found.

    Attributes:
        num_usable: Samples that can be used.
        faults: Shard, name and reason of each of the others.
    """

    num_usable: int
    faults: list[tuple[str, str, str]]


def verify_pairs(train: str, *, progress: store.Progress | None = None) -> Verified:
    """Look at all samples of training data, and decode them.

    Args:
        train: The data, as `DataConfig.train`.
        progress: Told of every shard.

    Raises:
        DataError: There is no such data.
    """
    shards = source_names.resolve(train, progress=progress)
    num_usable, faults = 0, list[tuple[str, str, str]]()
    for number, shard in enumerate(shards, 1):
        index = index_of(shard)
        faults += [(shard, key, reason) for key, reason in index.faults]
        if index.keys:
            damaged = _decoded(shard, index.keys)
            faults += damaged
            num_usable += len(index.keys) - len(damaged)
        if progress:
            progress("decoding shards", number, len(shards))
    return Verified(num_usable, faults)


def _decoded(shard: str, keys: Sequence[str]) -> list[tuple[str, str, str]]:
    opened = OpenShards(Pairs.of([[shard]]))

    def decode(number: int) -> str:
        try:
            pair = opened.read(number)
            for data in (pair.picture, pair.objects):
                if data is not None:
                    open_picture(data).load()
        except UnusableError as error:
            return error.reason
        except PILLOW_ERRORS:
            return DAMAGED
        return ""

    opened.where(0)  # opened once, before threads share it
    with ThreadPoolExecutor(THREADS) as pool:
        reasons = pool.map(decode, range(len(keys)))
        return [(shard, key, reason) for key, reason in zip(keys, reasons, strict=True) if reason]
