"""Options that several commands share, and how a study is found by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

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
OutputOption = Annotated[
    Path, typer.Option("--output", metavar="DIR", help="Where runs/ and reports/ are kept.")
]
JobsOption = Annotated[
    int | None, typer.Option("--jobs", min=1, help="Runs at a time (default: GPUs, or up to 4 cores).")
]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="CPU threads of a run (default: OMP_NUM_THREADS, or 1)."),
]
AnyNumericsOption = Annotated[
    bool,
    typer.Option("--any-numerics", help="Reuse runs of other devices, precisions and PyTorch versions, too."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the tables as JSON.")]
BatchSizeOption = Annotated[
    int, typer.Option("--batch-size", min=1, help="Pictures or texts encoded at a time.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or one GPU such as cuda:1.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print the plan: runs, steps, samples, tokens, minutes.")
]
SeedsOption = Annotated[
    int | None, typer.Option("--seeds", min=1, help="Number of seeds: 0, 1, ... (default: the study's).")
]
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


def names_in(text: str) -> list[str]:
    """Return the names in a list joined by commas, each once; empty ones do not count."""
    return [name for name in dict.fromkeys(part.strip() for part in text.split(",")) if name]
