"""Options that several commands share, and how a study is found by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer

from pgsbench import completion


def _forbid_network(offline: bool) -> bool:
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"  # the Hub's library reads it when it is imported, which is later
    return offline


STUDY_HELP = "A study file, or the name of one that ships."
StudyArgument = Annotated[str, typer.Argument(help=STUDY_HELP, autocompletion=completion.studies)]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=V", help="Override a value of the study; may be repeated."),
]
SeedsOption = Annotated[
    int | None, typer.Option(min=1, help="Number of seeds: 0, 1, ... (default: the study's).")
]
OutputOption = Annotated[
    Path, typer.Option("--output", metavar="DIR", help="Where runs/ and reports/ are kept.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the tables as JSON.")]
BatchSizeOption = Annotated[
    int, typer.Option("--batch-size", min=1, help="Pictures or texts encoded at a time.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or one GPU such as cuda:1.")]
SUITE_HELP = "A suite that ships, a suite's YAML file, or clip_benchmark:NAME."
SuiteOption = Annotated[str, typer.Option(help=SUITE_HELP, autocompletion=completion.suites)]
RootOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where public sets lie (default: PGSBENCH_DATA).")
]
OfflineOption = Annotated[
    bool,
    typer.Option(
        "--offline",
        callback=_forbid_network,
        help="Fetch no data or models, as with HF_HUB_OFFLINE=1; an MLflow store is asked all the same.",
    ),
]


@dataclass(frozen=True)
class StudyOptions:
    """What every command takes that trains the runs of a study; see `takes_study_options`."""

    set_: SetOption = None
    seeds: SeedsOption = None
    output: OutputOption = Path()
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time (default: GPUs, or up to 4 cores).")
    ] = None
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of a run (default: OMP_NUM_THREADS, or 1).")
    ] = None
    device: DeviceOption = "auto"
    any_numerics: Annotated[
        bool,
        typer.Option(
            "--any-numerics", help="Reuse runs of other devices, precisions and PyTorch versions, too."
        ),
    ] = False
    on: Annotated[
        str, typer.Option("--on", metavar="ENGINE", help="local, slurm, or slurm:PROFILE of cluster.yaml.")
    ] = "local"
    detach: Annotated[
        bool, typer.Option("--detach", help="Plan, submit and return; on local, workers do the work.")
    ] = False
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan: runs, steps, samples, tokens, minutes.")
    ] = False
    json: JsonOption = False

    @property
    def hands_over(self) -> bool:
        """Whether other processes shall do the work."""
        return not self.dry_run and (self.detach or self.on != "local")


def takes_study_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command end with the options of `StudyOptions`; it gets them as one object, its last argument."""
    *own, last = signature(command, eval_str=True).parameters.values()
    shared = signature(StudyOptions, eval_str=True).parameters

    @wraps(command)
    def call(**given: Any) -> None:
        options = StudyOptions(**{name: given.pop(name) for name in shared})
        command(**given, **{last.name: options})

    parameters: list[Parameter] = [*own, *shared.values()]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    vars(call)["__signature__"] = Signature(parameters)
    return call


def names_in(text: str | None) -> list[str] | None:
    """Return the names in a list joined by commas, each once; None: there is no list, or an empty one."""
    names = dict.fromkeys(part.strip() for part in (text or "").split(","))
    return [name for name in names if name] if text else None


def group(text: str) -> typer.Typer:
    """Return a group of commands with its help text."""
    return typer.Typer(no_args_is_help=True, help=text, rich_markup_mode=None)
