"""What a shell offers on the tab key beside options: names of studies and runs. Nothing heavy is imported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pgsbench.records import files
from pgsbench.records.files import runs_on_disk
from pgsbench.study import studies as shipped_studies


def studies(incomplete: str) -> list[str]:
    """Offer the studies that ship; where none fits, shells offer files themselves."""
    return [name for name in shipped_studies() if name.startswith(incomplete)]


def studies_run(ctx: Any, incomplete: str) -> list[str]:
    """Offer the studies that have run under ``--output``."""
    return sorted(path.parent.name for path in _runs_root(ctx).glob(f"{incomplete}*/{files.STUDY}"))


def runs(ctx: Any, incomplete: str) -> list[tuple[str, str]]:
    """Offer the ids of the runs under ``--output``, each with its title."""
    found = runs_on_disk(_runs_root(ctx)).values()
    return [(run.id, run.title) for run in found if run.id.startswith(incomplete)]


def _runs_root(ctx: Any) -> Path:
    return Path(ctx.params.get("output") or ".") / "runs"
