"""From a run's resolved configuration to the id that names it: equal ids, equal training."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgsbench.config.schema import RunConfig  # with pydantic, which listing strategies can do without

#: Raised when a change of code changes what the same configuration gives; old runs are then not reused.
RESULTS_VERSION = 1

_COSMETIC = {"log_every_steps", "checkpoint_every_steps"}


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no spaces; equal values give equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run_id(config: RunConfig, data_id: str, strategy_id: str) -> str:
    """Return the id of a run: ten hexadecimal digits.

    A model in a file is the file's content, wherever it lies.

    Args:
        config: The resolved configuration, every field of its strategy included.
        data_id: What the training data is (`pgsbench.data.shards.data_id`), since a path can change content.
        strategy_id: What the strategy is (`pgsbench.plugins.Registry.content_id`), since a file or a package
            can change behind its name.
    """
    plain = config.model_dump()
    plain["training"] = {key: value for key, value in plain["training"].items() if key not in _COSMETIC}
    # The limit and the workers stay: a streamed order differs from one in memory, and with the workers.
    # Which of the two it will be, only the first shard and the size of the pictures tell.
    plain["data"]["train"] = data_id
    plain["strategy"]["name"] = strategy_id
    model = Path(config.model.name)
    if model.suffix == ".json" and model.is_file():  # building the model says what is wrong with another name
        plain["model"]["name"] = file_hash(model)
    text = canonical_json({"config": plain, "results_version": RESULTS_VERSION})
    return hashlib.sha256(text.encode()).hexdigest()[:10]
