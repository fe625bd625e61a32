"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

from pgsbench.cli import completion
from pgsbench.cli.commands import argument, option


def _forbid_network(offline: bool) -> bool:
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"  # the Hub's library reads it when it is imported, which is later
    return offline


_STUDY = "A study file, or the name of one that ships."
_SUITE = "A suite that ships, a suite's YAML file, or clip_benchmark:NAME."
_OFFLINE = "Fetch no data or models, as with HF_HUB_OFFLINE=1; an MLflow store is asked all the same."

StudyArgument = Annotated[str, argument(_STUDY, tab=completion.studies)]
StudyOption = Annotated[str, option(_STUDY, tab=completion.studies)]
StudyRun = Annotated[str, argument("Name of a study under runs/.", "STUDY", tab=completion.studies_run)]
Set = Annotated[list[str] | None, option("Set a value of the study; repeatable.", "--set", metavar="A.B=V")]
Seeds = Annotated[int | None, option("Number of seeds: 0, 1, ... (default: the study's).", min=1, max=1000)]
Candidate = Annotated[str | None, option("The arm in question (default: the study's).")]
Output = Annotated[Path, option("Where runs/ and reports/ are kept.", metavar="DIR")]
Json = Annotated[bool, option("Print the tables as JSON.", "--json")]
BatchSize = Annotated[int, option("Pictures or texts encoded at a time.", min=1, max=2**20)]
Device = Annotated[str, option("auto, cpu, cuda or one GPU such as cuda:1.")]
Threads = Annotated[int, option("CPU threads.", min=1, max=256)]
Suite = Annotated[str, option(_SUITE)]
SuiteArgument = Annotated[str, argument(_SUITE)]
Root = Annotated[Path | None, option("Where public sets lie (default: PGSBENCH_DATA).", metavar="DIR")]
Offline = Annotated[bool, option(_OFFLINE, "--offline", callback=_forbid_network)]


@dataclass(frozen=True)
class WorkOptions:
    """What every command takes that trains the runs of a study; see `takes_work_options`."""

    set_: Set = None
    seeds: Seeds = None
    output: Output = Path()
    jobs: Annotated[int | None, option("Runs at a time (default: GPUs, or up to 4 cores).", min=1)] = None
    threads: Annotated[int | None, option("CPU threads (or OMP_NUM_THREADS, or 1).", min=1, max=256)] = None
    device: Device = "auto"
    on: Annotated[str, option("local, slurm[:PROFILE] or dask:ADDRESS.", metavar="ENGINE")] = "local"
    detach: Annotated[bool, option("Submit the jobs and return, with --on slurm.", "--detach")] = False
    wait: Annotated[bool, option("Wait where another command drives the study.", "--wait/--no-wait")] = True
    dry_run: Annotated[bool, option("Print the plan: runs, steps, samples, minutes.", "--dry-run")] = False
    write: Annotated[bool, option("With --dry-run: write the runs' directories.", "--write")] = False
    json: Json = False


def takes_work_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command end with the options of `WorkOptions`; it gets them as one object, its last argument."""
    *own, last = signature(command, eval_str=True).parameters.values()
    shared = signature(WorkOptions, eval_str=True).parameters

    @wraps(command)
    def call(**given: Any) -> None:
        options = WorkOptions(**{name: given.pop(name) for name in shared})
        command(**given, **{last.name: options})

    parameters: list[Parameter] = [*own, *shared.values()]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    vars(call)["__signature__"] = Signature(parameters)
    return call
