"""``pgsbench study``: study files, and how the runs of a study stand."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from pgsbench.cli import options as opt
from pgsbench.cli.commands import command, group, option
from pgsbench.reporting import terminal

app = group("Studies: list, show, validate, best, schema, status.", name="study")


@command(app, "pgsbench study ls", name="ls")
def list_(json: opt.Json = False) -> None:
    """List the studies that ship, each with its question."""
    from pgsbench.config.yaml_text import parse_yaml, read_text
    from pgsbench.study import studies

    read = {name: parse_yaml(read_text(path), str(path))[0] for name, path in studies().items()}
    asked = {name: str(data.get("question", "")) for name, data in read.items()}
    lines = [f"{name:<{max(map(len, asked))}}  {question}" for name, question in asked.items()]
    typer.echo(dumps(asked, indent=2) if json else "\n".join(lines))


@command(app, "pgsbench study show ratio --set training.samples=8192")
def show(study: opt.StudyArgument, set_: opt.Set = None) -> None:
    """Print a study with every value resolved, defaults included."""
    from pgsbench.study.open import open_by_name

    typer.echo(dumps(open_by_name(study, overrides=set_ or []).resolved(), indent=2))


@command(app, "pgsbench study validate my/study.yaml")
def validate(study: opt.StudyArgument, set_: opt.Set = None) -> None:
    """Check a study file; every mistake is named at once."""
    from pgsbench.study.open import find_study, open_study_file

    path = find_study(study)
    config = open_study_file(path, overrides=set_ or []).config
    typer.echo(f"{path}: valid; arms: {', '.join(config.arm_names)}; seeds: {config.seeds}")


@command(app, "pgsbench study best ratio --as winner.yaml --within 1")
def best(
    study: opt.StudyRun,
    as_: Annotated[Path, option("The study file to write.", "--as", metavar="FILE.yaml")],
    within: Annotated[float, option("The cheapest one at most so many points behind the best.", min=0)] = 0.0,
    output: opt.Output = Path(),
) -> None:
    """Write the best point of a search as a study file, with seeds that did not choose it."""
    from pgsbench.reporting.sweep import write_best

    typer.echo(f"{as_}: {write_best(study, as_, within=within, output=output)}")


@command(app, "pgsbench study schema > study.schema.json")
def schema() -> None:
    """Print the JSON schema of study files, for editors that complete and check as you type."""
    from pgsbench.config.schema import StudyConfig

    typer.echo(dumps(StudyConfig.model_json_schema(), indent=2))


@command(app, "pgsbench study status ratio --watch")
def status(
    study: opt.StudyRun,
    watch: Annotated[bool, option("Until all has ended; with --json a line each time.", "--watch")] = False,
    output: opt.Output = Path(),
    json: opt.Json = False,
) -> None:
    """Show how each run of a study stands: waiting, queued, running, done, pruned, failed or lost."""
    from pgsbench.reporting.plan_tables import status_frame, status_table
    from pgsbench.session import running

    looks = running.watch(study, output=output) if watch else [running.status(study, output=output)]
    for found in looks:
        terminal.show_frame(status_frame(found), status_table(study, found), json=json, in_a_line=watch)
