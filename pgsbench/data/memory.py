"""Pairs that fit into memory: decoded once, kept in the data folder, and shared by all processes.

Pictures lie there as arrays that each process maps into its memory: the runs of a study have one copy. The
folder is named after what the pairs are and how they are decoded; it may be deleted at any time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from numpy.lib.format import open_memmap
from torch import Tensor

from pgsbench.data import store
from pgsbench.data.damage import UnusableError
from pgsbench.data.order import Integers, Order
from pgsbench.data.pairs import OpenShards, Pairs, captions
from pgsbench.data.samples import Batch, Fault, Tokenize, rank_slice
from pgsbench.data.streaming import check_batch_size, chosen, none_left
from pgsbench.data.transforms import Transform
from pgsbench.disk.whole_files import atomic
from pgsbench.hashing import digest

#: Raised when the same pairs would be decoded otherwise.
VERSION = 2
#: Captions that are tokenised at a time.
AT_ONCE = 2048
#: Tokenizers that write this alike are the same.
_PROBE = "A probe: two Cafés, unforeseeably O'Neill's, 42 & more 42 " * 8


@dataclass(frozen=True)
class InMemory:
    """All pairs as tensors.

    Attributes:
        images: (n, 3, h, w) uint8.
        texts: (m, context) int32, the captions of one pair after those of another.
        objects: (n, h, w) uint8; None where they are unknown.
        first_texts: (n + 1,) int64 where the captions of each pair begin; None: each has one.
        order: The order of pairs; None: that of one shard.
        faults: Index -> what is wrong with a pair that could not be decoded.
    """

    images: Tensor
    texts: Tensor
    objects: Tensor | None
    first_texts: Tensor | None = None
    order: Order | None = None
    faults: Mapping[int, Fault] = field(default_factory=dict)

    @property
    def has_objects(self) -> bool:
        """Whether batches carry object maps."""
        return self.objects is not None

    def __len__(self) -> int:
        return len(self.images)

    def batches(
        self, *, seed: int, batch_size: int, start_step: int = 0, rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        """Yield batches without end, beginning with the batch of step `start_step`.

        Raises:
            DataError: There are fewer pairs than one batch needs, or nothing can stand in for a damaged one.
        """
        check_batch_size(len(self), batch_size)
        part = rank_slice(batch_size, rank, world_size)
        order = self.order or Order([[len(self)]])
        for step in count(start_step):
            places = step * batch_size + np.arange(part.start, part.stop)
            wanted = order.at(places, seed)
            faults = self._replace(wanted.ids, places, order, seed) if self.faults else []
            index = torch.from_numpy(wanted.ids)
            texts = index if self.first_texts is None else self._texts_of(wanted.ids, wanted.visits, seed)
            yield Batch(
                images=self.images[index],
                texts=self.texts[texts].long(),
                objects=self.objects[index] if self.objects is not None else None,
                samples=torch.from_numpy(places),
                ids=index,
                faults=tuple(faults),
            )

    def _replace(self, ids: Integers, places: Integers, order: Order, seed: int) -> list[Fault]:
        """Put others in the places of damaged pairs, as a streaming reader does."""
        found = []
        for here, number in enumerate(ids.tolist()):
            for one in order.candidates(number, int(places[here]), seed):
                if one not in self.faults:
                    ids[here] = one
                    break
                found.append(self.faults[one])
            else:
                raise none_left(self.faults[number].where)
        return found

    def _texts_of(self, ids: Integers, visits: Integers, seed: int) -> Tensor:
        assert self.first_texts is not None
        firsts, ends = self.first_texts[ids].tolist(), self.first_texts[ids + 1].tolist()
        return torch.tensor(
            [
                first + chosen(end - first, seed, visit, number)
                for first, end, visit, number in zip(firsts, ends, visits.tolist(), ids.tolist(), strict=True)
            ]
        )


def in_memory(
    pairs: Pairs, transform: Transform, tokenize: Tokenize, *, progress: store.Progress | None = None
) -> InMemory:
    """Return pairs as tensors, decoded and tokenised now where that was not done before.

    Args:
        pairs: The data.
        transform: From image files to pixels, the same whenever a picture is seen.
        tokenize: Texts to token ids.
        progress: Told how far it is.

    Raises:
        DataError: A shard is out of reach or no longer what it was; nothing of this is kept.
    """
    folder = folder_of(pairs, transform)
    folder.parent.mkdir(parents=True, exist_ok=True)
    texts_name = f"texts-{digest(tokenize([_PROBE]).tolist())[:16]}.npz"
    with FileLock(folder.with_suffix(".lock")):  # whoever comes second finds it done
        if not folder.is_dir():
            with store.new_folder(folder) as scratch:
                _decode(pairs, transform, scratch, progress)
        if not (folder / texts_name).is_file():
            _tokenise(pairs, tokenize, folder / texts_name, progress)
    with np.load(folder / texts_name) as kept:
        texts, firsts = torch.from_numpy(kept["texts"]), torch.from_numpy(kept["firsts"])
    faults = [Fault(*fields) for fields in json.loads((folder / "faults.json").read_text())]
    return InMemory(
        images=_mapped(folder / "images.npy"),
        texts=texts,
        objects=_mapped(folder / "objects.npy") if pairs.has_objects else None,
        first_texts=firsts if len(texts) > len(pairs) else None,
        order=pairs.order,
        faults={fault.id: fault for fault in faults},
    )


def folder_of(pairs: Pairs, transform: Transform) -> Path:
    """Return where decoded pairs are kept."""
    key = digest([VERSION, pairs.state, pairs.has_objects, transform.size, transform.scaled_decoding])
    return store.root() / "decoded" / key[:24]


def _mapped(path: Path) -> Tensor:
    return torch.from_numpy(np.load(path, mmap_mode="c"))  # "c": torch warns of memory that is read-only


def _decode(pairs: Pairs, transform: Transform, folder: Path, progress: store.Progress | None) -> None:
    opened, faults = OpenShards(pairs), list[Fault]()
    images = open_memmap(folder / "images.npy", "w+", np.uint8, (len(pairs), 3, *transform.size))
    maps = (
        open_memmap(folder / "objects.npy", "w+", np.uint8, (len(pairs), *transform.size))
        if pairs.has_objects
        else None
    )
    decoded = opened.each(
        lambda pair: transform(pair.picture, pair.objects, 0), "decoding pictures", progress
    )
    for number, found in enumerate(decoded):
        if isinstance(found, UnusableError):
            faults.append(Fault(number, found.reason, opened.where(number)))
            continue
        images[number] = found[0].transpose(2, 0, 1)
        if maps is not None and found[1] is not None:
            maps[number] = found[1]
    (folder / "faults.json").write_text(json.dumps([[one.id, one.reason, one.where] for one in faults]))


def _tokenise(pairs: Pairs, tokenize: Tokenize, path: Path, progress: store.Progress | None) -> None:
    texts = list(captions(pairs, progress, "tokenising captions"))
    flat = list(chain.from_iterable(texts))
    found = [tokenize(flat[first : first + AT_ONCE]).int() for first in range(0, len(flat), AT_ONCE)]
    firsts = np.cumsum([0, *map(len, texts)])
    with atomic(path) as scratch, scratch.open("wb") as file:
        np.savez(file, texts=torch.cat(found).numpy(), firsts=firsts)
