"""Embeddings of a model: each distinct picture and text is encoded once for all tasks."""

from __future__ import annotations

import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from pgsbench.data.tar import EncodedImage
from pgsbench.devices import usable_cores, use
from pgsbench.errors import DataError, EvaluationError

if TYPE_CHECKING:  # importing open_clip takes seconds, and reading a suite does not need it
    from pgsbench.models.clip import Clip

Item = TypeVar("Item")

#: Pictures or texts whose embeddings differ by less than this are encoded alike (unit vectors, float32).
COLLAPSED_BELOW = 1e-5

#: Similarities of float32 unit vectors that differ by less than this tie: only rounding tells them apart.
TIE_BELOW = 2.0**-23

#: Largest batch on a CPU: activations that leave its caches cost a third of the speed.
CPU_BATCH_SIZE = 32

#: Texts that are sorted by their length together.
TEXTS_AT_ONCE = 1 << 12

#: Most threads that decode pictures for a GPU.
MAX_DECODERS = 16

#: A picture and its name in messages.
NamedImage = tuple[str, EncodedImage]

#: Told between batches: ``"pictures"`` or ``"texts"``, how many are done, of how many (None: not known).
Watch = Callable[[str, int, int | None], None]


def content_key(content: bytes) -> bytes:
    """Return the key of a content: its BLAKE2b hash of 16 bytes."""
    return hashlib.blake2b(content, digest_size=16).digest()


class Table:
    """Rows of embeddings by content key.

    Args:
        kind: ``"image"`` or ``"text"``, for messages.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._row_of: dict[bytes, int] = {}
        self._blocks: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._row_of)

    def row(self, key: bytes) -> tuple[int, bool]:
        """Return the row of a content, and whether it is new and still has to be appended."""
        is_new = key not in self._row_of
        return self._row_of.setdefault(key, len(self._row_of)), is_new

    def append(self, embeddings: Tensor) -> None:
        """Add (n, d) embeddings in the order in which their rows were asked for.

        Raises:
            EvaluationError: Some are not finite.
        """
        bad = int((~torch.isfinite(embeddings).all(dim=1)).sum())
        if bad:
            raise EvaluationError(
                f"{bad} of {len(embeddings)} {self._kind} embeddings of a batch are not finite",
                where=f"{self._kind} tower",
                way_out="the model has diverged or its weights are damaged; look at the training's loss",
            )
        self._blocks.append(embeddings)

    def take(self, rows: list[int]) -> Tensor:
        """Return the embeddings of these rows."""
        if not rows:
            return torch.empty(0, 0)
        if len(self._blocks) > 1:
            self._blocks = [torch.cat(self._blocks)]
        return self._blocks[0][rows]


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
    """

    def __init__(
        self,
        clip: Clip,
        *,
        device: torch.device | str = "cpu",
        batch_size: int = 256,
        autocast: torch.dtype | None = None,
    ) -> None:
        from pgsbench.models.short_texts import ShortTexts

        self.model, self.tokenizer, self.device = clip.model, clip.tokenize, use(device)
        self.text_tower = ShortTexts(clip.model)
        self.batch_size = batch_size
        if self.device.type == "cpu":
            self.batch_size = min(batch_size, CPU_BATCH_SIZE)
        self.preprocess, self.autocast = Preprocess(clip.preprocess_cfg), autocast
        self._images, self._texts = Table("image"), Table("text")
        self._row_of_text: dict[str, int] = {}
        self.watch: Watch = lambda kind, done, total: None  #: Called between batches; may raise to stop.
        self._kind, self._done = "", 0  # what the present call has done
        self._total: int | None = None
        self.limit: int | None = None  #: Only the first `limit` test items are measured (`first`).

    @property
    def num_images(self) -> int:
        """Distinct pictures asked for so far."""
        return len(self._images)

    @property
    def num_texts(self) -> int:
        """Distinct texts asked for so far."""
        return len(self._texts)

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
        self._kind, self._done = "pictures", 0
        self._total = len(pictures) if isinstance(pictures, Sized) else None
        batches = self._new_batches(pictures, rows)
        # On a CPU the threads that decode share it with the model; beside a GPU the cores are free.
        is_cpu = self.device.type == "cpu"
        num_threads = torch.get_num_threads() if is_cpu else min(usable_cores(), MAX_DECODERS)
        with evaluation_mode(self.model):
            for pixels in _prepared(batches, self.preprocess, num_threads=num_threads):
                self._images.append(self._encode(self.model.encode_image, pixels))
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
        self._kind, self._done, self._total = "texts", 0, len(new_ids)
        with evaluation_mode(self.model):
            for start in range(0, len(new_ids), TEXTS_AT_ONCE):
                self._texts.append(
                    self._encode_by_length(torch.stack(new_ids[start : start + TEXTS_AT_ONCE]))
                )
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


class Preprocess:
    """open_clip's evaluation transform for batches of image files.

    Args:
        preprocess_cfg: open_clip's configuration: size, mean, std, interpolation, resize_mode.
    """

    def __init__(self, preprocess_cfg: Mapping[str, Any]) -> None:
        from pgsbench.models.openclip import eval_transform  # seconds, so not for reading suites

        self._transform = eval_transform(preprocess_cfg)

    def __call__(self, batch: Sequence[NamedImage]) -> Tensor:
        """Return a batch of b pictures as (b, 3, height, width) float32.

        Raises:
            DataError: A picture cannot be decoded, or not be brought to the model's size.
        """
        return torch.stack([self._prepared(name, decode(name, image)) for name, image in batch])

    def _prepared(self, name: str, picture: Image.Image) -> Tensor:
        try:
            return self._transform(picture)
        except Exception as error:  # of Pillow, torchvision or the memory
            raise DataError(
                f"the picture cannot be brought to the model's size: {type(error).__name__}: {error}",
                where=name,
                value=f"{picture.width} x {picture.height} pixels",
                way_out="leave this picture out, or crop it",
            ) from error


def decode(name: str, image: EncodedImage) -> Image.Image:
    """Return an image file's picture in RGB.

    Raises:
        DataError: It is no picture, or a damaged one.
    """
    try:
        picture: Image.Image = Image.open(io.BytesIO(image.data))
        picture.load()
        return picture if picture.mode == "RGB" else picture.convert("RGB")  # which would copy it
    except Exception as error:  # decoders of damaged files raise anything
        raise DataError(
            f"the picture cannot be decoded: {type(error).__name__}: {error}",
            where=name,
            way_out="copy, fetch or make this picture again",
        ) from error
