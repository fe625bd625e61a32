"""Embeddings on disk: a later evaluation does not encode what an earlier one has encoded.

A picture is found by the content of its file, a text by its token ids, so nothing is ever out of date. Each
model has a folder with files of some thousand embeddings. A file is written whole or not at all, and its name
is the hash of what it holds: two processes that encode the same things write the same file, and a damaged
file is recognised. Any folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pgsbench.disk.whole_files import atomic
from pgsbench.errors import EvaluationError

KEY_BYTES = 16


def content_key(content: bytes) -> bytes:
    """Return the key of a content: its BLAKE2b hash of `KEY_BYTES` bytes."""
    return hashlib.blake2b(content, digest_size=KEY_BYTES).digest()


#: New embeddings that are kept in memory before they go to the cache as one file.
ROWS_A_FILE = 1 << 12


class EmbeddingCache:
    """The embeddings of one model. If they cannot be kept, one warning says so and the work goes on.

    Args:
        root: Folder of the embeddings of all models.
        model_key: Hash of all that the embeddings depend on besides the content; the folder's name.
    """

    def __init__(self, root: Path, model_key: str) -> None:
        self.folder = root / model_key
        self._keeps = True
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._give_up(error)

    def blocks(self, kind: str) -> Iterator[tuple[list[bytes], Tensor]]:
        """Yield (n keys, (n, d) float32 embeddings) from every file of a kind, ``"image"`` or ``"text"``.

        The files are memory-mapped, so embeddings that are not in use need no memory.
        """
        for path in sorted(self.folder.glob(f"{kind}-*.safetensors")):
            try:
                block = load_file(path)
                keys, embeddings = block["keys"].numpy().tobytes(), block["embeddings"]
                if path.name != _file_name(kind, keys, embeddings):
                    raise ValueError(f"{path} does not hold what it is named by")
            except OSError:
                continue  # it cannot be read now, or not by us: no sign of damage
            except (SafetensorError, KeyError, ValueError, TypeError):
                with suppress(OSError):
                    path.unlink()  # damaged: as if it had never been written
                continue
            yield [keys[i : i + KEY_BYTES] for i in range(0, len(keys), KEY_BYTES)], embeddings

    def add(self, kind: str, keys: Sequence[bytes], embeddings: Tensor) -> None:
        """Keep the (n, d) float32 embeddings of n contents."""
        if not self._keeps:
            return
        joined, embeddings = b"".join(keys), embeddings.contiguous()
        path = self.folder / _file_name(kind, joined, embeddings)
        rows = torch.frombuffer(bytearray(joined), dtype=torch.uint8).view(-1, KEY_BYTES)
        try:
            with atomic(path) as scratch:
                save_file({"keys": rows, "embeddings": embeddings}, scratch)
        except (OSError, SafetensorError) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._keeps = False
        print(f"warning: embeddings are not kept: {error}", file=sys.stderr)


class Table:
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


def _file_name(kind: str, keys: bytes, embeddings: Tensor) -> str:
    digest = hashlib.blake2b(keys, digest_size=KEY_BYTES)
    digest.update(embeddings.numpy().data)
    return f"{kind}-{digest.hexdigest()}.safetensors"
