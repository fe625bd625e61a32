"""A score: one number with its n, its interval and what it was measured on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Score:
    """One metric of one task.

    Attributes:
        task: Name of the task in its suite, for example ``"scenes/shape"``.
        group: Group whose mean it enters, for example ``"classification"``.
        protocol: Name of the protocol that measured it, for example ``"zero_shot"``.
        metric: Name of the metric in MLflow-safe spelling, for example ``"acc1"``, ``"text_recall_at_5"``.
        value: The number, a share in [0, 1].
        n: Number of test items it is a mean over.
        low: Lower end of the 95 % interval.
        high: Upper end of the 95 % interval.
        chance: What guessing gives.
        primary: Whether this metric represents the task in means and comparisons.
        version: Version of the task's definition; scores of different versions do not compare.
        per_sample: File of the per-item values relative to the run directory: a ``.npz`` with ``values``
            (n, float32; their mean is `value`) and ``items`` (n, str; what each value belongs to).
        num_ties: Items that a tie makes wrong, or may make wrong (ours count against the model).
        notes: What is odd about the number, for example ``"collapsed embeddings"``.
        details: What was chosen on the way, for example a linear probe's penalty.
    """

    task: str
    group: str
    protocol: str
    metric: str
    value: float
    n: int
    low: float
    high: float
    chance: float
    primary: bool
    version: int = 1
    per_sample: str = ""
    num_ties: int = 0
    notes: list[str] = field(default_factory=list)
    details: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dict."""
        return asdict(self)
