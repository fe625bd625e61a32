"""The processes that train one run together: torch.distributed, with an end for every hang.

`Ranks` is what the loop sees of it. A single process is a `Ranks` of one, which talks to nobody.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pgsbench.errors import RankLostError

#: A rank that is silent for so long is lost.
SILENCE_SECONDS = 600.0
_FAILED, _FOUND, _STOP, _SAVE = 8, 4, 2, 1


@dataclass(frozen=True)
class Ranks:
    """This process among those of its run.

    Attributes:
        rank: Its number, from 0.
        world_size: How many there are.
        control: The group of a few numbers in each step, on the CPU; None: there is one process.
        patient: The group that waits for whatever rank 0 is at, such as an evaluation.
    """

    rank: int = 0
    world_size: int = 1
    control: Any = None
    patient: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def agree(
        self,
        step: int,
        *,
        stop: bool = False,
        save: bool = False,
        found: bool = False,
        error: Exception | None = None,
        patient: bool = False,
    ) -> tuple[bool, bool, bool]:
        """Tell the others what this rank wants after a step, and hear what they do.

        Args:
            step: Steps done, which must be the same everywhere.
            stop: This rank was asked to stop.
            save: It is time to save.
            found: This rank has something to tell by `all_of`.
            error: Why this rank cannot go on.
            patient: Whether the others may take as long as they like.

        Returns:
            Whether any rank stops, whether any wants to save, and whether any has something to tell.

        Raises:
            Exception: `error`, where there is one.
            RankLostError: Another rank cannot go on, is at another step, or does not answer.
        """
        if self.world_size > 1:
            wish = _FAILED * (error is not None) + _FOUND * found + _STOP * stop + _SAVE * save
            wishes = self._exchanged(step, wish, self.patient if patient else self.control)
            failed = [rank for rank, (_, other) in enumerate(wishes) if other & _FAILED]
            if failed and error is None:
                error = self._lost("another process of this run has failed", step, f"rank {failed[0]}")
            apart = [rank for rank, (other, _) in enumerate(wishes) if other != step]
            if apart and error is None:
                raise self._lost("the processes of this run are not at the same step", step, str(wishes))
            stop, save, found = (any(other & bit for _, other in wishes) for bit in (_STOP, _SAVE, _FOUND))
        if error is not None:
            raise error
        return stop, save, found

    @contextmanager
    def together(self, step: int = 0) -> Iterator[None]:
        """Run a block at whose end all ranks meet, or fail together where it fails in any of them."""
        error: Exception | None = None
        try:
            yield
        except Exception as raised:
            error = raised
        self.agree(step, error=error)

    def _exchanged(self, step: int, wish: int, group: Any) -> list[tuple[int, int]]:
        own = torch.tensor([step, wish])
        found = [torch.empty_like(own) for _ in range(self.world_size)]
        with self.watched(step):
            dist.all_gather(found, own, group=group)
        return [(int(one[0]), int(one[1])) for one in found]

    @contextmanager
    def watched(self, step: int) -> Iterator[None]:
        """Turn what torch says of a lost rank into a message with the rank and the step."""
        try:
            yield
        except RuntimeError as error:  # torch has no class of its own for it
            text = str(error)
            if self.world_size == 1 or not _is_lost(text):
                raise
            raise self._lost("another process of this run does not answer", step, text[:200]) from error

    def _lost(self, rule: str, step: int, value: str) -> RankLostError:
        return RankLostError(
            rule,
            where=f"rank {self.rank} of {self.world_size}, step {step}",
            value=value,
            way_out="the same command goes on from the last saved state",
        )

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the mean of each number over all ranks."""
        if self.world_size == 1:
            return dict(values)
        total = torch.tensor(list(values.values()), dtype=torch.float64)
        dist.all_reduce(total, group=self.control)
        return dict(zip(values, (total / self.world_size).tolist(), strict=True))

    def all_of(self, own: Sequence[Any]) -> list[Any]:
        """Return what each rank gives, those of rank 0 first."""
        if self.world_size == 1:
            return list(own)
        found: list[Any] = [None] * self.world_size
        dist.all_gather_object(found, list(own), group=self.control)
        return [one for of_rank in found for one in of_rank]

    def told(self, value: Any) -> Any:
        """Return what rank 0 has given."""
        if self.world_size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.patient)
        return box[0]

    @contextmanager
    def telling(self) -> Iterator[Callable[[str], None]]:
        """Yield what tells the other ranks a text, once; at the end they are told "" unless they were."""
        done = False

        def tell(text: str) -> None:
            nonlocal done
            done = True
            self.told(text)

        try:
            yield tell
        finally:
            if not done:
                self.told("")

    def wrapped(self, module: nn.Module, device: torch.device) -> nn.Module:
        """Return a module whose gradients are averaged over the ranks by DistributedDataParallel."""
        if self.world_size == 1:
            return module
        devices = [device] if device.type == "cuda" else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of the name of `broadcast_buffers`
            shared = DistributedDataParallel(
                module, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True
            )
        if devices is None:
            # A lambda, as torch compares annotations with classes and ours are strings.
            shared.register_comm_hook(None, lambda _, bucket: self._averaged(bucket.buffer()))
        return shared

    def _averaged(self, gradients: torch.Tensor) -> torch.futures.Future[torch.Tensor]:
        """Average a bucket of gradients over the ranks, each number in the order of the ranks.

        Gloo's own sum takes another order at another place of a bucket, and DistributedDataParallel moves
        gradients between buckets after its first step: a resume would round other sums than a quiet run.
        Meanwhile it holds the bucket of every rank.
        """
        own = gradients.div_(self.world_size)
        found = [torch.empty_like(own) for _ in range(self.world_size)]

        def total(gathered: torch.futures.Future[Any]) -> torch.Tensor:
            gathered.value()  # raises where a rank is lost
            for other in found[1:]:
                found[0].add_(other)
            return found[0]

        gathering = dist.all_gather(found, own, async_op=True)
        averaged: torch.futures.Future[torch.Tensor] = gathering.get_future().then(total)
        return averaged


@contextmanager
def joined(device: torch.device, *, silence_seconds: float = SILENCE_SECONDS) -> Iterator[Ranks]:
    """Join the processes that torchrun has started, or srun, if any; leave them at the end.

    Args:
        device: Of this process.
        silence_seconds: After which a rank that does not answer is lost.
    """
    rank, world_size = launched()
    if world_size == 1:
        yield Ranks()
        return
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world_size)}
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29500")
    timeout = timedelta(seconds=silence_seconds)
    on_gpu = device.type == "cuda"
    # NCCL ends a process whose time is out without a word; the control group, which has words, is faster.
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=2 * timeout if on_gpu else timeout
    )
    try:
        with warnings.catch_warnings():
            # open_clip's loss gathers by a function that torch is about to rename
            warnings.filterwarnings("ignore", "torch.distributed.nn", FutureWarning)
            control = dist.new_group(backend="gloo", timeout=timeout)
            patient = dist.new_group(backend="gloo", timeout=timedelta(days=30))
            yield Ranks(rank, world_size, control, patient)
    except BaseException:
        if not on_gpu:  # NCCL would wait for what other ranks are amid; this process ends anyway
            dist.destroy_process_group()
        raise
    dist.destroy_process_group()


def launched(environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Return rank and number of the processes that a launcher has started; (0, 1): this one alone."""
    for rank, size in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        # A batch script has SLURM_NTASKS, too; only srun's own tasks have a step.
        is_launched = rank == "RANK" or "SLURM_STEP_ID" in environment
        if is_launched and rank in environment and size in environment:
            return int(environment[rank]), int(environment[size])
    return 0, 1


def local_rank() -> int:
    """Return the number of this process among those of its machine."""
    return int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")))


def _is_lost(text: str) -> bool:
    signs = ("timed out", "timeout", "connection", "socket", "peer", "reset", "gloo", "nccl")
    return any(sign in text.lower() for sign in signs)
