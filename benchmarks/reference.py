"""clip_benchmark's command line on the tasks of a suite, as its users run it: ours must give its scores."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

from pgsbench.errors import EvaluationError
from pgsbench.evaluation.protocols.compositional import Compositional
from pgsbench.evaluation.protocols.retrieval import Retrieval
from pgsbench.evaluation.protocols.zero_shot import ZeroShot
from pgsbench.evaluation.suite import Task

#: Scores that differ by less are equal: float32 sums in another order.
TOLERANCE = 1e-6

#: The only subsets that clip_benchmark knows.
SUGAR_CREPE = ("add_att", "add_obj", "replace_att", "replace_obj", "replace_rel", "swap_att", "swap_obj")

# On numpy >= 2.4 clip_benchmark's accuracy() raises TypeError when all the work is done, because it takes
# the float of an array of one element. The command line is run with that line mended and nothing else.
_COMMAND_LINE = """
from clip_benchmark.metrics import zeroshot_classification

def accuracy(output, target, topk=(1,)):
    pred = output.topk(max(topk), 1, True, True)[1].t()
    correct = pred.eq(target.view(1, -1).expand_as(pred))
    return [float(correct[:k].reshape(-1).float().sum()) / len(target) for k in topk]

zeroshot_classification.accuracy = accuracy
from clip_benchmark.cli import main
main()
"""


@dataclass(frozen=True)
class Cost:
    """What a process took: wall time, and processor time, which other processes on the machine change little.

    Attributes:
        seconds: Wall time.
        cpu_seconds: Processor time, user and system, its own processes included.
    """

    seconds: float
    cpu_seconds: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds)


@dataclass(frozen=True)
class ReferenceResult:
    """What clip_benchmark's command line said of one task.

    Attributes:
        metrics: Its metrics under our names.
        cost: Of the process.
    """

    metrics: Mapping[str, float]
    cost: Cost


def arguments(task: Task, folder: Path) -> list[str] | None:
    """Return the part of the command line that names a task; None where clip_benchmark has no such task.

    The folder is absolute there, as `run` runs the command elsewhere.
    """
    match task.protocol:
        case ZeroShot(split):
            name, words = "wds/x", ["zeroshot_classification", "--split", split]
        case Retrieval(recall_at, split):
            name, words = (
                "wds/x",
                ["zeroshot_retrieval", "--split", split, "--recall_k", *map(str, recall_at)],
            )
        case Compositional(subset) if subset in SUGAR_CREPE:
            name, words = f"sugar_crepe/{subset}", ["image_caption_selection"]
        case _:
            return None
    return ["--dataset", name, "--dataset_root", str(folder.absolute()), "--task", *words]


def run(
    task: Task,
    folder: Path,
    *,
    model: str,
    pretrained: str,
    batch_size: int,
    workers: int,
    amp: bool = False,
) -> ReferenceResult:
    """Measure a task with clip_benchmark's command line, in a process of its own.

    Args:
        task: A task that has `arguments`.
        folder: Its data.
        model: open_clip's name of the architecture, or ``local-dir:FOLDER``.
        pretrained: open_clip's tag of the weights; empty for a folder.
        batch_size: Pictures encoded at a time.
        workers: Processes that read pictures beside it.
        amp: Whether it autocasts, as it does unless it is told.

    Raises:
        EvaluationError: The command line failed.
    """
    named = arguments(task, folder)
    assert named is not None
    with TemporaryDirectory() as scratch:
        output = Path(scratch, "result.json")
        command = [
            sys.executable,
            "-c",
            _COMMAND_LINE,
            "eval",
            "--model",
            model,
            "--pretrained",
            pretrained,
            *named,
            "--output",
            str(output),
            *([] if amp else ["--no_amp"]),
            "--batch_size",
            str(batch_size),
            "--num_workers",
            str(workers),
            "--quiet",
        ]
        done, cost = timed(command, folder=Path(scratch))
        if done.returncode or not output.is_file():
            last = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise EvaluationError(f"clip_benchmark's command line failed: {last[0]}", where=task.name)
        found = json.loads(output.read_text())["metrics"]
    metrics = {name.replace("_retrieval_recall@", "_recall_at_"): value for name, value in found.items()}
    return ReferenceResult(metrics, cost)


def timed(command: Sequence[str], *, folder: Path | None = None) -> tuple[CompletedProcess[str], Cost]:
    """Run a command in `folder` and return it with what it took; no other child process may end meanwhile."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, Cost(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
