"""What reader processes are forked from: a process that has loaded once what each of them needs, and no more.

Imported by that process alone. `torchvision` and `open_clip` as a whole take seconds and hundreds of MB;
readers need the transforms of the one and the tokenizers of the other, so the packages are left empty.
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType


def _without_init(name: str) -> ModuleType:
    """Return a package whose modules can be imported, and whose own file has not been run."""
    spec = find_spec(name)
    assert spec is not None
    return module_from_spec(spec)


for _package in ("torchvision", "open_clip"):
    sys.modules.setdefault(_package, _without_init(_package))
for _module in ("torchvision.transforms", "open_clip.tokenizer", "pgsbench.data.streaming"):
    import_module(_module)
gc.freeze()  # what is never collected stays shared
