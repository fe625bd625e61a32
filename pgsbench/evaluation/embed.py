"""Embeddings of a model: each distinct picture and text is encoded once for all tasks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pgsbench.devices import usable_cores, use
from pgsbench.errors import ConfigError, EvaluationError, nearest
from pgsbench.evaluation.allocator import keep_freed_memory
from pgsbench.evaluation.cache import EmbeddingCache, content_key
from pgsbench.evaluation.preprocess import NamedImage, Preprocess

if TYPE_CHECKING:  # importing open_clip takes seconds, and reading a suite does not need it
    from pgsbench.models.clip import Clip

Item = TypeVar("Item")

#: Pictures or texts whose embeddings differ by less than this are encoded alike (unit vectors, float32).
COLLAPSED_BELOW = 1e-5

#: Similarities of float32 unit vectors that differ by less than this tie: only rounding tells them apart.
TIE_BELOW = 2.0**-23

#: Largest batch on a CPU: activations that leave its caches cost a third of the speed.
CPU_BATCH_SIZE = 32

#: Most threads that decode pictures for a GPU.
MAX_DECODERS = 16

#: Told between batches: ``"pictures"`` or ``"texts"``, how many are done, of how many (None: not known).
Watch = Callable[[str, int, int | None], None]

#: New embeddings that are kept in memory before they go to the cache as one file.
ROWS_A_FILE = 1 << 12


#: Precisions of encoding by name; None: float32 all through, which agrees with published numbers.
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def dtype_of(precision: str) -> torch.dtype | None:
    """Return what a precision autocasts to; None: nothing.

    Raises:
        ConfigError: There is no such precision.
    """
    if precision not in PRECISIONS:
        raise ConfigError(
            "unknown precision",
            where="--precision",
            value=precision,
            way_out=nearest(precision, list(PRECISIONS)),
        )
    return PRECISIONS[precision]


class Encoder:
    """A model's two towers as functions from files and strings to unit vectors.

    Pictures are told apart by the hash of their file, texts by their token ids: two texts that differ only
    beyond the context length get one embedding and tie exactly. The model is in evaluation mode while it
    encodes, which also turns masking off. Afterwards it is in the mode it was in.

    Args:
        clip: The model; anything with ``encode_image`` and ``encode_text`` does.
        device: Where the model lives.
        batch_size: Pictures or texts encoded at a time; on a CPU at most `CPU_BATCH_SIZE`.
        autocast: Precision to autocast to; None (float32 all through) agrees with published numbers.
        cache: What this model has encoded before; None: nothing is kept.
    """

    def __init__(
        self,
        clip: Clip,
        *,
        device: torch.device | str = "cpu",
        batch_size: int = 256,
        autocast: torch.dtype | None = None,
        cache: EmbeddingCache | None = None,
    ) -> None:
        from pgsbench.models.short_texts import ShortTexts

        self.model, self.tokenizer, self.device = clip.model, clip.tokenize, use(device)
        self.text_tower = ShortTexts(clip.model)
        self.batch_size = batch_size
        if self.device.type == "cpu":
            self.batch_size = min(batch_size, CPU_BATCH_SIZE)
            keep_freed_memory()
        self.preprocess, self.autocast = Preprocess(clip.preprocess_cfg), autocast
        self._images, self._texts = _Table("image", cache), _Table("text", cache)
        self._row_of_text: dict[str, int] = {}
        self.watch: Watch = lambda kind, done, total: None  #: Called between batches; may raise to stop.
        self._kind, self._done = "", 0  # what the present call has done
        self._total: int | None = None
        self.limit: int | None = None  #: Only the first `limit` test items are measured (`first`).

    @property
    def num_images(self) -> int:
        """Distinct pictures asked for so far, encoded or found in the cache."""
        return self._images.num_used

    @property
    def num_texts(self) -> int:
        """Distinct texts asked for so far, encoded or found in the cache."""
        return self._texts.num_used

    def first(self, items: Iterable[Item]) -> Iterable[Item]:
        """Return the test items to measure: all, or the first ones where a task has a limit."""
        return items if self.limit is None else islice(items, self.limit)

    def images(self, pictures: Iterable[NamedImage]) -> Tensor:
        """Return the (n, d) float32 unit embeddings of n pictures, in order, on the CPU.

        Args:
            pictures: (name in messages, file); read lazily, so a large set need not fit in memory.

        Raises:
            DataError: A picture cannot be decoded.
            EvaluationError: An embedding is not finite.
        """
        rows: list[int] = []
        self._begin("pictures", len(pictures) if isinstance(pictures, Sized) else None)
        batches = self._new_batches(pictures, rows)
        with evaluation_mode(self.model):
            for pixels in _prepared(batches, self.preprocess, num_threads=_num_threads(self.device)):
                self._images.append(self._encode(self.model.encode_image, pixels))
        self._images.flush()
        return self._images.take(rows)

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Return the (n, d) float32 unit embeddings of n texts, in order, on the CPU.

        Raises:
            EvaluationError: An embedding is not finite.
        """
        unseen = list(dict.fromkeys(text for text in texts if text not in self._row_of_text))
        new_ids: list[Tensor] = []
        for start in range(0, len(unseen), self.batch_size):
            chunk = unseen[start : start + self.batch_size]
            for text, ids in zip(chunk, self.tokenizer(chunk), strict=True):
                row, is_new = self._texts.row(content_key(ids.numpy().tobytes()))
                self._row_of_text[text] = row
                new_ids += [ids] if is_new else []
        self._begin("texts", len(new_ids))
        with evaluation_mode(self.model):
            for start in range(0, len(new_ids), ROWS_A_FILE):
                self._texts.append(self._encode_by_length(torch.stack(new_ids[start : start + ROWS_A_FILE])))
        self._texts.flush()
        return self._texts.take([self._row_of_text[text] for text in texts])

    def _new_batches(self, pictures: Iterable[NamedImage], rows: list[int]) -> Iterator[list[NamedImage]]:
        batch: list[NamedImage] = []
        num_known = 0  # encoded before, and not yet counted as done
        for name, image in pictures:
            row, is_new = self._images.row(content_key(image.data))
            rows.append(row)
            if is_new:
                batch.append((name, image))
            else:
                num_known += 1
            if num_known == self.batch_size:
                self._advance(num_known)
                num_known = 0
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if num_known:
            self._advance(num_known)
        if batch:
            yield batch

    def _begin(self, kind: str, total: int | None) -> None:
        self._kind, self._done, self._total = kind, 0, total

    def _advance(self, count: int) -> None:
        self._done += count
        self.watch(self._kind, self._done, self._total)

    def _encode_by_length(self, ids: Tensor) -> Tensor:
        """Return the embeddings of texts in their order; in a batch are texts of about one length."""
        order = self.text_tower.lengths(ids).argsort(stable=True)
        batches = torch.split(order, self.batch_size)
        encoded = torch.cat([self._encode(self.text_tower, ids[batch]) for batch in batches])
        in_order = torch.empty_like(encoded)
        in_order[order] = encoded
        return in_order

    def _encode(self, tower: Any, batch: Tensor) -> Tensor:
        precision: AbstractContextManager[object] = nullcontext()
        if self.autocast is not None:
            precision = torch.autocast(self.device.type, dtype=self.autocast)
        with torch.no_grad(), precision:
            encoded = F.normalize(tower(batch.to(self.device)).float(), dim=-1).cpu()
        self._advance(len(batch))
        return encoded


class _Table:
    """Rows of embeddings by content key, those of earlier evaluations first."""

    def __init__(self, kind: str, cache: EmbeddingCache | None) -> None:
        self.kind, self.cache = kind, cache
        self._row_of: dict[bytes, int] = {}
        self._num_rows = 0  # rows given out, some of them still to be appended
        self._used = set[int]()
        self._blocks: list[Tensor] = []
        self._new_blocks: list[Tensor] = []  # appended, and not yet flushed
        self._new_keys: list[bytes] = []  # their keys, then those of what is still to be appended
        for keys, embeddings in cache.blocks(kind) if cache else ():
            for i, key in enumerate(keys):
                self._row_of.setdefault(key, self._num_rows + i)
            self._num_rows += len(keys)
            self._blocks.append(embeddings)

    @property
    def num_used(self) -> int:
        """Distinct contents that were asked for."""
        return len(self._used)

    def row(self, key: bytes) -> tuple[int, bool]:
        """Return the row of a content, and whether it is new and still has to be appended."""
        is_new = key not in self._row_of
        if is_new:
            self._row_of[key] = self._num_rows
            self._num_rows += 1
            self._new_keys.append(key)
        row = self._row_of[key]
        self._used.add(row)
        return row, is_new

    def append(self, embeddings: Tensor) -> None:
        """Add embeddings in the order in which their rows were asked for."""
        bad = int((~torch.isfinite(embeddings).all(dim=1)).sum())
        if bad:
            raise EvaluationError(
                f"{bad} of {len(embeddings)} {self.kind} embeddings of a batch are not finite",
                where=f"{self.kind} tower",
                way_out="the model has diverged or its weights are damaged; look at the training's loss",
            )
        self._new_blocks.append(embeddings)
        if sum(map(len, self._new_blocks)) >= ROWS_A_FILE:
            self.flush()

    def flush(self) -> None:
        """Make what was appended one block, and hand it to the cache."""
        if not self._new_blocks:
            return
        block = torch.cat(self._new_blocks)
        keys, self._new_keys = self._new_keys[: len(block)], self._new_keys[len(block) :]
        self._new_blocks = []
        self._blocks.append(block)
        if self.cache:
            self.cache.add(self.kind, keys, block)

    def take(self, rows: list[int]) -> Tensor:
        """Return the embeddings of these rows, all of them flushed."""
        if not rows:
            return torch.empty(0, 0)
        wanted, start = torch.tensor(rows), 0
        taken = torch.empty(len(rows), self._blocks[0].shape[1])
        for block in self._blocks:
            here = (wanted >= start) & (wanted < start + len(block))
            taken[here] = block[wanted[here] - start]
            start += len(block)
        return taken


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model and all its parts into evaluation mode, and each back to the mode it was in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True  # `train()` would also wake parts that had been put to sleep


def collapsed(**embeddings: Tensor) -> tuple[str, ...]:
    """Return a note for each (n, d) set of unit embeddings of different things that are all the same."""
    return tuple(
        f"collapsed {name} embeddings"
        for name, vectors in embeddings.items()
        if len(vectors) > 1 and (vectors - vectors[0]).abs().max() < COLLAPSED_BELOW
    )


def _num_threads(device: torch.device) -> int:
    """Return how many threads decode: on a CPU they share with the model; beside a GPU the cores are free."""
    if device.type == "cpu":
        return torch.get_num_threads()
    return min(usable_cores(), MAX_DECODERS)


def _prepared(
    batches: Iterable[list[NamedImage]], prepare: Preprocess, *, num_threads: int
) -> Iterator[Tensor]:
    """Yield prepared batches in order, a few ahead of their use where there are threads to spare."""
    if num_threads == 1:
        yield from map(prepare, batches)
        return
    with ThreadPoolExecutor(num_threads) as pool:
        ahead: deque[Future[Tensor]] = deque()
        for batch in batches:
            ahead.append(pool.submit(prepare, batch))
            if len(ahead) > num_threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
