"""``pgsbench data make`` as a whole: a built-in data set, or one's own pictures turned into shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pgsbench.config import sources
from pgsbench.data import store
from pgsbench.data.own import Made, make_own
from pgsbench.errors import DataError


def make(
    name: str,
    *,
    knobs: Sequence[str] = (),
    source: Path | None = None,
    progress: store.Progress | None = None,
) -> Made:
    """Make a data set where it does not exist yet.

    Args:
        name: A built-in one, which is found again by a hash of its recipe; another name is one's own.
        knobs: What its recipe changes, as it is typed: ``clutter=0.5``.
        source: The archive, folder or table that it is made from, where it is made from one.
        progress: Told how far it is.

    Raises:
        DataError: There is no such data set or knob, or it cannot be made.
    """
    if source is not None and not store.is_builtin(name):
        if knobs:
            rule, way_out = "only a built-in data set has knobs", "leave --set out"
            raise DataError(rule, where="--set", value=", ".join(knobs), way_out=way_out)
        return make_own(name, source, progress=progress)
    name = sources.typed(name, knobs)
    existed = store.find(name) is not None
    folder = store.ensure(name, source=source, progress=progress)
    return Made(name, folder, store.read_manifest(folder).num_train, existed=existed)
