"""``pgsbench worker``, ``study status|cancel|retry|collect``, ``merge``, ``bundle``, ``verify``."""

from __future__ import annotations

import json as json_module
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pgsbench import completion
from pgsbench.cli.options import JsonOption, OutputOption

StudyRun = Annotated[
    str,
    typer.Argument(
        metavar="STUDY", help="Name of a study under runs/.", autocompletion=completion.studies_run
    ),
]


def worker(
    study: StudyRun,
    output: OutputOption = Path(),
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs at a time (default: as `train`).")] = None,
    device: Annotated[str | None, typer.Option(help="One GPU such as cuda:1 (default: all).")] = None,
) -> None:
    """Work on a planned study beside other processes, on any machine that sees its folder.

    Example: pgsbench worker ratio --jobs 1
    """
    from pgsbench.jobs import work

    done = work(study, output=output, jobs=jobs, device=device)
    typer.echo(f"runs: {done.num_trained} trained here, {done.num_reused} elsewhere")
    done.check_failed()


def status(
    study: StudyRun,
    watch: Annotated[
        bool, typer.Option("--watch", help="Again every few seconds, until all has ended.")
    ] = False,
    output: OutputOption = Path(),
    json: JsonOption = False,
) -> None:
    """Show how each run of a study stands: waiting, queued, running, done, pruned, failed or lost.

    Example: pgsbench study status ratio --watch
    """
    from pgsbench.reporting import render
    from pgsbench.reporting.status_table import status_table
    from pgsbench.workers import status as look

    while True:
        found = look(study, output=output)
        if json:
            typer.echo(json_module.dumps([asdict(run) for run in found], indent=1))
        else:
            render.show(status_table(study, found))
        if not watch or all(run.state in ("done", "pruned", "failed") for run in found):
            return
        time.sleep(5)


def cancel(study: StudyRun, output: OutputOption = Path()) -> None:
    """Ask every process and job of a study to save and end; `study retry`, or the same command, goes on.

    Example: pgsbench study cancel ratio
    """
    from pgsbench.workers import cancel as stop

    jobs = stop(study, output=output)
    typer.echo("; jobs: ".join([f"{study}: cancelled", *([", ".join(jobs)] if jobs else [])]))


def retry(study: StudyRun, output: OutputOption = Path()) -> None:
    """Let runs that failed be worked on again by the workers of a study.

    Example: pgsbench study retry ratio
    """
    from pgsbench.workers import retry as again

    for name in again(study, output=output):
        typer.echo(name)


def collect(study: StudyRun, output: OutputOption = Path()) -> None:
    """Write the report and feed MLflow from what is complete so far, and say what is missing.

    Example: pgsbench study collect ratio
    """
    from pgsbench.archive import rewrite_reports, sync

    status(study, output=output)
    for paths in rewrite_reports(study, output=output):
        typer.echo(f"{paths.html}\n{paths.markdown}")
    for _, fed in sync(study, output=output):
        typer.echo(f"MLflow: {fed.problem or 'up to date'}")


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Folders of runs/.")],
    output: OutputOption = Path(),
) -> None:
    """Bring run directories of other machines into this folder; what disagrees is named, and nothing moves.

    Example: pgsbench merge /mnt/other-machine
    """
    from pgsbench.merging import merge as bring

    done = bring(folders, output=output)
    typer.echo(f"{len(done.copied)} runs copied, {len(done.known)} known, {len(done.incomplete)} incomplete")


def bundle(
    study: StudyRun,
    file: Annotated[Path, typer.Argument(metavar="FILE.tar.gz", help="The archive to write.")],
    weights: Annotated[bool, typer.Option("--weights", help="With the trained models.")] = False,
    output: OutputOption = Path(),
) -> None:
    """Write a study into one archive that others can verify: records, per-item outcomes, report.

    Example: pgsbench bundle ratio ratio.tar.gz
    """
    from pgsbench.bundles import bundle as write

    done = write(study, file, output=output, weights=weights)
    typer.echo(f"{done.path}: {done.study}, {done.num_runs} runs\nsha256 {done.sha256}")


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE.tar.gz", help="A bundle.")],
    report: Annotated[Path | None, typer.Option(help="Folder for the report made from the outcomes.")] = None,
) -> None:
    """Check a bundle: hashes, every score from its per-item outcomes, and the report from those.

    Example: pgsbench verify ratio.tar.gz --report ratio-checked
    """
    from pgsbench.bundles import verify as check

    found = check(file, report=report)
    typer.echo(f"{found.study}: {found.num_runs} runs, {found.num_scores} scores\nsha256 {found.sha256}")
    for problem in found.problems:
        typer.echo(problem)
    typer.echo("does not agree" if found.problems else "every number follows from the outcomes")
    raise typer.Exit(bool(found.problems))
