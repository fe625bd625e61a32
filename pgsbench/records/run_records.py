"""What a run leaves behind beside its spec and its scores: where it ran, what it cost, how it ended."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from pgsbench import __version__

if TYPE_CHECKING:
    import torch


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Failure:
    """Why a run failed: ``failed.json``, until it is tried again.

    Attributes:
        error: The message.
        log: A file that tells more, or empty.
        at: When, in ISO format with time zone.
    """

    error: str
    log: str = ""
    at: str = field(default_factory=_now)


@dataclass(frozen=True)
class PrunedMark:
    """That a pruner has ended a training: ``pruned.json``; in another study, or without it, it says nothing.

    Attributes:
        study: Name of the study that searches.
        pruner: `SearchConfig.pruner`.
        why: What it saw.
        step: Steps that were done.
        seconds: What they took.
        at: When, in ISO format with time zone.
    """

    study: str
    pruner: str
    why: str
    step: int
    seconds: float
    at: str = field(default_factory=_now)

    def saved_seconds(self, steps: int) -> float:
        """Return how long so many steps would have taken."""
        return steps * self.seconds / max(1, self.step)


@dataclass(frozen=True)
class Job:
    """The job of a cluster that a run was given to: ``job.json``.

    Attributes:
        id: Its id there.
        folder: Where submitit keeps what it needs of the job, and its output.
    """

    id: str
    folder: str


@dataclass(frozen=True)
class Environment:
    """Where and with what a run was trained: ``env.json``.

    Attributes:
        started: When it began, in ISO format with time zone.
        device: Name of the GPU, or ``cpu``.
        threads: CPU threads of the process.
        git: Commit of pgsbench's own source, with a plus where it was changed; empty outside git.
        platform: Operating system.
        versions: Package (and ``python``) -> version.
    """

    started: str
    device: str
    threads: int
    git: str = ""
    platform: str = ""
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """Scores of a model that was still trained: a line of ``curve.jsonl``.

    Attributes:
        number: The how-manieth measurement of the training it is, from 1.
        step: Steps done.
        samples: Pairs seen.
        seconds: Wall time of these steps.
        cpu_seconds: Processor time.
        flops: Operations; 0 where they cannot be told.
        tasks: What was asked for (`evaluation.during`).
        folder: Where the evaluation lies in the run directory.
        fingerprint: Of the suite's part that was measured.
        scores: Task -> its score, a share in [0, 1].
        groups: Group -> the mean of its tasks.
    """

    number: int
    step: int
    samples: int
    seconds: float
    cpu_seconds: float
    flops: int
    tasks: tuple[str, ...]
    folder: str
    fingerprint: str
    scores: dict[str, float]
    groups: dict[str, float]

    @property
    def mean(self) -> float:
        """The mean of the groups."""
        return fmean(self.groups.values())


@dataclass(frozen=True)
class Branch:
    """Where a training goes on from the state of another one that differs only in length: ``branch.json``.

    Costs of a run, such as those of its summary, are those of the whole training. These were spent before.

    Attributes:
        run: Folder of the run that has left the state, ``study/arm-s0-id``.
        step: Steps that it had done.
        samples: Pairs that they saw.
        train_seconds: Wall time that they took.
        train_cpu_seconds: Processor time.
        flops: Operations; 0 where they cannot be told.
    """

    run: str
    step: int
    samples: int
    train_seconds: float
    train_cpu_seconds: float
    flops: int


@dataclass(frozen=True)
class Summary:
    """What a training cost and how it ended: ``summary.json``.

    Attributes:
        steps: Optimiser steps.
        samples: Image-text pairs seen.
        train_seconds: Wall time in steps; saving, evaluation and set-up are not in it.
        train_cpu_seconds: Processor time of the process in steps.
        samples_per_second: Pairs seen per second of `train_seconds`.
        mask_share: Share of `train_seconds` spent choosing masks.
        mask_ratio_effective: Share of the patches without influence while masking was on.
        mask_overlap: How much two seeds of the mask show alike of the same pictures; 1: no variety.
        visual_tokens: Patch tokens in the visual transformer, over all views, mean over the blocks, summed
            over all pictures of the training.
        text_tokens: Tokens that entered the text transformer in all, marks and padding included.
        flops: Of both towers, in the whole training (`pgsbench.models.pair_cost`); None for others than
            open_clip's own.
        bad_samples: Reason -> samples of the data that could not be used; others stood in their places.
        num_parameters: Parameters of the model.
        final_loss: Training loss of the last step; it is finite, as a training ends where it is not.
        peak_memory_bytes: Most memory of the GPU in the training; None on a CPU, where only the whole
            process could be measured.
        eval_seconds: Wall time of the evaluation; None before it.
        overhead_seconds: Wall time of the run beside steps and evaluation: model, data, saving, scores on the
            way; None where several processes worked on it, one after another.
        mask_ratio_over_training: Share of the patches without influence, of all in the pictures of the whole
            training, its unmasked phase included; None: written before it was counted.
        tokens_kept_over_training: `visual_tokens` of a picture: mean over the whole training; likewise.
        branch: Where it goes on from another run's state; None: it was trained from its beginning.
        wait_share: Share of `train_seconds` in which steps waited for data; None: written before it was
            measured.
    """

    steps: int
    samples: int
    train_seconds: float
    train_cpu_seconds: float
    samples_per_second: float
    mask_share: float
    mask_ratio_effective: float
    mask_overlap: float
    visual_tokens: float
    num_parameters: int
    final_loss: float
    peak_memory_bytes: int | None = None
    eval_seconds: float | None = None
    text_tokens: int | None = None
    flops: int | None = None
    bad_samples: dict[str, int] = field(default_factory=dict)
    overhead_seconds: float | None = None
    mask_ratio_over_training: float | None = None
    tokens_kept_over_training: float | None = None
    branch: Branch | None = None
    wait_share: float | None = None

    @property
    def own_seconds(self) -> float:
        """Wall time in the steps that this run did itself."""
        return self.train_seconds - (self.branch.train_seconds if self.branch else 0.0)

    def time_on(self, device: str) -> float:
        """Return the training time in seconds that reports, searches and fits mean.

        It is processor time on CPUs, which other work changes less than wall time; else wall time.

        Args:
            device: Type of the device that the run was trained on.
        """
        return self.train_cpu_seconds if device == "cpu" else self.train_seconds


#: Packages whose versions are told.
_PACKAGES = ("torch", "open_clip_torch", "clip_benchmark", "numpy", "pillow")


def environment_of(device: torch.device) -> Environment:
    """Return where and with what a run is trained here and now."""
    import torch  # slow to import

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
