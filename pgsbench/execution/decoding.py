"""Data that fits into memory is decoded before its first run, where somebody sees how far it is."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from pgsbench.data import shards
from pgsbench.data.samples import Tokenize
from pgsbench.data.store import Progress
from pgsbench.models.architectures import image_size_of
from pgsbench.records.run_spec import RunSpec


def decode_first(specs: Iterable[RunSpec], progress: Progress) -> None:
    """Decode what runs hold in memory, once for all worker processes.

    Args:
        specs: The runs that will be trained.
        progress: Told how far it is.

    Raises:
        UserError: The data, or the model, cannot be used.
    """
    by_data = {f"{spec.config.data.model_dump_json()} {spec.config.model}": spec for spec in specs}
    for spec in by_data.values():
        side, name = spec.config.model.image_size, spec.config.model.name
        shards.decode_first(
            spec.config.data,
            image_size=(side, side) if side else image_size_of(name),
            tokenizer=partial(_tokenizer, name),
            progress=progress,
        )


def _tokenizer(model: str) -> Tokenize:
    from pgsbench.models.clip import tokenizer_of  # it imports open_clip, which takes seconds

    return tokenizer_of(model)
