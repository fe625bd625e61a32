"""Where and with what a run is trained: device, versions, and the commit of the code."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from pgsbench import __version__
from pgsbench.records.run_records import Environment

_PACKAGES = ("torch", "open_clip_torch", "clip_benchmark", "numpy", "pillow")


def environment_of(device: torch.device) -> Environment:
    """Return where and with what a run is trained here and now."""
    return Environment(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        git=git_commit(Path(__file__)),
        platform=platform.platform(),
        versions={
            "pgsbench": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in _PACKAGES},
        },
    )


def git_commit(source: Path) -> str:
    """Return the commit of the repository that holds a source file, with a plus where it was changed.

    Empty outside git, and in a repository that does not track the file: an environment often lies inside
    another project, whose commit says nothing of this code.
    """
    git = ("git", "-C", str(source.parent))
    try:
        subprocess.run(
            (*git, "ls-files", "--error-unmatch", source.name), capture_output=True, timeout=10, check=True
        )
        describe = (*git, "describe", "--always", "--abbrev=12", "--dirty=+")
        done = subprocess.run(describe, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
