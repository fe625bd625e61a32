"""Public evaluation sets under clip_benchmark's names: where they lie, their size, where they come from.

``public.yaml`` is the catalogue. All sets lie under one root (`store.root`) in clip_benchmark's own local
layouts (`pgsbench.data.evalset`):

=====================  ==============================================================================
folder                 content
=====================  ==============================================================================
``wds_NAME``           a copy of the Hub's data set ``clip-benchmark/wds_NAME``; ``/`` in a name is ``-``
``sugar_crepe``        SugarCrepe's JSON files and COCO's pictures in ``val2017/``
``winoground``         ``examples.jsonl`` and the pictures in ``images/``
=====================  ==============================================================================
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pgsbench.config.yaml_text import parse_yaml
from pgsbench.data import store

CATALOGUE = Path(__file__).with_suffix(".yaml")
HUB_OWNER = "clip-benchmark"
#: What clip_benchmark has and the Hub has not.
BY_HAND = "`clip_benchmark_export_wds` writes what clip_benchmark builds through torchvision or TFDS"
SUGAR_CREPE, WINOGROUND = "sugar_crepe", "winoground"


@dataclass(frozen=True)
class PublicSet:
    """One public evaluation set.

    Attributes:
        name: clip_benchmark's name, for example ``"vtab/cifar10"``.
        folder: Its folder under the root.
        size: Pictures (or pairs of captions) in its test split; None: not known.
        repository: Data set of the Hugging Face Hub that holds it; empty: fetched from elsewhere, or unknown.
        protocol: The protocol that clip_benchmark tests it with.
        subset: For sets in SugarCrepe's layout the name of its JSON file without the ending.
        source: Where it comes from, for a reader.
    """

    name: str
    folder: str
    size: int | None = None
    repository: str = ""
    protocol: str = "zero_shot"
    subset: str = ""
    source: str = ""

    @property
    def is_known(self) -> bool:
        """Whether it is in the catalogue."""
        return self.name in _catalogue()

    @property
    def is_fetchable(self) -> bool:
        """Whether it can be fetched; what cannot must be put into its folder by hand."""
        return bool(self.repository or self.subset)


def lookup(name: str) -> PublicSet:
    """Return a set by clip_benchmark's name; ``wds/`` in front makes no difference.

    ``vtab/`` may be left out: ``cifar10`` is ``vtab/cifar10``. A name that is not in the catalogue stands for
    a folder ``wds_NAME`` that the user has exported (``clip_benchmark_export_wds``): its size is not known,
    and it cannot be fetched.
    """
    catalogue = _catalogue()
    name = name.removeprefix("wds/")
    if name not in catalogue and f"vtab/{name}" in catalogue:
        name = f"vtab/{name}"
    if name in catalogue:
        return catalogue[name]
    close = difflib.get_close_matches(name, catalogue, n=1)
    guess = f": did you mean {close[0]!r}?" if close else ""
    return PublicSet(name, _wds_folder(name), source=f"not in the catalogue{guess}; {BY_HAND}")


def collection(name: str) -> tuple[str, ...] | None:
    """Return the names of the sets in one of clip_benchmark's collections; None: no collection."""
    found = _yaml()["collections"].get(name)
    return None if found is None else tuple(found)


def folder(name: str, *, root: Path | None = None) -> Path:
    """Return where a set lies or would lie: under `root`, by default the folder of all data sets."""
    return (root or store.root()) / lookup(name).folder


@cache
def _yaml() -> dict[str, Any]:
    data, _ = parse_yaml(CATALOGUE.read_text(), str(CATALOGUE))
    assert isinstance(data, dict)
    return data


@cache
def _catalogue() -> dict[str, PublicSet]:
    data = _yaml()
    sets = []
    for name, size in data["hub"].items():
        where = _wds_folder(name)
        repository = f"{HUB_OWNER}/{where}"
        protocol = data["protocols"].get(name, "zero_shot")
        source = f"hf.co/datasets/{repository}"
        sets.append(PublicSet(name, where, size, repository, protocol, source=source))
    for subset, size in data[SUGAR_CREPE].items():
        source = "github.com/RAIVNLab/sugar-crepe + COCO val2017"
        name = f"{SUGAR_CREPE}/{subset}"
        sets.append(PublicSet(name, SUGAR_CREPE, size, "", "compositional", subset, source))
    source = "hf.co/datasets/facebook/winoground (by hand: accept its terms)"
    protocol = data["protocols"][WINOGROUND]
    sets.append(PublicSet(WINOGROUND, WINOGROUND, data[WINOGROUND], protocol=protocol, source=source))
    return {known.name: known for known in sets}


def _wds_folder(name: str) -> str:
    return "wds_" + name.replace("/", "-")
