"""pgsbench: train, sweep, evaluate and compare patch-masking strategies for CLIP.

::

    import pgsbench

    study = pgsbench.open_study("ratio")
    results = study.compare(baselines=["flip"], seeds=3)
    results.differences                            # a pandas DataFrame
    model, transform, tokenizer = pgsbench.load_run("3f9a").model()

The names below are the public ones; each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgsbench.checkpoints import evaluate_checkpoint as evaluate
    from pgsbench.masking.apply import mask as mask
    from pgsbench.models.attached import attach as attach
    from pgsbench.reporting.findings import Findings as Findings
    from pgsbench.reporting.one_run import Run as Run
    from pgsbench.reporting.one_run import load_run as load_run
    from pgsbench.reporting.run_list import runs as runs
    from pgsbench.session.comparing import compare as compare
    from pgsbench.session.comparing import compare_until_decided as compare_until_decided
    from pgsbench.session.confirming import confirm as confirm
    from pgsbench.session.opening import open_study as open_study
    from pgsbench.session.past_studies import validity as validity
    from pgsbench.session.running import run as run
    from pgsbench.session.scaling import scale as scale
    from pgsbench.session.study import Study as Study

__version__ = "0.1.0"

#: Public name -> module and name there.
_HOMES = {
    "Run": "pgsbench.reporting.one_run:Run",
    "Study": "pgsbench.session.study:Study",
    "Findings": "pgsbench.reporting.findings:Findings",
    "attach": "pgsbench.models.attached:attach",
    "compare": "pgsbench.session.comparing:compare",
    "compare_until_decided": "pgsbench.session.comparing:compare_until_decided",
    "confirm": "pgsbench.session.confirming:confirm",
    "evaluate": "pgsbench.checkpoints:evaluate_checkpoint",
    "load_run": "pgsbench.reporting.one_run:load_run",
    "mask": "pgsbench.masking.apply:mask",
    "open_study": "pgsbench.session.opening:open_study",
    "run": "pgsbench.session.running:run",
    "runs": "pgsbench.reporting.run_list:runs",
    "scale": "pgsbench.session.scaling:scale",
    "validity": "pgsbench.session.past_studies:validity",
}

__all__ = [
    "Findings",
    "Run",
    "Study",
    "__version__",
    "attach",
    "compare",
    "compare_until_decided",
    "confirm",
    "evaluate",
    "load_run",
    "mask",
    "open_study",
    "run",
    "runs",
    "scale",
    "validity",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pgsbench' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    value = getattr(import_module(module), attribute)
    globals()[name] = value  # found at once from now on
    return value


def __dir__() -> list[str]:
    return __all__
